//! A store that keeps everything in memory: for tests, for caches, and for `--store memory:`.
//!
//! It is not durable: its data is lost with the last clone. It does not clean up automatically: an expired entry is
//! invisible at once, but takes memory until it is overwritten or removed by maintenance.
//!
//! One lock guards all buckets and is never held across an await, so every read shows one moment.

mod blobs;
mod logs;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use self::blobs::MemoryBlobs;
use self::logs::MemoryLogs;
use crate::model::{
    AppendOutcome, Batch, BlobId, Bucket, ChangesPage, ChangesQuery, Clock, Entry, Key, LogAppend, LogKeysQuery,
    LogPage, LogQuery, Outcome, Page, Result, Revision, Scan, Snapshot, SystemClock, Time,
};
use crate::store::{
    BlobReader, Blobs, Changes, Entries, Limits, Logs, Moment, NewBlob, RecentChanges, Report, Store, Task,
    evaluate_all, page,
};

/// A store in memory. Clones share its data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    limits: Limits,
    buckets: RwLock<BTreeMap<Bucket, BucketContent>>,
    /// The number of buckets. Waiters for a missing bucket watch this, so that waiting does not create the bucket.
    created: watch::Sender<usize>,
    logs: MemoryLogs,
    blobs: Arc<MemoryBlobs>,
}

/// The content of a bucket that has been written.
struct BucketContent {
    entries: Entries,
    recent: RecentChanges,
    /// The revision of the bucket. It is sent under the lock of the entries, so both change together.
    revision: watch::Sender<Revision>,
}

impl Default for BucketContent {
    fn default() -> Self {
        Self { entries: Entries::new(), recent: RecentChanges::default(), revision: watch::Sender::new(Revision::ZERO) }
    }
}

impl Default for MemoryStore {
    /// An empty store with the system's clock and the default limits.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Limits::default())
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let buckets = RwLock::default();
        let logs = MemoryLogs::new(Arc::clone(&clock), limits);
        let created = watch::Sender::new(0);
        Self { shared: Arc::new(Shared { clock, limits, buckets, created, logs, blobs: Arc::default() }) }
    }
}

impl BucketContent {
    fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    fn page(&self, query: &Scan, now: Time) -> Page {
        Page { revision: self.revision(), ..page(&self.entries, query, now) }
    }

    fn commit(&mut self, changes: HashMap<Key, Option<Entry>>, revisions: Vec<(Revision, Key)>) {
        if self.revision() == Revision::ZERO {
            self.recent = RecentChanges::of_new_bucket(&revisions);
        }
        for (revision, key) in revisions {
            self.recent.add(revision, key);
        }
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|view| (view.key.len() + view.value.len()) as u64).sum()
    }

    fn maintain(&mut self, task: Task, now: Time) -> Report {
        let (entries_before, bytes_before) = (self.entries.len(), self.bytes());
        match task {
            Task::Compact | Task::RemoveExpired => self.entries.retain(|view| view.is_live(now)),
            // Memory has no leftovers and no damage.
            Task::RemoveLeftovers | Task::Check | Task::Status => {}
        }
        Report {
            entries: self.entries.iter().filter(|view| view.is_live(now)).count() as u64,
            removed: (entries_before - self.entries.len()) as u64,
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
                entries: keys.iter().map(|key| content.entries.live(key, now)).collect(),
            },
        })
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let mut buckets = self.shared.buckets.write();
        // The time is read under the lock, so that it is the time of the commit.
        let now = self.shared.clock.now();
        let present = buckets.get(bucket);
        let start = Moment::new(now, present.map_or(Revision::ZERO, BucketContent::revision));
        let lookup = |key: &Key| present.and_then(|content| content.entries.live(key, now));
        let mut group = evaluate_all(&[batch], self.shared.limits, start, lookup, |_, _| {});
        if !group.changes.is_empty() {
            let count_before = buckets.len();
            let content = buckets.entry(bucket.clone()).or_default();
            content.commit(group.changes, group.revisions);
            content.revision.send_replace(group.revision);
            if buckets.len() > count_before {
                self.shared.created.send_replace(buckets.len());
            }
        }
        group.outcomes.remove(0)
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        let buckets = self.shared.buckets.read();
        let now = self.shared.clock.now();
        Ok(match buckets.get(bucket) {
            None => BucketContent::default().page(&query, now),
            Some(content) => content.page(&query, now),
        })
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        // Subscribed before the lookup, so that a bucket that is created in between is not missed.
        let mut created = self.shared.created.subscribe();
        loop {
            let watched = self.shared.buckets.read().get(bucket).map(|content| content.revision.subscribe());
            // The senders live as long as `self`, so neither wait fails; if one did, looking again would be right.
            if let Some(mut revision) = watched {
                if let Ok(reached) = revision.wait_for(|reached| *reached > since).await {
                    return Ok(*reached);
                }
            } else {
                let _ = created.changed().await;
            }
        }
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(self.shared.buckets.read().keys().cloned().collect())
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let now = self.shared.clock.now();
        let mut buckets = self.shared.buckets.write();
        let mut report = buckets.get_mut(bucket).map(|content| content.maintain(task, now)).unwrap_or_default();
        let content = buckets.get(bucket);
        match task {
            Task::Compact | Task::RemoveExpired | Task::RemoveLeftovers => {
                let removed = self.shared.blobs.remove_unused(bucket, None, content.map(|c| &c.entries));
                report.removed += if task == Task::RemoveLeftovers { removed } else { 0 };
            }
            Task::Check => report.findings.extend(self.shared.blobs.missing(bucket, content.map(|c| &c.entries))),
            Task::Status => {}
        }
        Ok(report)
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        Some(self)
    }
}

