//! `POST /txn/{bucket}`: a transaction of checks and operations, all or nothing.

pub(super) mod parse_steps;

use serde_json::{Value, json};

use crate::model::{Bucket, Change, Entry, Key, Outcome, Write};
use crate::web::auth::authorize;
use crate::web::body::{Body, Response};
use crate::web::budget::Budget;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::body;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Composer;
use crate::web::response::{entry_json, json_response};
use crate::web::write::commit;

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    authorize::require_write(ctx, bucket).await?;
    WritePreconditions::none(ctx)?;
    let body = body::json(ctx, body).await?;
    let batch = parse_steps::parse(&body, ctx.max_value_bytes(bucket), ctx.now())?;
    // A check reveals the current entry, as a read does.
    if !batch.expectations.is_empty() || batch.writes.iter().any(|write| matches!(write, Write::Read { .. })) {
        authorize::require_read(ctx, bucket).await?;
    }
    let writes = batch.writes.clone();
    let checked: Vec<Key> = batch.expectations.iter().map(|check| check.key.clone()).collect();
    match commit::apply(ctx, bucket, batch).await? {
        Outcome::Committed { revision, changes } => {
            let mut out = Composer::default();
            out.open_object(&json!({ "revision": revision.to_string() }))?;
            out.text(",\"results\":[");
            for (number, (write, change)) in writes.iter().zip(&changes).enumerate() {
                out.text(if number == 0 { "" } else { "," });
                match write {
                    Write::Read { key } => {
                        entry_json::entry_or_null(&mut out, EntryName { bucket, key }, change.after.as_ref())?;
                    }
                    _ => out.json(&result(write, change)?)?,
                }
            }
            out.text("]}");
            // The commit is done, so its response has no memory limit. A client that may write is trusted with this
            // memory.
            Ok(json_response::composed(out.finish(&Budget::default())?))
        }
        Outcome::PreconditionFailed { index, found } => {
            let key = checked
                .get(index)
                .ok_or_else(|| ApiError::internal("the store reported a check that does not exist"))?;
            json_response::conflict(index, EntryName { bucket, key }, found.as_ref())
        }
    }
}

/// The result of one operation.
fn result(write: &Write, change: &Change) -> Result<Value, ApiError> {
    let revision = change.after.as_ref().map(|entry| entry.revision.to_string());
    Ok(match write {
        Write::Put { .. } | Write::Append { .. } | Write::Restore { .. } => json!({ "revision": revision }),
        Write::Delete { .. } => json!({ "deleted": change.before.is_some() }),
        Write::Touch { .. } => json!({ "touched": change.before.is_some() }),
        Write::Read { .. } => Value::Null,
        Write::Increment { .. } => {
            let text = change.after.as_ref().and_then(Entry::as_text);
            let number: i64 = text
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| ApiError::internal("the store returned no number for an increment"))?;
            json!({ "value": number, "revision": revision })
        }
    })
}
