//! Values as references to blobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::held_blobs::{HeldBlobs, UnusedBlobs};
use super::recent_blobs::RecentBlobs;
use super::transformed::{Form, Place};
use crate::model::{
    Batch, BlobId, BlobRef, Bucket, Condition, ContentType, Entry, Error, ErrorKind, Expectation, Result, Write,
};
use crate::store::{Blobs, Limits, Store, StoredBlob};

/// How many bytes of a blob are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A long value has the form of a reference to a blob.
#[derive(Clone)]
pub(super) struct BlobForm {
    pub(super) inner: Arc<dyn Store>,
    pub(super) from_bytes: usize,
    pub(super) max_bytes: u64,
    pub(super) is_lazy: bool,
    pub(super) is_only_layer: bool,
    pub(super) state: Arc<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// So that many clients that read the same values at once share their memory.
    recent: Mutex<RecentBlobs>,
    /// Callers may put references to these.
    pub(super) held: Arc<HeldBlobs>,
    has_seen_blob: AtomicBool,
    unused: UnusedBlobs,
}

impl BlobForm {
    pub(super) fn blobs(&self) -> Result<&dyn Blobs> {
        self.inner.blobs().ok_or_else(no_blobs)
    }

    /// Whether the batch may put a reference to a blob into the store.
    pub(super) fn may_store_blob(&self, batch: &Batch) -> bool {
        let is_blob = |value: &Bytes, content_type: &ContentType| {
            value.len() > self.from_bytes || content_type.essence() == Self::MARK
        };
        batch.writes.iter().any(|write| match write {
            Write::Put { value, content_type, .. } => is_blob(value, content_type),
            Write::Restore { entry, .. } => is_blob(&entry.value, &entry.content_type),
            Write::Append { .. } | Write::Increment { .. } => true,
            _ => false,
        })
    }

    /// Removes those of these blobs that nothing refers to, and those that could not be removed before.
    pub(super) async fn remove_unused(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
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
    pub(super) fn used_blobs(&self) -> Result<&dyn Blobs> {
        self.state.has_seen_blob.store(true, Ordering::Relaxed);
        self.blobs()
    }
}

pub(super) fn no_blobs() -> Error {
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

    fn is_encoded(&self, place: Place<'_>, value: &Bytes, hold: &mut Vec<StoredBlob>) -> bool {
        let mark = ContentType::new(Self::MARK).unwrap_or_default();
        let Some(blob) = BlobRef::parse(value, &mark) else { return false };
        let is_reserved = blob.content_type.essence() == Self::MARK || self.lacks_layer(&blob.content_type);
        let held = if is_reserved { None } else { self.state.held.hold_again(place.bucket, blob.id) };
        let is_encoded = held.is_some();
        hold.extend(held);
        is_encoded
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
