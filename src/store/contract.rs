//! The trait itself.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{Batch, Bucket, Key, Outcome, Page, Query, Result, Revision, Snapshot};

/// A store of buckets of entries.
///
/// What must hold of every implementation, store or layer:
///
/// - A batch is all or nothing, and durable when `apply` returns. Readers never see half of one.
/// - After `apply` has returned, every later read sees its writes, in this process and in any other on the same store.
/// - Batches of one bucket are carried out one after another; each write has a revision of its own, greater than all before it.
///   An entry that is restored keeps its own; the bucket moves on all the same.
/// - What has expired is not there: not for reads, not for expectations, not for writes.
/// - Deleting or touching what is missing is no error.
/// - A bucket comes to be with its first write. Reading one that is not there finds nothing and leaves nothing behind.
/// - After an error that leaves the outcome of a write open, the store refuses writes until it has read again what is stored.
/// - Clones and handles of one store share its data. Dropping a future leaves the store whole; a dropped `apply` has
///   happened or has not.
/// - A layer is invisible to the [suite](super::suite).
///
/// No method has a default: a wrapper that forgot one would lose what it wraps.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What stands under each of these keys, and the revision of the bucket, at one moment.
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot>;

    /// The values alone of what stands under each of these keys, at one moment, which a store may answer faster than `get`.
    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>>;

    /// Judges the expectations of a batch and, if all hold, does its writes.
    ///
    /// # Errors
    /// `Invalid` if a write cannot be done (incrementing what is no number, restoring over what is later), `TooLarge` if a value would exceed the
    /// store's limit, `Busy`, `Full`, `Damaged`. In these cases nothing was done. After `Failed` the outcome is open.
    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome>;

    /// A page of the bucket in the order of its keys, at one moment.
    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page>;

    /// Waits until the revision of the bucket is greater than `since`, whoever wrote, and returns it. Expiry alone does
    /// not move a bucket; who cares waits until then as well.
    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision>;

    /// The buckets that have been written, ordered by name.
    async fn buckets(&self) -> Result<Vec<Bucket>>;

    /// Does what keeps a bucket in order. What readers see does not change.
    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report>;
}

/// A piece of upkeep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Store the bucket in the least room.
    Compact,
    /// Remove entries that have expired.
    PurgeExpired,
    /// Remove what interrupted work left behind.
    Sweep,
    /// Read all that is stored and report what is wrong, changing nothing.
    Check,
    /// Report what a person must mend, as far as it shows at a glance: without waiting for anybody, counting nothing, and
    /// so cheaply that it can be asked every second of every bucket. An error: nothing can be said.
    Status,
}

/// What a piece of upkeep did and found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Entries that are there.
    pub entries: u64,
    /// Entries or files removed.
    pub removed: u64,
    /// Bytes stored before.
    pub bytes_before: u64,
    /// Bytes stored after.
    pub bytes_after: u64,
    /// What is wrong, in the order of the places.
    pub findings: Vec<Finding>,
}

/// Something wrong with what is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file, if the store has files.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// What is wrong, and what to do.
    pub text: String,
    /// Whether the store works all the same (a torn tail will be set aside; damage must be mended by a person).
    pub harmless: bool,
}
