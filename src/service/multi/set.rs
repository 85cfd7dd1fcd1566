//! Many values stored at once, each row judged by itself.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::Response;

use super::super::commit::{TRIES, unchanged};
use super::super::reply::{self, Refusal};
use super::super::{Asked, Timestamps};
use super::rows::Valued;
use crate::model::{Batch, Bucket, Condition, Entry, Expectation, Key, Outcome, Time, Write};

/// What a guarded write is later than what it replaces, at the least.
const SECOND: Duration = Duration::from_secs(1);

/// Stores the rows whose guards hold, and says what became of each.
pub(super) async fn answer(asked: Asked<'_>, bucket: &Bucket, rows: Vec<Valued>) -> Result<Response, Refusal> {
    let timestamps = asked.service.settings.policies.of(bucket).timestamps;
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let guarded = timestamps == Timestamps::Client || rows.iter().any(|row| row.modified.is_some());
    let store = &asked.service.store;
    for _ in 0..TRIES {
        let found = if guarded {
            store.get(bucket, &keys).await.map_err(Refusal::unread)?.entries
        } else {
            vec![None; keys.len()]
        };
        let plan = plan(&rows, &found, (timestamps, asked.now()));
        if let Outcome::Committed { changes, .. } = store.apply(bucket, plan.batch).await? {
            let mut changes = changes.into_iter();
            let result = |accepted: &bool| match accepted.then(|| changes.next()).flatten() {
                None => "rejected",
                Some(change) if change.before.is_some() => "updated",
                Some(_) => "inserted",
            };
            let results = plan.accepted.iter().map(result).map(|result| serde_json::json!({ "result": result }));
            return reply::json(&results.collect::<Vec<_>>());
        }
    }
    Err(Refusal::outrun())
}

/// What is to be written, if what was found still stands there.
struct Plan {
    batch: Batch,
    /// For each row whether it is among the writes.
    accepted: Vec<bool>,
}

/// Each row is judged by what stands there, or was written by a row before it.
///
/// By our times a guarded write ends up in a later second than what it replaces. By those of clients the guard of a row is
/// also its date; without one the date stays.
fn plan(rows: &[Valued], found: &[Option<Entry>], (timestamps, now): (Timestamps, Time)) -> Plan {
    let mut plan = Plan { batch: Batch::default(), accepted: vec![] };
    let mut written: HashMap<&Key, Time> = HashMap::new();
    for (row, entry) in rows.iter().zip(found) {
        let last = written.get(&row.key).copied().or_else(|| entry.as_ref().map(Entry::last_modified));
        let accepted = row.modified.is_none_or(|date| last.is_none_or(|last| last <= date));
        plan.accepted.push(accepted);
        let expectations = &mut plan.batch.expectations;
        if timestamps == Timestamps::Client || row.modified.is_some() {
            expectations.push(unchanged(&row.key, entry.as_ref()));
        }
        if !accepted {
            continue;
        }
        let (modified, at_least) = match timestamps {
            Timestamps::Client => (row.modified.or(last), row.modified.or(last).unwrap_or(now)),
            Timestamps::Server => {
                // As the store has it, so that no later row passes with the date of this one.
                let past = last.max(row.modified.map(|date| date.min(now)));
                (None, past.map_or(now, |past| now.max(past.plus(SECOND))))
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

fn put(row: &Valued, modified: Option<Time>) -> Write {
    Write::Put {
        key: row.key.clone(),
        value: row.value.clone(),
        content_type: row.content_type.clone(),
        expires: row.expires,
        modified,
    }
}
