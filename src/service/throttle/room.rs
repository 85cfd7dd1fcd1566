//! Bounds the number of clients that are remembered, so that no number of addresses fills disk or memory.
//!
//! When there is no room, the oldest of those make room that have no wrong secret on their count. If all have one, a new
//! client shares the count of its neighbours (see [`super::client`]) until there is room again.

use std::time::Duration;

use parking_lot::Mutex;

use super::count::Count;
use crate::model::{Batch, Bucket, Condition, Expectation, Key, Outcome, Query, Result, Shape, Time, Write};
use crate::store::Store;

/// Clients that are remembered. Processes that add some at the same moment may go a little beyond.
pub(super) const MOST: usize = 10_000;
/// So many make room at once, so that it is not done for each new one.
const AT_ONCE: usize = 500;
/// For how long a number that was looked up is counted on from.
const AGE: Duration = Duration::from_secs(1);

/// How many clients there are, as far as this process knows.
#[derive(Default)]
pub(super) struct Room(Mutex<Option<Seen>>);

#[derive(Clone, Copy)]
struct Seen {
    at: Time,
    clients: usize,
}

impl Room {
    /// Whether one more client may be remembered.
    pub(super) async fn is_left(&self, store: &dyn Store, bucket: &Bucket, now: Time) -> Result<bool> {
        if let Some(known) = self.0.lock().as_mut().filter(|seen| seen.at <= now && now.since(seen.at) < AGE) {
            known.clients += 1;
            return Ok(known.clients <= MOST);
        }
        let count = Query { shape: Shape::Count, ..Query::default() };
        let found = store.scan(bucket, count).await?.count.unwrap_or(0);
        let mut clients = usize::try_from(found).unwrap_or(usize::MAX);
        if clients >= MOST {
            clients = clients.saturating_sub(make(store, bucket, now).await?);
        }
        *self.0.lock() = Some(Seen { at: now, clients: clients.saturating_add(1) });
        Ok(clients < MOST)
    }
}

/// Forgets clients without a wrong secret on their count; how many.
async fn make(store: &dyn Store, bucket: &Bucket, now: Time) -> Result<usize> {
    let all = store.scan(bucket, Query { limit: MOST.saturating_mul(2), ..Query::default() }).await?;
    let entries = all.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?)));
    // What is no client (the key of the marks) has no address for a name.
    let is_client = |key: &Key| key.as_str() == "unknown" || key.as_str().contains(['.', ':']);
    let mut idle: Vec<_> =
        entries.filter(|(key, entry)| is_client(key) && Count::stored(entry).is_forgotten(now)).collect();
    idle.sort_by_key(|(_, entry)| entry.revision);
    idle.truncate(AT_ONCE);
    let expected = idle
        .iter()
        .map(|(key, entry)| Expectation { key: key.clone(), condition: Condition::RevisionIn(vec![entry.revision]) });
    let writes: Vec<_> = idle.iter().map(|(key, _)| Write::Delete { key: key.clone() }).collect();
    if writes.is_empty() {
        return Ok(0);
    }
    let batch = Batch::of(writes).expecting(expected.collect()).untold();
    let done = matches!(store.apply(bucket, batch).await?, Outcome::Committed { .. });
    // Refused: one of them has just sent something. The next new client tries again.
    Ok(if done { idle.len() } else { 0 })
}
