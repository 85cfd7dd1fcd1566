//! Prometheus with the files of `deploy/prometheus/`, which scrapes a kvs: it accepts the metrics, evaluates each alert,
//! and has data for each panel of the dashboard.
//!
//! `promtool check metrics` is not used: it reads only the older text format, and refuses the type `info`.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::{dashboard, deployed, used_server};
use crate::client;
use crate::servers::{Way, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus. It is stopped when this is dropped.
struct Prometheus {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Prometheus {
    /// Starts Prometheus with the example, each second instead of each 15 seconds.
    fn start(target: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(deployed("prometheus/kvs.rules.yml"), folder.path().join("kvs.rules.yml")).unwrap();
        let example = fs::read_to_string(deployed("prometheus/prometheus.yml")).unwrap();
        let settings = example.replace("127.0.0.1:8080", &format!("127.0.0.1:{target}")).replace(": 15s", ": 1s");
        assert!(settings.contains(&target.to_string()) && !settings.contains("15s"), "the example has another form");
        fs::write(folder.path().join("prometheus.yml"), settings).unwrap();
        let (port, log) = (free_port(), fs::File::create(folder.path().join("stderr.log")).unwrap());
        let mut command = Command::new("/usr/bin/prometheus");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--storage.tsdb.path=data");
        command.arg("--config.file=prometheus.yml").current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("prometheus: tests/packages.sh installs it");
        Self { folder, port, child }
    }

    /// The field `data` of the response; `None` if there is no response yet.
    fn ask(&self, target: &str) -> Option<Value> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: prometheus.test\r\nConnection: close\r\n\r\n");
        let answer = client::try_send(self.port, request.as_bytes()).filter(|answer| answer.status != 503)?;
        let mut json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["status"], "success", "{target}: {json}");
        Some(json["data"].take())
    }

    /// The number of series that an expression has now.
    fn series(&self, expression: &str) -> usize {
        let target = format!("/api/v1/query?query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC));
        self.ask(&target).and_then(|data| Some(data["result"].as_array()?.len())).unwrap_or_default()
    }

    /// The names and the state of all alerts: `unknown` until they were evaluated, then `ok` or `err`.
    fn alerts(&self) -> Vec<(String, String)> {
        let data = self.ask("/api/v1/rules").unwrap_or_default();
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["health"]) + " " + &text(&rule["state"]))).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr.log")).unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Scrapes a server until there is data for each panel and each alert is evaluated. No alert may fire.
fn scrape(way: Way) {
    let server = used_server(way);
    let prometheus = Prometheus::start(server.port);
    // No request has failed, so this part has no data.
    let expressions = dashboard::expressions();
    let wanted: Vec<_> = expressions.iter().filter(|text| !text.contains("status=~\"5..\"")).collect();
    assert!(wanted.len() + 1 == expressions.len(), "{expressions:?}");
    let start = Instant::now();
    loop {
        let missing: Vec<_> = wanted.iter().filter(|expression| prometheus.series(expression) == 0).collect();
        let alerts = prometheus.alerts();
        if missing.is_empty() && !alerts.is_empty() && alerts.iter().all(|(_, state)| state == "ok inactive") {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{way:?}: no data: {missing:#?}\n{alerts:?}\n{}", prometheus.log());
        sleep(Duration::from_millis(500));
    }
}

#[test]
fn prometheus_has_data_for_each_panel_and_no_alert_fires() {
    scrape(Way::Http);
}

/// Here each series has the label `process`.
#[test]
fn the_same_holds_for_processes_that_apache_starts() {
    scrape(Way::ModFcgid);
}
