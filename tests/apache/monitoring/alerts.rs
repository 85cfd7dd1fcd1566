//! The alerts of `deploy/prometheus/`: `promtool` accepts them and runs their tests, each of them is tested and described,
//! and kvs exports the metrics in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_yaml::Value;

use super::{Names, dashboard, deployed, exported, metrics_in, used_server};
use crate::servers::Way;

/// How long kvs may take to count its data.
const PATIENCE: Duration = Duration::from_secs(20);

fn parsed(file: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(deployed(file)).unwrap()).unwrap()
}

/// The items of a list; none if it is missing.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_sequence().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value:?}"))
}

/// All alerts.
fn rules() -> Vec<Value> {
    let file = parsed("prometheus/kvs.rules.yml");
    items(&file["groups"]).flat_map(|group| items(&group["rules"])).cloned().collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "kvs.rules.yml"],
        ["test", "rules", "kvs.rules.test.yml"],
    ] {
        let mut command = Command::new("/usr/bin/promtool");
        command.args(arguments).current_dir(deployed("prometheus"));
        let output = command.output().expect("promtool: tests/packages.sh installs it");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn each_alert_has_a_test_and_a_section_for_the_operator() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().map(|rule| text(rule, "alert")).collect();
    assert!(names.len() == rules.len() && names.len() > 10, "{names:?}");

    let tests = parsed("prometheus/kvs.rules.test.yml");
    let cases: Vec<_> = items(&tests["tests"]).flat_map(|test| items(&test["alert_rule_test"])).collect();
    for is_quiet in [false, true] {
        let of_kind = cases.iter().filter(|case| (items(&case["exp_alerts"]).count() == 0) == is_quiet);
        let tested: BTreeSet<&str> = of_kind.map(|case| text(case, "alertname")).collect();
        assert_eq!(tested, names, "quiet: {is_quiet}");
    }

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let described: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).filter(|name| name.starts_with("Kvs")).collect();
    assert_eq!(described, names);
    for rule in &rules {
        let (name, annotations) = (text(rule, "alert"), &rule["annotations"]);
        assert_eq!(text(annotations, "runbook"), format!("docs/operations.md#{}", name.to_lowercase()));
        assert!(text(annotations, "summary").ends_with('.'), "{name}");
        assert!(["critical", "warning"].contains(&text(&rule["labels"], "severity")), "{name}");
    }
}

#[test]
fn kvs_exports_each_metric_of_the_alerts_and_of_the_dashboard() {
    let alerts = rules().iter().flat_map(|rule| metrics_in(text(rule, "expr"))).collect::<Names>();
    let shown = dashboard::expressions().iter().flat_map(|expression| metrics_in(expression)).collect::<Names>();
    assert!(alerts.len() > 15 && shown.len() > 30, "{alerts:?} {shown:?}");
    let named: Names = alerts.union(&shown).cloned().collect();
    let server = used_server(Way::Http);
    let start = Instant::now();
    loop {
        let exported = exported(&server);
        let missing: Vec<_> = named.difference(&exported).collect();
        if missing.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "not exported: {missing:?}; exported: {exported:?}");
        sleep(Duration::from_millis(200));
    }
}
