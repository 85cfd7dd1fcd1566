//! A store of your own, in under 150 lines. This one keeps its buckets in a map; yours keeps them in the database or
//! the service that you have.
//!
//! `cargo run --example own_store` runs the suite on it. `evaluate_all` decides what a batch does, and `page` what a
//! scan returns. So a store does three things: it carries out one batch of a bucket after another, keeps all changes of
//! a batch or none, and wakes up those that wait for changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use kvs::model::{Batch, Bucket, Clock, Key, Outcome, Page, Result, Revision, Scan, Snapshot};
use kvs::store::{Blobs, Changes, Entries, Limits, Logs, Moment, Report, Store, Task, evaluate_all, page, suite};
use tokio::sync::watch;

/// A bucket.
#[derive(Default)]
struct Content {
    /// The revision of the last write. It must survive even if that write has deleted the last entry.
    revision: Revision,
    entries: Entries,
}

impl Content {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|view| (view.key.len() + view.value.len()) as u64).sum()
    }
}

type Buckets = BTreeMap<Bucket, Content>;

/// The store.
pub struct MapStore {
    clock: Arc<dyn Clock>,
    limits: Limits,
    buckets: Mutex<Buckets>,
    /// Sends a message after each commit.
    commits: watch::Sender<()>,
}

impl MapStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { clock, limits, buckets: Mutex::default(), commits: watch::Sender::new(()) }
    }

    /// Every call sees one moment, because it holds this lock. It is never held while the call waits.
    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MapStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let (buckets, now) = (self.lock(), self.clock.now());
        let Some(content) = buckets.get(bucket) else {
            return Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] });
        };
        // An expired entry counts as missing, also if it is still stored.
        let live = |key| content.entries.live(key, now);
        Ok(Snapshot { revision: content.revision, entries: keys.iter().map(live).collect() })
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let mut buckets = self.lock();
        // The time is read under the lock, so that it is the time of the commit.
        let (now, found) = (self.clock.now(), buckets.get(bucket));
        let moment = Moment::new(now, found.map_or(Revision::ZERO, |content| content.revision));
        let lookup = |key: &Key| found.and_then(|content| content.entries.get(key));
        let mut group = evaluate_all(&[batch], self.limits, moment, lookup, |_, _| {});
        if !group.changes.is_empty() {
            // A store on a disk writes all changes in one step here, and syncs them before it returns.
            let content = buckets.entry(bucket.clone()).or_default();
            for (key, entry) in group.changes {
                match entry {
                    Some(entry) => content.entries.insert(key, entry),
                    None => content.entries.remove(&key),
                };
            }
            content.revision = group.revision;
            self.commits.send_replace(());
        }
        group.outcomes.remove(0)
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        let (buckets, now, empty) = (self.lock(), self.clock.now(), Content::default());
        let content = buckets.get(bucket).unwrap_or(&empty);
        let mut page = page(&content.entries, &query, now);
        page.revision = content.revision;
        Ok(page)
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        // Subscribed before the first look, so that no commit in between is missed.
        let mut commits = self.commits.subscribe();
        loop {
            let revision = self.lock().get(bucket).map_or(Revision::ZERO, |content| content.revision);
            if revision > since {
                return Ok(revision);
            }
            let _ = commits.changed().await;
        }
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(self.lock().keys().cloned().collect())
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let (mut buckets, now) = (self.lock(), self.clock.now());
        let mut report = Report::default();
        let Some(content) = buckets.get_mut(bucket) else { return Ok(report) };
        let entries_before = content.entries.len();
        report.bytes_before = content.bytes();
        if matches!(task, Task::Compact | Task::RemoveExpired) {
            content.entries.retain(|view| view.is_live(now));
        }
        report.removed = (entries_before - content.entries.len()) as u64;
        report.entries = content.entries.iter().filter(|view| view.is_live(now)).count() as u64;
        report.bytes_after = content.bytes();
        Ok(report)
    }

    fn changes(&self) -> Option<&dyn Changes> {
        None // this store remembers no changes
    }

    fn logs(&self) -> Option<&dyn Logs> {
        None // and has no logs
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        None // and has no blobs
    }
}

#[tokio::main]
async fn main() {
    suite::run(async |setup| Arc::new(MapStore::new(setup.clock, setup.limits)) as Arc<dyn Store>).await;
    println!("the suite passes");
}
