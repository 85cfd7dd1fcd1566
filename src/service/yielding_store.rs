//! A test double: a store of one bucket that lets other tasks go on before and after each call, as a store with a disk
//! does. It knows what the service's own bucket needs and no more; what needs a whole store is tested in `tests/`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::model::{Batch, Bucket, Clock, Entry, Key, Outcome, Page, Query, Result, Revision, Snapshot};
use crate::store::{Judged, Limits, Moment, Report, Store, Task, judge, page};

pub(super) struct YieldingStore {
    clock: Arc<dyn Clock>,
    content: Mutex<(Revision, BTreeMap<Key, Entry>)>,
    commits: AtomicUsize,
}

impl YieldingStore {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, content: Mutex::default(), commits: AtomicUsize::default() }
    }

    /// How many batches were carried out.
    pub(super) fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        let now = self.clock.now();
        self.content.lock().1.values().filter(|entry| entry.is_live(now)).count()
    }

    /// The same with those that have expired and were not removed.
    pub(super) fn kept(&self) -> usize {
        self.content.lock().1.len()
    }

    fn look(&self, keys: &[Key]) -> Snapshot {
        let content = self.content.lock();
        let now = self.clock.now();
        let live = |key: &Key| content.1.get(key).filter(|e| e.is_live(now)).cloned();
        Snapshot { revision: content.0, entries: keys.iter().map(live).collect() }
    }

    fn change(&self, batch: &Batch) -> Result<Outcome> {
        let mut content = self.content.lock();
        let at = Moment::new(self.clock.now(), content.0);
        let changes = match judge(batch, Limits::default(), at, |key| content.1.get(key).cloned())? {
            Judged::Refused { index, found } => return Ok(Outcome::Refused { index, found }),
            Judged::Go { changes } => changes,
        };
        for (key, change, revision) in &changes {
            content.0 = revision.unwrap_or(content.0);
            match &change.after {
                Some(entry) => content.1.insert(key.clone(), entry.clone()),
                None => content.1.remove(key),
            };
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(batch.committed(content.0, changes.into_iter().map(|(_, change, _)| change)))
    }
}

#[async_trait]
impl Store for YieldingStore {
    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        yield_now().await;
        let found = self.look(keys);
        yield_now().await;
        Ok(found)
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, _: &Bucket, batch: Batch) -> Result<Outcome> {
        yield_now().await;
        let outcome = self.change(&batch);
        // Longer than a `get` takes, so that others see what is stored before the writer knows that it is.
        for _ in 0..3 {
            yield_now().await;
        }
        outcome
    }

    async fn scan(&self, _: &Bucket, query: Query) -> Result<Page> {
        yield_now().await;
        Ok(page(&self.content.lock().1, &query, self.clock.now()))
    }

    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        unimplemented!("not asked for here")
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        unimplemented!("not asked for here")
    }

    async fn upkeep(&self, _: &Bucket, task: Task) -> Result<Report> {
        assert_eq!(task, Task::PurgeExpired);
        let now = self.clock.now();
        self.content.lock().1.retain(|_, entry| entry.is_live(now));
        Ok(Report::default())
    }
}
