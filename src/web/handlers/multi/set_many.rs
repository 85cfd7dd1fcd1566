//! Stores many values at once. Each row is evaluated separately.

use std::collections::HashMap;
use std::time::Duration;

use super::parse_rows::ValueRow;
use crate::model::{Batch, Bucket, Condition, Entry, Expectation, Key, Outcome, Returning, Time, Write};
use crate::web::auth::policy::Timestamps;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;
use crate::web::response::json_response;
use crate::web::write::commit::MAX_ATTEMPTS;

/// A write with a date precondition gets a date at least this much later than the date of the entry that it replaces.
const MIN_DATE_STEP: Duration = Duration::from_secs(1);

/// Stores the rows whose preconditions hold, and returns the result of each row.
pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    rows: Vec<ValueRow>,
) -> Result<Response, ApiError> {
    let timestamps = ctx.state.settings.policies.for_bucket(bucket).timestamps;
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let is_conditional = timestamps == Timestamps::Client || rows.iter().any(|row| row.modified.is_some());
    let store = &ctx.state.store;
    for _ in 0..MAX_ATTEMPTS {
        let found = if is_conditional {
            store.get(bucket, &keys).await.map_err(ApiError::from_read)?.entries
        } else {
            vec![None; keys.len()]
        };
        let plan = plan(&rows, &found, timestamps, ctx.now());
        if let Outcome::Committed { changes, .. } = store.apply(bucket, plan.batch).await? {
            let mut changes = changes.into_iter();
            let result = |accepted: &bool| match accepted.then(|| changes.next()).flatten() {
                None => "rejected",
                Some(change) if change.before.is_some() => "updated",
                Some(_) => "inserted",
            };
            let results = plan.accepted.iter().map(result).map(|result| serde_json::json!({ "result": result }));
            return json_response::json(&results.collect::<Vec<_>>());
        }
    }
    Err(ApiError::contention())
}

/// The writes to commit if the entries that were read are unchanged.
struct Plan {
    batch: Batch,
    /// For each row, whether it is in the batch.
    accepted: Vec<bool>,
}

/// Evaluates each row on the current entry, or on the entry that an earlier row writes.
///
/// With server timestamps, a write with a date precondition gets a later second than the entry that it replaces. With
/// client timestamps, the precondition of a row is also its new date; without one the date stays the same.
fn plan(rows: &[ValueRow], found: &[Option<Entry>], timestamps: Timestamps, now: Time) -> Plan {
    let mut plan = Plan { batch: Batch::default().returning(Returning::Metadata), accepted: vec![] };
    let mut written: HashMap<&Key, Time> = HashMap::new();
    for (row, entry) in rows.iter().zip(found) {
        let last = written.get(&row.key).copied().or_else(|| entry.as_ref().map(Entry::last_modified));
        let accepted = row.modified.is_none_or(|date| last.is_none_or(|last| last <= date));
        plan.accepted.push(accepted);
        let expectations = &mut plan.batch.expectations;
        if timestamps == Timestamps::Client || row.modified.is_some() {
            expectations.push(Expectation::unchanged(row.key.clone(), entry.as_ref()));
        }
        if !accepted {
            continue;
        }
        let (modified, at_least) = match timestamps {
            Timestamps::Client => (row.modified.or(last), row.modified.or(last).unwrap_or(now)),
            Timestamps::Server => {
                // The store does the same, so that the date of this row does not let a later row pass.
                let past = last.max(row.modified.map(|date| date.min(now)));
                (None, past.map_or(now, |past| now.max(past.plus(MIN_DATE_STEP))))
            }
        };
        if let (Timestamps::Server, Some(date)) = (timestamps, row.modified) {
            expectations.push(Expectation { key: row.key.clone(), condition: Condition::NotModifiedSince(date) });
        }
        written.insert(&row.key, at_least.floor_to_second());
        plan.batch.writes.push(put(row, modified));
    }
    plan
}

fn put(row: &ValueRow, modified: Option<Time>) -> Write {
    Write::Put {
        key: row.key.clone(),
        value: row.value.clone(),
        content_type: row.content_type.clone(),
        expires: row.expires,
        modified,
    }
}
