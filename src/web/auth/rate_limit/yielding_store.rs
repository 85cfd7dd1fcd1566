//! A test double: a store of one bucket that lets other tasks run before and after each call, as a store on a disk
//! does. It implements only what the rate limit needs; `tests/` uses whole stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::model::{Batch, Bucket, Clock, Entry, Key, Outcome, Page, Result, Revision, Scan, Snapshot};
use crate::store::{Limits, Moment, Report, Store, Task, evaluate_all, page};

pub(crate) struct YieldingStore {
    clock: Arc<dyn Clock>,
    content: Mutex<(Revision, BTreeMap<Key, Entry>)>,
    commits: AtomicUsize,
}

impl YieldingStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, content: Mutex::default(), commits: AtomicUsize::default() }
    }

    /// The number of batches that were committed.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    /// The number of entries that have not expired.
    pub(crate) fn len(&self) -> usize {
        let now = self.clock.now();
        self.content.lock().1.values().filter(|entry| entry.is_live(now)).count()
    }

    /// The number of entries, including expired ones that were not removed.
    pub(crate) fn kept(&self) -> usize {
        self.content.lock().1.len()
    }

    fn lookup(&self, keys: &[Key]) -> Snapshot {
        let content = self.content.lock();
        let now = self.clock.now();
        let live = |key: &Key| content.1.get(key).filter(|e| e.is_live(now)).cloned();
        Snapshot { revision: content.0, entries: keys.iter().map(live).collect() }
    }

    fn change(&self, batch: Batch) -> Result<Outcome> {
        let mut content = self.content.lock();
        let start = Moment::new(self.clock.now(), content.0);
        let lookup = |key: &Key| content.1.get(key).cloned();
        let mut group = evaluate_all(&[batch], Limits::default(), start, lookup, |_, _| {});
        content.0 = group.revision;
        for (key, entry) in group.changes {
            match entry {
                Some(entry) => content.1.insert(key, entry),
                None => content.1.remove(&key),
            };
        }
        let outcome = group.outcomes.remove(0)?;
        self.commits.fetch_add(usize::from(matches!(outcome, Outcome::Committed { .. })), Ordering::Relaxed);
        Ok(outcome)
    }
}

#[async_trait]
impl Store for YieldingStore {
    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        yield_now().await;
        let found = self.lookup(keys);
        yield_now().await;
        Ok(found)
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, _: &Bucket, batch: Batch) -> Result<Outcome> {
        yield_now().await;
        let outcome = self.change(batch);
        // Longer than a `get` takes, so that other tasks see the write before the writer returns.
        for _ in 0..3 {
            yield_now().await;
        }
        outcome
    }

    async fn scan(&self, _: &Bucket, query: Scan) -> Result<Page> {
        yield_now().await;
        Ok(page(&self.content.lock().1, &query, self.clock.now()))
    }

    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        unimplemented!("not used by the rate limit")
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        unimplemented!("not used by the rate limit")
    }

    async fn maintain(&self, _: &Bucket, task: Task) -> Result<Report> {
        assert_eq!(task, Task::RemoveExpired);
        let now = self.clock.now();
        self.content.lock().1.retain(|_, entry| entry.is_live(now));
        Ok(Report::default())
    }
}
