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
    let by_date = asked.service.settings.policies.of(bucket).timestamps == Timestamps::Client;
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let guarded = by_date || rows.iter().any(|row| row.modified.is_some());
    let store = &asked.service.store;
    for _ in 0..TRIES {
        let found = if guarded { store.get(bucket, &keys).await?.entries } else { vec![None; keys.len()] };
        let plan =
            if by_date { by_their_dates(&rows, &found, asked.now()) } else { by_our_times(&rows, &found, asked.now()) };
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

/// The guard of a row is judged by what it replaces, and the write ends up in a later second.
fn by_our_times(rows: &[Valued], found: &[Option<Entry>], now: Time) -> Plan {
    let mut plan = Plan { batch: Batch::default(), accepted: vec![] };
    let mut written: HashMap<&Key, Time> = HashMap::new();
    for (row, entry) in rows.iter().zip(found) {
        let last = written.get(&row.key).copied().or_else(|| entry.as_ref().map(Entry::last_modified));
        let accepted = row.modified.is_none_or(|date| last.is_none_or(|last| last <= date));
        plan.accepted.push(accepted);
        if let Some(date) = row.modified {
            plan.batch.expectations.push(unchanged(&row.key, entry.as_ref()));
            if accepted {
                let condition = Condition::NotModifiedSince(date);
                plan.batch.expectations.push(Expectation { key: row.key.clone(), condition });
            }
        }
        if accepted {
            // At the least: a guarded write ends up in a later second than what it replaces.
            let later = last.map_or(now, |last| now.max(last.plus(SECOND)));
            written.insert(&row.key, later.floor_to_second());
            plan.batch.writes.push(put(row, None));
        }
    }
    plan
}

/// The guard of a row is also its date; without one the date stays.
fn by_their_dates(rows: &[Valued], found: &[Option<Entry>], now: Time) -> Plan {
    let mut plan = Plan { batch: Batch::default(), accepted: vec![] };
    let mut written: HashMap<&Key, Time> = HashMap::new();
    for (row, entry) in rows.iter().zip(found) {
        let last = written.get(&row.key).copied().or_else(|| entry.as_ref().map(Entry::last_modified));
        let accepted = row.modified.is_none_or(|date| last.is_none_or(|last| last <= date));
        plan.accepted.push(accepted);
        plan.batch.expectations.push(unchanged(&row.key, entry.as_ref()));
        if accepted {
            let date = row.modified.or(last);
            // Without any date it is that of the commit.
            written.insert(&row.key, date.unwrap_or(now).floor_to_second());
            plan.batch.writes.push(put(row, date));
        }
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
