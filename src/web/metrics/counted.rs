//! A wrapper around the store that counts each call of the handlers. It does not implement `Store` itself, so its
//! futures need no second box.

use std::sync::Arc;

use super::counters::Counters;
use crate::model::{
    AppendOutcome, Batch, Bucket, ChangesPage, ChangesQuery, Key, LogAppend, LogKeysQuery, LogPage, LogQuery, Outcome,
    Page, Result, Revision, Scan, Snapshot,
};
use crate::store::{Blobs, Logs, Report, Store, Task};
use crate::web::entry_name::EntryName;

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

    /// The store itself.
    pub(crate) fn uncounted(&self) -> &dyn Store {
        &*self.inner
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.counters.read();
        self.counted(self.inner.get(bucket, keys).await)
    }

    /// The entries, with a reference in place of each blob.
    pub(crate) async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let Some(blobs) = self.inner.blobs() else { return self.get(bucket, keys).await };
        self.counters.read();
        self.counted(blobs.get_references(bucket, keys).await)
    }

    /// The blobs of the store, if it has any. Reading and writing parts of them is not counted.
    pub(crate) fn blobs(&self) -> Option<&dyn Blobs> {
        self.inner.blobs()
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

    /// The logs of the store; `None` if it has none.
    pub(crate) fn logs(&self) -> Option<CountedLogs<'_>> {
        self.inner.logs().map(|inner| CountedLogs { store: self, inner })
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

/// The logs of a store whose calls are counted.
pub(crate) struct CountedLogs<'a> {
    store: &'a Counted,
    inner: &'a dyn Logs,
}

impl CountedLogs<'_> {
    pub(crate) async fn append(&self, name: EntryName<'_>, append: LogAppend) -> Result<AppendOutcome> {
        self.store.counters.commit(append.entries.len());
        self.store.counted(self.inner.append(name.bucket, name.key, append).await)
    }

    pub(crate) async fn read(&self, name: EntryName<'_>, query: LogQuery) -> Result<Option<LogPage>> {
        self.store.counters.read();
        self.store.counted(self.inner.read_log(name.bucket, name.key, query).await)
    }

    pub(crate) async fn remove(&self, name: EntryName<'_>, before: Option<u64>) -> Result<Option<u64>> {
        self.store.counters.commit(1);
        self.store.counted(self.inner.remove_log(name.bucket, name.key, before).await)
    }

    pub(crate) async fn changed(&self, name: EntryName<'_>, next: u64) -> Result<u64> {
        self.store.counted(self.inner.log_changed(name.bucket, name.key, next).await)
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.store.counted(self.inner.log_buckets().await)
    }

    pub(crate) async fn keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        self.store.counters.read();
        self.store.counted(self.inner.log_keys(bucket, query).await)
    }
}
