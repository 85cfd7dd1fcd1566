//! Maintenance tasks, which the server runs.

use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::exchange::RemoteRequest;
use super::remote_store::RemoteStore;
use crate::model::{Bucket, Result};
use crate::store::{Finding, Report, Severity, Task};

/// How long the server may work on a task.
const MAX_TASK_TIME: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
struct JsonReport {
    entries: u64,
    removed: u64,
    bytes_before: u64,
    bytes_after: u64,
    findings: Vec<JsonFinding>,
}

#[derive(Deserialize)]
struct JsonFinding {
    severity: String,
    file: Option<String>,
    line: Option<u64>,
    text: String,
}

impl RemoteStore {
    pub(super) async fn run_task(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let name = match task {
            Task::Compact => "compact",
            Task::RemoveExpired => "remove-expired",
            Task::RemoveLeftovers => "remove-leftovers",
            Task::Check => "check",
            Task::Status => "status",
        };
        let query = vec![("task", name.to_owned())];
        let path = format!("maintenance/{bucket}");
        let request = match task {
            Task::Status => RemoteRequest::read(Method::POST, path, query),
            // The others may take long, and a second one would take as long again.
            _ => RemoteRequest { wait: MAX_TASK_TIME, ..RemoteRequest::write(Method::POST, path, query) },
        };
        let reply = self.send(&request).await?;
        let json: JsonReport = self.json(&reply)?;
        let mut report = Report::default();
        (report.entries, report.removed) = (json.entries, json.removed);
        (report.bytes_before, report.bytes_after) = (json.bytes_before, json.bytes_after);
        report.findings = json.findings.into_iter().map(finding).collect();
        Ok(report)
    }
}

fn finding(json: JsonFinding) -> Finding {
    let severity = if json.severity == "damage" { Severity::Damage } else { Severity::Note };
    let mut finding = Finding::new(severity, json.text);
    (finding.file, finding.line) = (json.file.map(Into::into), json.line);
    finding
}
