//! Stores for tests that pass every call on, and run code before and after it: to fail, to count, or to write at the
//! same time.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kvs::memory::MemoryStore;
use kvs::model::{
    Batch, BlobId, Bucket, ChangesPage, ChangesQuery, Error, ErrorKind, Key, Outcome, Page, Result, Revision, Scan,
    Snapshot,
};
use kvs::store::{BlobReader, Blobs, Changes, Logs, NewBlob, Report, Store, Task};

/// A call of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call<'a> {
    Get(&'a [Key]),
    Apply,
    Scan,
    Changed,
    Changes,
    Buckets,
    Maintain,
}

/// Code that runs around each call. The caller gets its error instead of the result.
#[async_trait]
pub(crate) trait Around: Send + Sync + 'static {
    /// Runs before a call. For `buckets` there is no bucket, and it gets the default one.
    async fn before(&self, _: &Bucket, _: Call<'_>) -> Result<()> {
        Ok(())
    }

    /// Runs after a call, also after a failed one.
    async fn after(&self, _: &Bucket, _: Call<'_>) -> Result<()> {
        Ok(())
    }

    /// Whether the store remembers changes, if the inner one does.
    fn remembers(&self) -> bool {
        true
    }
}

/// A store that passes every call on to the inner store.
pub(crate) struct PassThrough<A> {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) around: A,
}

impl<A: Around> PassThrough<A> {
    async fn pass<T>(&self, bucket: &Bucket, call: Call<'_>, work: BoxFuture<'_, Result<T>>) -> Result<T> {
        self.around.before(bucket, call).await?;
        let result = work.await;
        self.around.after(bucket, call).await?;
        result
    }
}

#[async_trait]
impl<A: Around> Store for PassThrough<A> {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.pass(bucket, Call::Get(keys), self.inner.get(bucket, keys)).await
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.pass(bucket, Call::Get(keys), self.inner.get_values(bucket, keys)).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        self.pass(bucket, Call::Apply, self.inner.apply(bucket, batch)).await
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        self.pass(bucket, Call::Scan, self.inner.scan(bucket, query)).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.pass(bucket, Call::Changed, self.inner.changed(bucket, since)).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.pass(&Bucket::default(), Call::Buckets, self.inner.buckets()).await
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.pass(bucket, Call::Maintain, self.inner.maintain(bucket, task)).await
    }

    fn changes(&self) -> Option<&dyn Changes> {
        self.inner.changes().filter(|_| self.around.remembers()).map(|_| self as &dyn Changes)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.inner.logs()
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        self.inner.blobs().map(|_| self as &dyn Blobs)
    }
}

#[async_trait]
impl<A: Around> Blobs for PassThrough<A> {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let blobs = self.inner.blobs().unwrap();
        self.pass(bucket, Call::Get(keys), blobs.get_references(bucket, keys)).await
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        self.inner.blobs().unwrap().create_blob(bucket).await
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        self.inner.blobs().unwrap().open_blob(bucket, id).await
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        self.inner.blobs().unwrap().remove_unused_blobs(bucket, ids).await
    }
}

#[async_trait]
impl<A: Around> Changes for PassThrough<A> {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let changes = self.inner.changes().unwrap();
        self.pass(bucket, Call::Changes, changes.changes_since(bucket, query)).await
    }
}

/// Fails every write with one error, and every read too, unless it serves reads: then it is empty.
pub(crate) struct Failing {
    pub(crate) kind: ErrorKind,
    pub(crate) text: &'static str,
    pub(crate) serves_reads: bool,
    /// Reserved buckets work, so that wrong secrets can be counted.
    pub(crate) spares_reserved: bool,
}

impl Failing {
    pub(crate) fn store(self) -> Arc<dyn Store> {
        Arc::new(PassThrough { inner: Arc::new(MemoryStore::default()), around: self })
    }
}

#[async_trait]
impl Around for Failing {
    async fn before(&self, bucket: &Bucket, call: Call<'_>) -> Result<()> {
        let is_served = self.serves_reads && !matches!(call, Call::Apply | Call::Maintain);
        if is_served || (self.spares_reserved && bucket.is_reserved()) {
            return Ok(());
        }
        Err(Error::new(self.kind, self.text))
    }
}

/// Makes a store that remembers no changes.
pub(crate) struct Forgetful;

#[async_trait]
impl Around for Forgetful {
    fn remembers(&self) -> bool {
        false
    }
}

/// A call that a [`followed`] store has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    Get,
    Apply,
    Scan,
    Maintain,
}

struct Followed<F>(F);

#[async_trait]
impl<F: Fn(Done) -> BoxFuture<'static, ()> + Send + Sync + 'static> Around for Followed<F> {
    async fn after(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        match call {
            Call::Get(_) => (self.0)(Done::Get).await,
            Call::Apply => (self.0)(Done::Apply).await,
            Call::Scan => (self.0)(Done::Scan).await,
            Call::Maintain => (self.0)(Done::Maintain).await,
            Call::Changed | Call::Changes | Call::Buckets => {}
        }
        Ok(())
    }
}

/// A store that runs `follow` after each call, before the result is returned.
pub(crate) fn followed(
    inner: Arc<dyn Store>,
    follow: impl Fn(Done) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Arc<dyn Store> {
    Arc::new(PassThrough { inner, around: Followed(follow) })
}
