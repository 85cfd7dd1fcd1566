//! The dashboard for Grafana. Grafana itself does not run here: the tests read the file, and `scraped` asks Prometheus for
//! each panel.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::deployed;

fn dashboard() -> Value {
    serde_json::from_slice(&fs::read(deployed("grafana/kvs.json")).unwrap()).unwrap()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The expressions of all panels, with values in place of the variables of Grafana.
pub(super) fn expressions() -> Vec<String> {
    let dashboard = dashboard();
    let targets = items(&dashboard["panels"]).flat_map(|panel| items(&panel["targets"]));
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    let values = [("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*")];
    let filled = |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    expressions.map(filled).collect()
}

#[test]
fn panels_are_described_and_use_the_chosen_data_source() {
    let dashboard = dashboard();
    let panels: Vec<_> = items(&dashboard["panels"]).collect();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert!(ids.len() == panels.len() && ids.len() > 20, "{ids:?}");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        assert!(items(&panel["targets"]).count() > 0, "{title}");
        for target in items(&panel["targets"]) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for expression in expressions() {
        assert!(!expression.contains('$'), "{expression}");
    }
}
