//! The store as the service asks it: each call is counted. No layer: it wraps no `Store` for others, and its futures are
//! not boxed once more.

use std::sync::Arc;

use super::metrics::Counters;
use crate::model::{Batch, Bucket, Key, Outcome, Page, Query, Result, Revision, Snapshot};
use crate::store::{Report, Store, Task};

/// A store whose calls are counted.
pub(crate) struct Counted {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    pub(crate) async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.counters.read();
        self.told(self.inner.get(bucket, keys).await)
    }

    pub(crate) async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        self.counters.read();
        self.told(self.inner.scan(bucket, query).await)
    }

    pub(crate) async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if !batch.writes.is_empty() {
            self.counters.commit(batch.writes.len());
        }
        self.told(self.inner.apply(bucket, batch).await)
    }

    pub(crate) async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.told(self.inner.changed(bucket, since).await)
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.told(self.inner.buckets().await)
    }

    pub(crate) async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.told(self.inner.upkeep(bucket, task).await)
    }

    fn told<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.counters.error(error.kind());
        }
        result
    }
}
