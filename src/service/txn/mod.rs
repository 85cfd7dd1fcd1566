//! `POST /txn/{bucket}`: checks and operations, all or nothing.

mod steps;

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::demand::Demand;
use super::meta::Meta;
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
            let results = writes.iter().zip(&changes).map(|(write, change)| result(bucket, write, change));
            let results = results.collect::<Result<Vec<_>, _>>()?;
            reply::json(&json!({ "revision": revision.to_string(), "results": results }))
        }
        Outcome::Refused { index, found } => {
            let key = checked.get(index).ok_or_else(Refusal::internal)?;
            reply::conflict(index, found.as_ref().map(|entry| Meta::new(bucket, key, entry)).as_ref())
        }
    }
}

/// What one operation came to.
fn result(bucket: &Bucket, write: &Write, change: &Change) -> Result<Value, Refusal> {
    let revision = change.after.as_ref().map(|entry| entry.revision.to_string());
    Ok(match write {
        Write::Put { .. } | Write::Append { .. } | Write::Restore { .. } => json!({ "revision": revision }),
        Write::Delete { .. } => json!({ "deleted": change.before.is_some() }),
        Write::Touch { .. } => json!({ "touched": change.before.is_some() }),
        Write::Look { key } => json!(change.after.as_ref().map(|entry| Meta::new(bucket, key, entry))),
        Write::Increment { .. } => {
            let text = change.after.as_ref().and_then(|entry| std::str::from_utf8(&entry.value).ok());
            let number: i64 = text.and_then(|text| text.parse().ok()).ok_or_else(Refusal::internal)?;
            json!({ "value": number, "revision": revision })
        }
    })
}
