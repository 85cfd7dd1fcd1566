//! Large values as blobs.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::blob_form::{BlobForm, no_blobs};
use super::detached::detached;
use super::held_blobs::NewHeldBlob;
use super::transformed::{Form as _, MAX_DECODED_BYTES, Transformed};
use crate::model::{
    Batch, BlobId, BlobRef, Bucket, ChangesPage, ChangesQuery, Clock, Entry, Error, ErrorKind, Key, Outcome, Page,
    Result, Revision, Scan, Snapshot, SystemClock,
};
use crate::store::{BlobReader, Blobs, Changes, Limits, Logs, NewBlob, Report, Store, Task};

/// A store that keeps large values as [blobs](Blobs), so that they are not in its documents.
///
/// Values up to the limit are written as always. They are read as always too, and so is any other value of up to 16 MiB.
/// A longer one is written and read through [`Blobs`]; in the results of [`Store`] it stays a [reference](BlobRef). So do
/// the values that exceed 64 MiB in the outcome of a batch; a page ends before it. When a blob is replaced or deleted,
/// it is removed at once if nothing else refers to it. Log entries are never blobs.
///
/// ```
/// # kvs::example::run(async |_| {
/// use std::sync::Arc;
///
/// use kvs::client::Client;
/// use kvs::layers::LargeValues;
/// use kvs::memory::MemoryStore;
/// use kvs::store::Limits;
///
/// let inner = Arc::new(MemoryStore::default());
/// let store = LargeValues::new(inner.clone(), Limits::default())?;
/// let client = Client::new(Arc::new(store));
/// client.set("picture", vec![7; 100_000]).await?;
/// assert_eq!(client.get("picture").await?.map(|bytes| bytes.len()), Some(100_000));
/// assert!(Client::new(inner).get_string("picture").await?.expect("a reference").starts_with("{\"sha-256\":"));
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct LargeValues(Transformed<BlobForm>);

impl LargeValues {
    /// Values longer than [`BlobRef::FROM_BYTES`] become blobs. `limits` are those of values that are written whole.
    ///
    /// # Errors
    /// `Invalid` if the store has no blobs.
    pub fn new(inner: Arc<dyn Store>, limits: Limits) -> Result<Self> {
        if inner.blobs().is_none() {
            return Err(no_blobs());
        }
        let max_bytes = limits.whole_blob_bytes() as u64;
        let from_bytes = BlobRef::FROM_BYTES;
        let form = BlobForm {
            inner: Arc::clone(&inner),
            from_bytes,
            max_bytes,
            is_lazy: false,
            is_only_layer: false,
            state: Arc::default(),
        };
        Ok(Self(Transformed { inner, form, clock: Arc::new(SystemClock), limits }))
    }

    /// The same with blobs for values longer than `from_bytes`.
    #[must_use]
    pub fn with_blobs_from(mut self, from_bytes: usize) -> Self {
        self.0.form.from_bytes = from_bytes;
        self
    }

    /// The same for a store whose writes are slower if they return what they have replaced. They do only after this
    /// layer has stored or read a blob. One that is replaced before then is removed by [`Store::maintain`].
    #[must_use]
    pub fn with_lazy_removal(mut self) -> Self {
        self.0.form.is_lazy = true;
        self
    }

    /// The same without a layer over it that encodes values. Values that were encoded by one are errors then; else
    /// callers would take them for what was stored.
    #[must_use]
    pub fn as_only_layer(mut self) -> Self {
        self.0.form.is_only_layer = true;
        self
    }

    /// The same with another clock, which should be that of the store.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// After how many of these entries a page must end, because their blobs would take too much memory.
    fn full_after<'e>(&self, mut entries: impl Iterator<Item = Option<&'e Entry>>) -> Option<usize> {
        let mut bytes = 0_u64;
        let end = entries.position(|entry| {
            bytes = bytes.saturating_add(entry.map_or(0, |entry| self.0.form.decoded_bytes(entry)));
            bytes > MAX_DECODED_BYTES
        });
        end.map(|end| end.max(1))
    }
}

#[async_trait]
impl Blobs for LargeValues {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let snapshot = self.0.form.blobs()?.get_references(bucket, keys).await?;
        for (key, entry) in keys.iter().zip(&snapshot.entries) {
            if let Some(entry) = entry.as_ref().filter(|entry| self.0.form.lacks_layer(&entry.content_type)) {
                self.0.decode(bucket, key, entry.clone()).await?;
            }
        }
        Ok(snapshot)
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        let inner = self.0.form.used_blobs()?.create_blob(bucket).await?;
        Ok(Box::new(NewHeldBlob::new(inner, &self.0.form.state.held, bucket)))
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        self.0.form.used_blobs()?.open_blob(bucket, id).await
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        self.0.form.remove_unused(bucket, ids).await
    }
}

#[async_trait]
impl Store for LargeValues {
    /// # Errors
    /// `TooLarge` if there are several values with more than 64 MiB together.
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        loop {
            let mut snapshot = self.0.inner.get(bucket, keys).await?;
            let full_after = self.full_after(snapshot.entries.iter().map(Option::as_ref));
            if full_after.is_some_and(|end| end < snapshot.entries.len()) {
                let text = "the values have more than 64 MiB together; read fewer keys at once";
                return Err(Error::new(ErrorKind::TooLarge, text));
            }
            if self.0.decode_snapshot(bucket, keys, &mut snapshot).await? {
                return Ok(snapshot);
            }
        }
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if !self.0.form.may_store_blob(&batch) {
            return self.0.apply(bucket, batch).await;
        }
        // The store may commit the batch even if the caller gives up, so its blobs are held until it is done.
        let (inner, bucket) = (self.0.clone(), bucket.clone());
        detached(async move { inner.apply(&bucket, batch).await }).await
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        loop {
            let mut page = self.0.inner.scan(bucket, query.clone()).await?;
            let full_after = self.full_after(page.entries.iter().map(|(_, entry)| entry.as_ref()));
            if let Some(end) = full_after.filter(|end| *end < page.entries.len()) {
                page.entries.truncate(end);
                page.cursor = page.entries.last().map(|(key, _)| key.clone());
            }
            if self.0.decode_page(bucket, &mut page).await? {
                return Ok(page);
            }
        }
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.0.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.0.buckets().await
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.0.inner.maintain(bucket, task).await
    }

    fn changes(&self) -> Option<&dyn Changes> {
        self.0.inner.changes().map(|_| self as &dyn Changes)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.0.inner.logs().map(|_| &self.0 as &dyn Logs)
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        Some(self)
    }
}

#[async_trait]
impl Changes for LargeValues {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.0.inner.changes() else { return Ok(None) };
        loop {
            let Some(mut page) = changes.changes_since(bucket, query.clone()).await? else { return Ok(None) };
            if let Some(end) = self.full_after(page.changes.iter().map(|change| change.entry.as_ref())) {
                cut(&mut page, end);
            }
            if self.0.decode_changes(bucket, &mut page).await? {
                return Ok(Some(page));
            }
        }
    }
}

/// Cuts a page of changes after so many. Changes of one revision are not separated.
fn cut(page: &mut ChangesPage, end: usize) {
    let Some(last) = page.changes.get(end - 1).map(|change| change.revision) else { return };
    let end = end + page.changes.iter().skip(end).take_while(|change| change.revision == last).count();
    if end < page.changes.len() {
        page.changes.truncate(end);
        (page.next, page.has_more) = (last, true);
    }
}
