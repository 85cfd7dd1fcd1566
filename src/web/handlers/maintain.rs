//! `POST /maintenance/{bucket}?task=TASK`: runs a maintenance task of the store, and reports what it found.

use serde_json::{Value, json};

use crate::model::Bucket;
use crate::store::{Finding, Severity, Task};
use crate::web::auth::authorize;
use crate::web::auth::secrets::Right;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::damage_report::{file_name, without_folders};
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, number};
use crate::web::response::api_error::ApiError;
use crate::web::response::json_response;

/// The tasks by their names.
const TASKS: [(&str, Task); 5] = [
    ("compact", Task::Compact),
    ("remove-expired", Task::RemoveExpired),
    ("remove-leftovers", Task::RemoveLeftovers),
    ("check", Task::Check),
    ("status", Task::Status),
];

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    let name = ctx.query.text("task")?.unwrap_or_default();
    let task = TASKS.into_iter().find(|(known, _)| *known == name).map(|(_, task)| task);
    let right = match task {
        Some(Task::Check | Task::Status) => Right::Read,
        _ => Right::Write,
    };
    authorize::require_owner(ctx, right, bucket).await?;
    WritePreconditions::none(ctx)?;
    let Some(task) = task else {
        let all = TASKS.map(|(name, _)| name).join(", ");
        return Err(ApiError::invalid(format!("task must be one of {all}, got {}", number::quote(&name))));
    };
    body::drain(ctx, body).await?;
    let report = ctx.state.store.maintain(bucket, task).await?;
    json_response::json(&json!({
        "entries": report.entries,
        "removed": report.removed,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    }))
}

/// A finding without its folder.
fn finding(found: &Finding) -> Value {
    let severity = if found.severity == Severity::Damage { "damage" } else { "note" };
    json!({
        "severity": severity,
        "file": file_name(found),
        "line": found.line,
        "text": without_folders(&found.text),
    })
}