#[async_trait]
impl Changes for MemoryStore {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let buckets = self.shared.buckets.read();
        let now = self.shared.clock.now();
        let empty = BucketContent::default();
        let content = buckets.get(bucket).unwrap_or(&empty);
        Ok(content.recent.page_of(&query, content.revision(), &content.entries, now))
    }
}

#[async_trait]
impl Logs for MemoryStore {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        self.shared.logs.append(bucket, key, append)
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        Ok(self.shared.logs.read(bucket, key, query))
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        Ok(self.shared.logs.remove(bucket, key, before))
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        Ok(self.shared.logs.changed(bucket, key, next).await)
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        Ok(self.shared.logs.keys(bucket, &query))
    }

    async fn log_buckets(&self) -> Result<Vec<Bucket>> {
        Ok(self.shared.logs.buckets())
    }
}

#[async_trait]
impl Blobs for MemoryStore {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.get(bucket, keys).await
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        Ok(self.shared.blobs.create(bucket))
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        Ok(self.shared.blobs.open(bucket, id))
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        let buckets = self.shared.buckets.read();
        let entries = buckets.get(bucket).map(|content| &content.entries);
        self.shared.blobs.remove_unused(bucket, Some(ids), entries);
        Ok(true)
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
        Batch::new(vec![write])
    }

    #[tokio::test]
    async fn waiting_for_a_missing_bucket_does_not_create_it() {
        let store = MemoryStore::new(Arc::new(TestClock::default()), Limits::default());
        let waited = Duration::from_millis(5);
        assert!(tokio::time::timeout(waited, store.changed(&Bucket::default(), Revision::ZERO)).await.is_err());
        assert!(store.shared.buckets.read().is_empty());
        assert_eq!(store.shared.created.receiver_count(), 0);
    }

    #[tokio::test]
    async fn expired_entries_take_memory_until_they_are_removed() {
        let clock = Arc::new(TestClock::default());
        let store = MemoryStore::new(clock.clone(), Limits::default());
        let bucket = Bucket::default();
        let end = clock.now().plus(Duration::from_secs(1));
        store.apply(&bucket, put("a", Some(end))).await.unwrap();
        store.apply(&bucket, put("b", None)).await.unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.maintain(&bucket, Task::Check).await.unwrap().bytes_after, 12);
        let report = store.maintain(&bucket, Task::RemoveExpired).await.unwrap();
        assert_eq!((report.entries, report.removed, report.bytes_before, report.bytes_after), (1, 1, 12, 6));
    }

    #[tokio::test]
    async fn clones_share_their_data() {
        let store = MemoryStore::new(Arc::new(TestClock::default()), Limits::default());
        store.clone().apply(&Bucket::default(), put("a", None)).await.unwrap();
        assert_eq!(store.buckets().await.unwrap(), [Bucket::default()]);
    }
}
