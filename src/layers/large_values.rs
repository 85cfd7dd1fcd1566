//! Large values as blobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::held_blobs::{HeldBlobs, NewHeldBlob, UnusedBlobs};
use super::recent_blobs::RecentBlobs;
use super::transformed::{Form, MAX_DECODED_BYTES, Place, Transformed};
use crate::model::{
    Batch, BlobId, BlobRef, Bucket, ChangesPage, ChangesQuery, Clock, Condition, ContentType, Entry, Error, ErrorKind,
    Expectation, Key, Outcome, Page, Result, Revision, Scan, Snapshot, SystemClock, Write,
};
use crate::store::{BlobReader, Blobs, Changes, Limits, Logs, NewBlob, Report, Store, StoredBlob, Task};

/// How many bytes of a blob are read at a time.
const PIECE_BYTES: usize = 1 << 20;

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

/// Values as references to blobs.
#[derive(Clone)]
struct BlobForm {
    inner: Arc<dyn Store>,
    from_bytes: usize,
    max_bytes: u64,
    is_lazy: bool,
    is_only_layer: bool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// So that many clients that read the same values at once share their memory.
    recent: Mutex<RecentBlobs>,
    /// Callers may put references to these.
    held: Arc<HeldBlobs>,
    has_seen_blob: AtomicBool,
    unused: UnusedBlobs,
}

impl BlobForm {
    fn blobs(&self) -> Result<&dyn Blobs> {
        self.inner.blobs().ok_or_else(no_blobs)
    }

    /// Removes those of these blobs that nothing refers to, and those that could not be removed before.
    async fn remove_unused(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        let ids = self.state.unused.with(bucket, ids);
        if ids.is_empty() {
            return Ok(true);
        }
        // Who stores a blob calls this at the end.
        if self.state.held.is_storing(bucket) || !self.blobs()?.remove_unused_blobs(bucket, &ids).await? {
            return Ok(false);
        }
        self.state.unused.forget(bucket, &ids);
        Ok(true)
    }

    /// The blobs, for a caller that stores or reads one.
    fn used_blobs(&self) -> Result<&dyn Blobs> {
        self.state.has_seen_blob.store(true, Ordering::Relaxed);
        self.blobs()
    }
}

fn no_blobs() -> Error {
    Error::new(ErrorKind::Invalid, "the store inside the layer for large values has no blobs")
}

impl Form for BlobForm {
    const MARK: &'static str = BlobRef::MARK;

    /// The blobs of the batch.
    type Hold = Vec<StoredBlob>;

    async fn encode(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
        hold: &mut Vec<StoredBlob>,
    ) -> Result<(Bytes, ContentType)> {
        if value.len() <= self.from_bytes || place.is_in_log {
            return Ok((value, content_type.clone()));
        }
        let mut blob = self.used_blobs()?.create_blob(place.bucket).await?;
        blob.write(value).await?;
        let stored = blob.finish().await?;
        let reference = stored.reference(content_type.clone());
        hold.push(stored);
        Ok(reference)
    }

    async fn decode(&self, place: Place<'_>, value: &Bytes, mark: &ContentType) -> Result<(Bytes, ContentType)> {
        let damaged = |why: String| Error::new(ErrorKind::Corrupt, format!("{place} {why}"));
        let Some(blob) = BlobRef::parse(value, mark) else {
            return Err(damaged("is not a reference to a blob, as its type says; store the value again".to_owned()));
        };
        if blob.bytes > self.max_bytes {
            return Ok((value.clone(), mark.clone()));
        }
        let id = blob.id;
        if let Some(value) = self.state.recent.lock().get(id) {
            return Ok((value, blob.content_type));
        }
        let missing =
            || damaged(format!("is blob {id}, which is missing; restore it from a backup, or store it again"));
        let reader = self.used_blobs()?.open_blob(place.bucket, id).await?.ok_or_else(missing)?;
        let mut whole = BytesMut::with_capacity(usize::try_from(blob.bytes).unwrap_or(0));
        loop {
            let piece = reader.read(whole.len() as u64, PIECE_BYTES).await?;
            whole.extend_from_slice(&piece);
            if piece.is_empty() || whole.len() as u64 > blob.bytes {
                break;
            }
        }
        if whole.len() as u64 != blob.bytes {
            let found = whole.len();
            return Err(damaged(format!("is blob {id}, which has {found} bytes and not {}; restore it", blob.bytes)));
        }
        let whole = whole.freeze();
        self.state.recent.lock().add(id, &whole);
        Ok((whole, blob.content_type))
    }

    /// The store inside can change and compare a value that is not a blob.
    fn needs_decoded(&self, batch: &Batch, limits: Limits) -> bool {
        let is_blob = |expectation: &Expectation| match &expectation.condition {
            Condition::ValueIs(value) => value.len() > self.from_bytes,
            _ => false,
        };
        let is_too_large = |write: &Write| match write {
            Write::Put { value, .. } => value.len() > limits.max_value_bytes,
            Write::Restore { entry, .. } => entry.value.len() > limits.max_value_bytes,
            _ => false,
        };
        batch.expectations.iter().any(is_blob) || batch.writes.iter().any(is_too_large)
    }

    fn lacks_layer(&self, content_type: &ContentType) -> bool {
        self.is_only_layer && content_type.is_of_a_layer() && content_type.essence() != Self::MARK
    }

    fn is_encoded(&self, place: Place<'_>, value: &Bytes) -> bool {
        let mark = ContentType::new(Self::MARK).unwrap_or_default();
        BlobRef::parse(value, &mark).is_some_and(|blob| {
            let is_reserved = blob.content_type.essence() == Self::MARK || self.lacks_layer(&blob.content_type);
            !is_reserved && self.state.held.contains(place.bucket, blob.id)
        })
    }

    /// A blob that was replaced by this batch may have been removed meanwhile.
    fn undecodable(&self, stored: Entry, error: Error) -> Result<Entry> {
        tracing::debug!("the outcome of a batch has a reference, because {error}");
        Ok(stored)
    }

    fn decoded_bytes(&self, entry: &Entry) -> u64 {
        let bytes = BlobRef::of(entry).map_or(0, |blob| blob.bytes);
        // A longer one stays a reference.
        if bytes > self.max_bytes { 0 } else { bytes }
    }

    fn needs_changes(&self) -> bool {
        !self.is_lazy || self.state.has_seen_blob.load(Ordering::Relaxed)
    }

    async fn on_end(&self, bucket: &Bucket, replaced: Option<Vec<Entry>>, hold: Vec<StoredBlob>) {
        let unused: Vec<BlobId> = match replaced {
            Some(entries) => entries.iter().filter_map(|entry| Some(BlobRef::of(entry)?.id)).collect(),
            None => hold.iter().map(|blob| blob.id).collect(),
        };
        drop(hold);
        if unused.is_empty() {
            return;
        }
        if let Err(error) = self.remove_unused(bucket, &unused).await {
            tracing::warn!("unused blobs of bucket {bucket} are kept until the next sweep: {error}");
        }
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
        let mut snapshot = self.0.inner.get(bucket, keys).await?;
        if self.full_after(snapshot.entries.iter().map(Option::as_ref)).is_some_and(|end| end < snapshot.entries.len())
        {
            let text = "the values have more than 64 MiB together; read fewer keys at once";
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        self.0.decode_snapshot(bucket, keys, &mut snapshot).await?;
        Ok(snapshot)
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        self.0.apply(bucket, batch).await
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
