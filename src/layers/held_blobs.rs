//! Blobs that were stored through a layer and are not named by an entry yet, and those that no longer are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::model::{BlobId, Bucket, Result};
use crate::store::{NewBlob, StoredBlob};

/// Those who hold a blob.
type Owners = Vec<Weak<Held>>;

/// The blobs that are held: one is as long as it has an owner.
#[derive(Default)]
pub(super) struct HeldBlobs(Mutex<HashMap<(Bucket, BlobId), Owners>>);

impl HeldBlobs {
    /// Holds a blob for longer than its present owner does; `None` if it has none.
    pub(super) fn hold_again(&self, bucket: &Bucket, id: BlobId) -> Option<StoredBlob> {
        let held = self.0.lock().get(&(bucket.clone(), id))?.iter().find_map(Weak::upgrade)?;
        Some(StoredBlob::new(id, held.inner.bytes, Box::new(held)))
    }

    /// Whether any blob of the bucket is held.
    pub(super) fn is_storing(&self, bucket: &Bucket) -> bool {
        self.0.lock().keys().any(|(of_bucket, _)| of_bucket == bucket)
    }

    fn hold(self: Arc<Self>, bucket: Bucket, blob: StoredBlob) -> StoredBlob {
        let (id, bytes) = (blob.id, blob.bytes);
        let name = (bucket, id);
        let held = Arc::new(Held { all: Arc::clone(&self), name: name.clone(), inner: blob });
        self.0.lock().entry(name).or_default().push(Arc::downgrade(&held));
        StoredBlob::new(id, bytes, Box::new(held))
    }
}

/// Registers a blob as held until it is dropped.
struct Held {
    all: Arc<HeldBlobs>,
    name: (Bucket, BlobId),
    inner: StoredBlob,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(owners) = all.get_mut(&self.name) {
            owners.retain(|owner| owner.strong_count() > 0);
            if owners.is_empty() {
                all.remove(&self.name);
            }
        }
    }
}

/// A blob that will be held when it is stored.
pub(super) struct NewHeldBlob {
    inner: Box<dyn NewBlob>,
    all: Arc<HeldBlobs>,
    bucket: Bucket,
}

impl NewHeldBlob {
    pub(super) fn new(inner: Box<dyn NewBlob>, all: &Arc<HeldBlobs>, bucket: &Bucket) -> Self {
        Self { inner, all: Arc::clone(all), bucket: bucket.clone() }
    }
}

#[async_trait]
impl NewBlob for NewHeldBlob {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        let Self { inner, all, bucket } = *self;
        Ok(all.hold(bucket, inner.finish().await?))
    }
}

/// Blobs that an entry no longer names, and that could not be removed yet.
#[derive(Default)]
pub(super) struct UnusedBlobs(Mutex<BTreeMap<Bucket, BTreeSet<BlobId>>>);

impl UnusedBlobs {
    /// Adds these blobs, and returns all of the bucket.
    pub(super) fn with(&self, bucket: &Bucket, ids: &[BlobId]) -> Vec<BlobId> {
        let mut all = self.0.lock();
        if ids.is_empty() && !all.contains_key(bucket) {
            return vec![];
        }
        let of_bucket = all.entry(bucket.clone()).or_default();
        of_bucket.extend(ids);
        of_bucket.iter().copied().collect()
    }

    pub(super) fn forget(&self, bucket: &Bucket, ids: &[BlobId]) {
        let mut all = self.0.lock();
        if let Some(of_bucket) = all.get_mut(bucket) {
            of_bucket.retain(|id| !ids.contains(id));
            if of_bucket.is_empty() {
                all.remove(bucket);
            }
        }
    }
}
