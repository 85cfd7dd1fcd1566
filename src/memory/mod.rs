//! The store that keeps everything in memory: for tests, for caches, and for `--store memory:`.
//!
//! It is not durable: what it holds is gone with its last clone, so "durable" means no more here than "done". Nor does it
//! tidy up by itself: an expired entry is invisible at once, but takes room until it is overwritten or purged.
//!
//! One lock guards all buckets and is never held across a wait, so every answer shows one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::model::{Batch, Bucket, Clock, Entry, Key, Outcome, Page, Query, Result};
use crate::model::{Revision, Snapshot, SystemClock, Time};
use crate::store::{Judged, Limits, Moment, Report, Store, Task, judge, page};

/// A store in memory. Clones share its data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    limits: Limits,
    buckets: RwLock<BTreeMap<Bucket, Content>>,
    /// Counts the buckets that have come to be. Who waits for a bucket that is not there yet waits on this, so that
    /// waiting leaves no trace of the bucket's name.
    born: watch::Sender<usize>,
}

/// A bucket that has been written.
struct Content {
    entries: BTreeMap<Key, Entry>,
    /// The revision of the bucket. It is sent under the lock that guards the entries, so both move together.
    revision: watch::Sender<Revision>,
}

impl Default for Content {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), revision: watch::Sender::new(Revision::ZERO) }
    }
}

impl Default for MemoryStore {
    /// An empty store with the system's clock and the usual limits.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Limits::default())
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let buckets = RwLock::default();
        Self { shared: Arc::new(Shared { clock, limits, buckets, born: watch::Sender::new(0) }) }
    }
}

impl Content {
    fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    fn live(&self, key: &Key, now: Time) -> Option<&Entry> {
        self.entries.get(key).filter(|e| e.is_live(now))
    }

    fn page(&self, query: &Query, now: Time) -> Page {
        Page { revision: self.revision(), ..page(&self.entries, query, now) }
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(key, entry)| (key.as_str().len() + entry.value.len()) as u64).sum()
    }

    fn keep_order(&mut self, task: Task, now: Time) -> Report {
        let (held, bytes_before) = (self.entries.len(), self.bytes());
        match task {
            Task::Compact | Task::PurgeExpired => self.entries.retain(|_, entry| entry.is_live(now)),
            // Nothing here can be left half done, and nothing read back wrong.
            Task::Sweep | Task::Check | Task::Status => {}
        }
        Report {
            entries: self.entries.values().filter(|e| e.is_live(now)).count() as u64,
            removed: (held - self.entries.len()) as u64,
            bytes_before,
            bytes_after: self.bytes(),
            findings: vec![],
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let buckets = self.shared.buckets.read();
        let now = self.shared.clock.now();
        Ok(match buckets.get(bucket) {
            None => Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] },
            Some(content) => Snapshot {
                revision: content.revision(),
                entries: keys.iter().map(|key| content.live(key, now).cloned()).collect(),
            },
        })
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let mut buckets = self.shared.buckets.write();
        // The time is taken under the lock, so that it is that of the commit.
        let now = self.shared.clock.now();
        let present = buckets.get(bucket);
        let last = present.map_or(Revision::ZERO, Content::revision);
        let look = |key: &Key| present.and_then(|content| content.live(key, now).cloned());
        let changes = match judge(&batch, self.shared.limits, Moment::new(now, last), look)? {
            Judged::Refused { index, found } => return Ok(Outcome::Refused { index, found }),
            Judged::Go { changes } => changes,
        };
        let Some(revision) = changes.iter().filter_map(|(_, _, revision)| *revision).max() else {
            return Ok(batch.committed(last, changes.into_iter().map(|(_, change, _)| change)));
        };
        let known = buckets.len();
        let content = buckets.entry(bucket.clone()).or_default();
        let mut done = Vec::with_capacity(changes.len());
        for (key, change, _) in changes {
            match &change.after {
                Some(entry) => content.entries.insert(key, entry.clone()),
                None => content.entries.remove(&key),
            };
            done.push(change);
        }
        content.revision.send_replace(revision);
        if buckets.len() > known {
            self.shared.born.send_replace(buckets.len());
        }
        Ok(batch.committed(revision, done))
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        let buckets = self.shared.buckets.read();
        let now = self.shared.clock.now();
        Ok(match buckets.get(bucket) {
            None => Content::default().page(&query, now),
            Some(content) => content.page(&query, now),
        })
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        // Subscribed before the look, so that a bucket born between the two is not missed.
        let mut born = self.shared.born.subscribe();
        loop {
            let known = self.shared.buckets.read().get(bucket).map(|content| content.revision.subscribe());
            // The senders live as long as `self`, so neither wait can fail; if one did, looking again is right.
            if let Some(mut revision) = known {
                if let Ok(reached) = revision.wait_for(|reached| *reached > since).await {
                    return Ok(*reached);
                }
            } else {
                let _ = born.changed().await;
            }
        }
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(self.shared.buckets.read().keys().cloned().collect())
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let now = self.shared.clock.now();
        let mut buckets = self.shared.buckets.write();
        Ok(buckets.get_mut(bucket).map(|content| content.keep_order(task, now)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ContentType, Write};
    use crate::store::suite::TestClock;

    fn put(key: &str, expires: Option<Time>) -> Batch {
        let key = Key::new(key).unwrap();
        let value = "12345".into();
        let write = Write::Put { key, value, content_type: ContentType::default(), expires, modified: None };
        Batch::of(vec![write])
    }

    #[tokio::test]
    async fn waiting_for_a_bucket_that_never_comes_leaves_nothing() {
        let store = MemoryStore::new(Arc::new(TestClock::default()), Limits::default());
        let waited = Duration::from_millis(5);
        assert!(tokio::time::timeout(waited, store.changed(&Bucket::default(), Revision::ZERO)).await.is_err());
        assert!(store.shared.buckets.read().is_empty());
        assert_eq!(store.shared.born.receiver_count(), 0);
    }

    #[tokio::test]
    async fn expired_entries_take_room_until_they_are_purged() {
        let clock = Arc::new(TestClock::default());
        let store = MemoryStore::new(clock.clone(), Limits::default());
        let bucket = Bucket::default();
        let end = clock.now().plus(Duration::from_secs(1));
        store.apply(&bucket, put("a", Some(end))).await.unwrap();
        store.apply(&bucket, put("b", None)).await.unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.upkeep(&bucket, Task::Check).await.unwrap().bytes_after, 12);
        let report = store.upkeep(&bucket, Task::PurgeExpired).await.unwrap();
        assert_eq!((report.entries, report.removed, report.bytes_before, report.bytes_after), (1, 1, 12, 6));
    }

    #[tokio::test]
    async fn clones_share_their_data() {
        let store = MemoryStore::new(Arc::new(TestClock::default()), Limits::default());
        store.clone().apply(&Bucket::default(), put("a", None)).await.unwrap();
        assert_eq!(store.buckets().await.unwrap(), [Bucket::default()]);
    }
}
