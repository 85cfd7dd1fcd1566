//! `POST /txn/{bucket}`: checks and operations, all or nothing.

mod steps;

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::budget::Budget;
use super::compose::Composer;
use super::demand::Demand;
use super::meta;
use super::reply::{self, Refusal};
use super::{Asked, body, commit, guard};
use crate::model::{Bucket, Change, Key, Outcome, Write};

/// Answers `POST /txn/{bucket}`.
pub(crate) async fn answer(asked: Asked<'_>, bucket: &Bucket, body: Body) -> Result<Response, Refusal> {
    guard::writer(asked, bucket).await?;
    Demand::none(asked)?;
    let body = body::json(asked, body).await?;
    let batch = steps::read(&body, asked.most(bucket), asked.now())?;
    // A check tells what stands there as well as a read does.
    if !batch.expectations.is_empty() || batch.writes.iter().any(|write| matches!(write, Write::Look { .. })) {
        guard::reader(asked, bucket).await?;
    }
    let writes = batch.writes.clone();
    let checked: Vec<Key> = batch.expectations.iter().map(|check| check.key.clone()).collect();
    match commit::apply(asked, bucket, batch).await? {
        Outcome::Committed { revision, changes } => {
            let mut out = Composer::default();
            out.open(&json!({ "revision": revision.to_string() }))?;
            out.text(",\"results\":[");
            for (number, (write, change)) in writes.iter().zip(&changes).enumerate() {
                out.text(if number == 0 { "" } else { "," });
                match write {
                    Write::Look { key } => meta::found(&mut out, (bucket, key), change.after.as_ref())?,
                    _ => out.json(&result(write, change)?)?,
                }
            }
            out.text("]}");
            // It is done, so its answer is given, whatever it holds: who may write is trusted with this much.
            Ok(reply::composed(out.finish(&Budget::default())?))
        }
        Outcome::Refused { index, found } => {
            let key =
                checked.get(index).ok_or_else(|| Refusal::internal("the store named a check that is not there"))?;
            reply::conflict(index, (bucket, key), found.as_ref())
        }
    }
}

/// What one operation came to.
fn result(write: &Write, change: &Change) -> Result<Value, Refusal> {
    let revision = change.after.as_ref().map(|entry| entry.revision.to_string());
    Ok(match write {
        Write::Put { .. } | Write::Append { .. } | Write::Restore { .. } => json!({ "revision": revision }),
        Write::Delete { .. } => json!({ "deleted": change.before.is_some() }),
        Write::Touch { .. } => json!({ "touched": change.before.is_some() }),
        Write::Look { .. } => Value::Null,
        Write::Increment { .. } => {
            let text = change.after.as_ref().and_then(|entry| std::str::from_utf8(&entry.value).ok());
            let number: i64 = text
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Refusal::internal("the store told of no number"))?;
            json!({ "value": number, "revision": revision })
        }
    })
}
