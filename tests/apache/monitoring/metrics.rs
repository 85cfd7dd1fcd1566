//! `/metrics` as a monitoring system reads it: the parser of Prometheus accepts it, and under `mod_fcgid`, where each
//! request may reach another process, each metric has a label with the process.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::python::programs;
use crate::servers::{Server, Way};

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";

/// Prints the type, name and labels of each sample.
const READER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sorted(sample.labels.items()))
";

fn read(text: &str) -> Vec<String> {
    let mut command = Command::new(programs().join("python"));
    let child = command.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_prometheus_parser_reads_the_metrics() {
    let server = Server::start(Way::Http);
    let answer = server.send(METRICS);
    assert_eq!(answer.status, 200);
    let samples = read(&answer.text());
    for sample in [
        "counter kvs_requests_total [('method', 'GET'), ('route', 'status'), ('status', '200')]",
        "gauge kvs_waiters_max []",
        "histogram kvs_request_duration_seconds_count [('method', 'GET'), ('route', 'status')]",
        "counter kvs_store_errors_total [('kind', 'busy')]",
    ] {
        assert!(samples.iter().any(|found| found == sample), "{sample} is not in {samples:#?}");
    }
    assert!(!answer.text().contains("process="));
}

#[test]
fn metrics_have_a_process_label_under_mod_fcgid() {
    let server = Server::start(Way::ModFcgid);
    let samples = read(&server.send(METRICS).text());
    let programs = server.site.programs();
    for sample in &samples {
        let has_label = |(id, _): &(i32, String)| sample.contains(&format!("('process', '{id}')"));
        assert!(programs.iter().any(has_label), "{sample}: {programs:?}");
    }
    assert!(samples.len() > 50);
}
