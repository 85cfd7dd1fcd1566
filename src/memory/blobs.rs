//! Blobs in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::model::{BlobId, BlobRef, Bucket, Key, Result};
use crate::store::{BlobReader, Entries, Finding, NewBlob, Severity, StoredBlob};

/// The blobs of all buckets.
#[derive(Default)]
pub(super) struct MemoryBlobs {
    blobs: Mutex<HashMap<(Bucket, BlobId), HeldBlob>>,
}

struct HeldBlob {
    bytes: Bytes,
    /// Others have clones of it as long as they store the blob.
    hold: Arc<()>,
}

impl MemoryBlobs {
    pub(super) fn create(self: &Arc<Self>, bucket: &Bucket) -> Box<dyn NewBlob> {
        Box::new(NewMemoryBlob { blobs: Arc::clone(self), bucket: bucket.clone(), bytes: BytesMut::new() })
    }

    pub(super) fn open(&self, bucket: &Bucket, id: BlobId) -> Option<Arc<dyn BlobReader>> {
        let found = self.blobs.lock().get(&(bucket.clone(), id))?.bytes.clone();
        Some(Arc::new(MemoryBlob(found)))
    }

    /// Removes those of the blobs, or of all, that no entry refers to and nobody is storing.
    pub(super) fn remove_unused(&self, bucket: &Bucket, ids: Option<&[BlobId]>, entries: Option<&Entries>) -> u64 {
        let mut blobs = self.blobs.lock();
        if blobs.is_empty() {
            return 0;
        }
        let used = references(entries).map(|(_, blob)| blob.id).collect::<HashSet<_>>();
        let count = blobs.len();
        blobs.retain(|(of_bucket, id), blob| {
            of_bucket != bucket
                || ids.is_some_and(|ids| !ids.contains(id))
                || used.contains(id)
                || Arc::strong_count(&blob.hold) > 1
        });
        (count - blobs.len()) as u64
    }

    /// The references to blobs that do not exist.
    pub(super) fn missing(&self, bucket: &Bucket, entries: Option<&Entries>) -> Vec<Finding> {
        let blobs = self.blobs.lock();
        let missing = references(entries).filter(|(_, blob)| !blobs.contains_key(&(bucket.clone(), blob.id)));
        let finding = |(key, blob): (Key, BlobRef)| {
            let text = format!("the value of {key:?} is blob {}, which is missing; store the value again", blob.id);
            Finding::new(Severity::Damage, text)
        };
        missing.map(finding).collect()
    }
}

fn references(entries: Option<&Entries>) -> impl Iterator<Item = (Key, BlobRef)> {
    entries.into_iter().flat_map(Entries::iter).filter_map(|view| view.blob().map(|blob| (view.to_key(), blob)))
}

struct NewMemoryBlob {
    blobs: Arc<MemoryBlobs>,
    bucket: Bucket,
    bytes: BytesMut,
}

#[async_trait]
impl NewBlob for NewMemoryBlob {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        let Self { blobs, bucket, bytes } = *self;
        let id = BlobId::new(Sha256::digest(&bytes).into());
        let length = bytes.len() as u64;
        let new = HeldBlob { bytes: bytes.freeze(), hold: Arc::default() };
        let held = blobs.blobs.lock().entry((bucket, id)).or_insert(new).hold.clone();
        Ok(StoredBlob::new(id, length, Box::new(held)))
    }
}

struct MemoryBlob(Bytes);

#[async_trait]
impl BlobReader for MemoryBlob {
    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(max_bytes).min(self.0.len());
        Ok(self.0.slice(start..end))
    }
}
