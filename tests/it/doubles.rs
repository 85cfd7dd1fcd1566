//! Stores for tests: one that fails, one that fails but counts secrets, and one that does something else besides.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kvs::memory::MemoryStore;
use kvs::model::{Batch, Bucket, Error, Key, Kind, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock};
use kvs::store::{Limits, Report, Store, Task};

/// Answers every write with one error, and every read as well unless it serves reads: then there is nothing.
pub(crate) struct FailingStore {
    pub(crate) kind: Kind,
    pub(crate) text: &'static str,
    pub(crate) serves_reads: bool,
}

impl FailingStore {
    fn error(&self) -> Error {
        Error::new(self.kind, self.text)
    }

    fn read<T>(&self, nothing: T) -> Result<T> {
        if self.serves_reads { Ok(nothing) } else { Err(self.error()) }
    }
}

#[async_trait]
impl Store for FailingStore {
    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.read(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] })
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, _: &Bucket, _: Batch) -> Result<Outcome> {
        Err(self.error())
    }

    async fn scan(&self, _: &Bucket, _: Query) -> Result<Page> {
        self.read(Page::default())
    }

    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        self.read(())?;
        std::future::pending().await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.read(vec![Bucket::default()])
    }

    async fn upkeep(&self, _: &Bucket, _: Task) -> Result<Report> {
        Err(self.error())
    }
}

/// Counts wrong secrets, and leaves all else to the store within.
pub(crate) struct CountingStore {
    inner: FailingStore,
    counts: MemoryStore,
}

impl CountingStore {
    pub(crate) fn over(inner: FailingStore) -> Self {
        Self { inner, counts: MemoryStore::new(Arc::new(SystemClock), Limits::default()) }
    }

    fn of(&self, bucket: &Bucket) -> &dyn Store {
        if bucket.is_reserved() { &self.counts } else { &self.inner }
    }
}

#[async_trait]
impl Store for CountingStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.of(bucket).get(bucket, keys).await
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.of(bucket).values(bucket, keys).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        self.of(bucket).apply(bucket, batch).await
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        self.of(bucket).scan(bucket, query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.of(bucket).changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.of(bucket).upkeep(bucket, task).await
    }
}

/// What a store has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    Get,
    Apply,
    Scan,
    Upkeep,
}

/// What follows before the answer is given.
pub(crate) type Follow = Box<dyn Fn(Done) -> BoxFuture<'static, ()> + Send + Sync>;

/// Does what the store within does, and something more behind each.
pub(crate) struct FollowedStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) follow: Follow,
}

#[async_trait]
impl Store for FollowedStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let answer = self.inner.get(bucket, keys).await;
        (self.follow)(Done::Get).await;
        answer
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let answer = self.inner.values(bucket, keys).await;
        (self.follow)(Done::Get).await;
        answer
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let answer = self.inner.apply(bucket, batch).await;
        (self.follow)(Done::Apply).await;
        answer
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        let answer = self.inner.scan(bucket, query).await;
        (self.follow)(Done::Scan).await;
        answer
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let answer = self.inner.upkeep(bucket, task).await;
        (self.follow)(Done::Upkeep).await;
        answer
    }
}
