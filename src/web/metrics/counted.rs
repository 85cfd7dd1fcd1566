//! A wrapper around the store that counts each call of the handlers. It does not implement `Store` itself, so its
//! futures need no second box.

use std::sync::Arc;

use super::counters::Counters;
use crate::model::{Batch, Bucket, ChangesPage, ChangesQuery, Key, Outcome, Page, Result, Revision, Scan, Snapshot};
use crate::store::{Report, Store, Task};

/// A store whose calls are counted.
#[derive(Clone)]
pub(crate) struct Counted {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.counters.read();
        self.counted(self.inner.get(bucket, keys).await)
    }

    pub(crate) async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        self.counters.read();
        self.counted(self.inner.scan(bucket, query).await)
    }

    pub(crate) async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if !batch.writes.is_empty() {
            self.counters.commit(batch.writes.len());
        }
        self.counted(self.inner.apply(bucket, batch).await)
    }

    pub(crate) async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.counted(self.inner.changed(bucket, since).await)
    }

    /// Whether the store remembers changes.
    pub(crate) fn has_changes(&self) -> bool {
        self.inner.changes().is_some()
    }

    /// `None` also if the store remembers no changes.
    pub(crate) async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.inner.changes() else { return Ok(None) };
        self.counters.read();
        self.counted(changes.changes_since(bucket, query).await)
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.counted(self.inner.buckets().await)
    }

    pub(crate) async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.counted(self.inner.maintain(bucket, task).await)
    }

    fn counted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.counters.error(error.kind());
        }
        result
    }
}
