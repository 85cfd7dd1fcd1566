//! Limits the number of clients whose counts are stored, so that many addresses cannot fill the disk or the memory.
//!
//! If the limit is reached, the oldest clients without a wrong secret in their count are removed. If there are none, a
//! new client shares the count of its network (see [`super::client_id`]) until there is room again.

use std::time::Duration;

use parking_lot::Mutex;

use super::count::Count;
use crate::model::{Batch, Bucket, Expectation, Key, Outcome, Projection, Result, Returning, Scan, Time, Write};
use crate::store::Store;

/// How many clients are stored. Several processes that add clients at the same moment can exceed it a little.
pub(crate) const MAX_CLIENTS: usize = 10_000;
/// How many clients are removed at once, so that this is not done for each new client.
const REMOVED_AT_ONCE: usize = 500;
/// How long a number that was read from the store is used. Meanwhile this process adds its own new clients to it.
const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(1);

/// The number of clients, as far as this process knows.
#[derive(Default)]
pub(crate) struct ClientLimit(Mutex<Option<ClientSnapshot>>);

#[derive(Clone, Copy)]
struct ClientSnapshot {
    at: Time,
    clients: usize,
}

impl ClientLimit {
    /// Whether one more client may be stored.
    pub(crate) async fn has_room(&self, store: &dyn Store, bucket: &Bucket, now: Time) -> Result<bool> {
        if let Some(snapshot) = self.0.lock().as_mut().filter(|it| it.at <= now && now.since(it.at) < MAX_SNAPSHOT_AGE)
        {
            snapshot.clients += 1;
            return Ok(snapshot.clients <= MAX_CLIENTS);
        }
        let count = Scan { projection: Projection::Count, ..Scan::default() };
        let found = store.scan(bucket, count).await?.count.unwrap_or(0);
        let mut clients = usize::try_from(found).unwrap_or(usize::MAX);
        if clients >= MAX_CLIENTS {
            clients = clients.saturating_sub(remove_idle_clients(store, bucket, now).await?);
        }
        *self.0.lock() = Some(ClientSnapshot { at: now, clients: clients.saturating_add(1) });
        Ok(clients < MAX_CLIENTS)
    }
}

/// Removes the oldest clients without a wrong secret in their count. Returns how many were removed.
async fn remove_idle_clients(store: &dyn Store, bucket: &Bucket, now: Time) -> Result<usize> {
    let all = store.scan(bucket, Scan { limit: MAX_CLIENTS.saturating_mul(2), ..Scan::default() }).await?;
    let entries = all.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?)));
    // The other entries (such as the key of the marks) do not have an address as their key.
    let is_client = |key: &Key| key.as_str() == "unknown" || key.as_str().contains(['.', ':']);
    let mut idle: Vec<_> = entries.filter(|(key, entry)| is_client(key) && Count::parse(entry).is_reset(now)).collect();
    idle.sort_by_key(|(_, entry)| entry.revision);
    idle.truncate(REMOVED_AT_ONCE);
    let expected = idle.iter().map(|(key, entry)| Expectation::unchanged(key.clone(), Some(entry)));
    let writes: Vec<_> = idle.iter().map(|(key, _)| Write::Delete { key: key.clone() }).collect();
    if writes.is_empty() {
        return Ok(0);
    }
    let batch = Batch::new(writes).with_expectations(expected.collect()).returning(Returning::Nothing);
    let done = matches!(store.apply(bucket, batch).await?, Outcome::Committed { .. });
    // If it failed, one of them has just sent a request. The next new client tries again.
    Ok(if done { idle.len() } else { 0 })
}
