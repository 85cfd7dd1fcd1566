//! The trait that every store implements.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{
    AppendOutcome, Batch, BlobId, BlobRef, Bucket, ChangesPage, ChangesQuery, ContentType, Key, LogAppend,
    LogKeysQuery, LogPage, LogQuery, Outcome, Page, Result, Revision, Scan, Snapshot,
};

/// A store of buckets of entries.
///
/// Every implementation, store or layer, must keep these rules:
///
/// - A batch is done completely or not at all, and is durable when `apply` returns. Readers never see half of one.
/// - After `apply` has returned, every later read sees its writes, in this process and in any other on the same store.
/// - Batches of one bucket are carried out one after another. Each write gets a revision of its own, greater than all
///   before it. A restored entry keeps its own revision; the revision of the bucket grows all the same.
/// - An expired entry counts as missing: for reads, for expectations and for writes.
/// - Deleting or touching a missing entry is not an error.
/// - The first write creates a bucket. Reading a missing bucket finds nothing and does not create it.
/// - After an error that leaves the outcome of a write unknown, the store refuses writes until it has read its data
///   again.
/// - Clones and handles of one store share its data. Dropping a future does not damage the store; a dropped `apply` was
///   done completely or not at all.
/// - A layer is invisible to the [suite](super::suite).
///
/// No method has a default, so that a wrapper cannot forget to forward one.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entries under these keys and the revision of the bucket, all at one moment.
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot>;

    /// The values under these keys at one moment, without metadata. A store may be faster at this than at `get`.
    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>>;

    /// Checks the expectations of a batch and, if all hold, does its writes.
    ///
    /// # Errors
    /// `Invalid` if a write is impossible (the value to increment is not a number, the entry to restore is older than
    /// the one in the store), `TooLarge` if a value exceeds the store's limit, `Busy`, `StorageFull`,
    /// `PermissionDenied`, `Corrupt`. In these cases nothing was done. After `Unavailable` the outcome is unknown.
    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome>;

    /// A page of the bucket in the order of its keys, at one moment.
    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page>;

    /// Waits until the revision of the bucket is greater than `since`, no matter who wrote, and returns it. The expiry
    /// of an entry does not change the revision; callers that need to notice it must wait for the time of the expiry as
    /// well.
    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision>;

    /// The buckets that have been written, ordered by name. [`all_buckets`](super::all_buckets) also has those with logs.
    async fn buckets(&self) -> Result<Vec<Bucket>>;

    /// Runs a maintenance task on a bucket. Readers see no difference.
    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report>;

    /// The part of the store that remembers changes; `None` if it has none.
    fn changes(&self) -> Option<&dyn Changes>;

    /// The part of the store that has logs; `None` if it has none.
    fn logs(&self) -> Option<&dyn Logs>;

    /// The part of the store that has blobs; `None` if it has none.
    fn blobs(&self) -> Option<&dyn Blobs>;
}

/// The changes of each bucket: an optional part of a store. A program that has read a bucket once can
/// follow it from there.
#[async_trait]
pub trait Changes: Send + Sync {
    /// The changes of a bucket after `query.since`, with the entries as they are now. An entry that has expired by now
    /// counts as missing; an expiry alone is not a change.
    ///
    /// `None` if the store no longer knows all changes since then, or if `since` is greater than the revision of the
    /// bucket. The caller must read the bucket again. A store knows the last changes of 10,000 keys, or those of the
    /// last hour. It may know less after a person has edited or replaced the data, and after a crash. It never returns
    /// a page that lacks a change. [`Revision::ZERO`] is always known, because a caller that has read nothing needs no
    /// deletions; but the next page need not be known.
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>>;
}

/// Append-only logs: an optional part of a store. A log is not a value: [`Store::get`], [`Store::scan`],
/// [`Store::changed`] and the revision of the bucket have nothing to do with it. [`Store::maintain`] cares for logs too.
///
/// The rules of [`Store`] apply: an append is done completely or not at all, is durable when it returns, and is seen by
/// all later reads. The time of an append and of a read does not depend on the length of the log.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Appends entries to a log, and creates the log if it is missing.
    ///
    /// # Errors
    /// `TooLarge` if a value exceeds the limit of the store, and those of [`Store::apply`]. After `Unavailable` the
    /// outcome is unknown.
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome>;

    /// A part of a log; `None` if there is no such log. Entries that the retention no longer keeps are not returned,
    /// whether they have been removed or not.
    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>>;

    /// Removes the entries before an index or, without one, the whole log; a new log of that name begins at index 0.
    /// Returns the number of entries that were removed; `None` if there is no such log.
    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>>;

    /// Waits until the index of the next entry is not `next`, no matter who appends to the log or removes it, and
    /// returns it. That of a missing log is 0.
    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64>;

    /// The keys of the logs of a bucket, in their order.
    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>>;

    /// The buckets that have logs, ordered by name.
    async fn log_buckets(&self) -> Result<Vec<Bucket>>;
}

/// Blobs: an optional part of a store. A blob is a value that is stored on its own and read and written in parts, so it
/// may be larger than the memory. It belongs to a bucket, and its name is the hash of its bytes.
///
/// To store a blob, write it, then put its [reference](StoredBlob::reference) under a key while you have the
/// [`StoredBlob`]. [`Store::get`] of a store returns the reference; the layer `LargeValues` returns the value.
///
/// A blob that nothing refers to is removed by [`Store::maintain`]: by every task except `Check` and `Status`.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// The entries under these keys, like [`Store::get`], with a reference in place of each blob.
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot>;

    /// Begins to write a blob.
    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>>;

    /// Opens a blob; `None` if there is none of this name. It can be read to its end even if it is removed meanwhile.
    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>>;

    /// Removes those of these blobs that nothing refers to. Returns false if it did not look, because others are storing
    /// blobs in the bucket; then call it again later, or leave them to [`Store::maintain`]. The layer `LargeValues`
    /// also removes those that it could not remove before. So call this when you have dropped a [`StoredBlob`].
    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool>;
}

/// A blob that is being written. Nothing of it is kept if it is dropped.
#[async_trait]
pub trait NewBlob: Send {
    /// Adds bytes. After an error the blob cannot be used any more.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the blob durable.
    async fn finish(self: Box<Self>) -> Result<StoredBlob>;
}

/// A durable blob. It is not removed while you have this, even though nothing refers to it yet.
#[must_use = "the blob may be removed when this is dropped, unless an entry refers to it"]
pub struct StoredBlob {
    /// The name of the blob.
    pub id: BlobId,
    /// Its length in bytes.
    pub bytes: u64,
    hold: Box<dyn Send + Sync>,
}

impl StoredBlob {
    /// A blob, and what prevents its removal until it is dropped.
    pub fn new(id: BlobId, bytes: u64, hold: Box<dyn Send + Sync>) -> Self {
        Self { id, bytes, hold }
    }

    /// What prevents the removal.
    #[must_use]
    pub fn into_hold(self) -> Box<dyn Send + Sync> {
        self.hold
    }

    /// Ends the storing of the blob. It is removed if it was stored in vain, and so are others that were replaced
    /// meanwhile. `blobs` are those of its store.
    ///
    /// # Errors
    /// Those of the store; then the next [`Store::maintain`] removes them.
    pub async fn release(self, blobs: &dyn Blobs, bucket: &Bucket, is_committed: bool) -> Result<()> {
        let id = self.id;
        drop(self);
        blobs.remove_unused_blobs(bucket, if is_committed { &[] } else { std::slice::from_ref(&id) }).await.map(drop)
    }

    /// The value and the type that an entry has in place of the blob. `content_type` is that of the value.
    #[must_use]
    pub fn reference(&self, content_type: ContentType) -> (Bytes, ContentType) {
        BlobRef { id: self.id, bytes: self.bytes, content_type }.reference()
    }
}

/// An open blob.
#[async_trait]
pub trait BlobReader: Send + Sync {
    /// The bytes from an offset on: at most so many, and none only at the end.
    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Bytes>;
}

/// A maintenance task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Task {
    /// Rewrite the bucket so that it takes the least space.
    Compact,
    /// Remove expired entries.
    RemoveExpired,
    /// Remove what interrupted work left behind, such as temporary files.
    RemoveLeftovers,
    /// Read all stored data and report what is wrong, without changing anything.
    Check,
    /// Report known damage. It does not wait or count anything, and is cheap enough to run every second for every
    /// bucket. An error means that the state is unknown.
    Status,
}

/// The result of a maintenance task. Stores build it from [`Report::default`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The number of entries in the bucket.
    pub entries: u64,
    /// The number of entries or files that were removed.
    pub removed: u64,
    /// The stored size before the task, in bytes.
    pub bytes_before: u64,
    /// The stored size after the task, in bytes.
    pub bytes_after: u64,
    /// What is wrong, ordered by file and line.
    pub findings: Vec<Finding>,
}

/// Something wrong with the stored data.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The file, if the store has files.
    pub file: Option<PathBuf>,
    /// The line in the file, from 1.
    pub line: Option<u64>,
    /// What is wrong, and what to do.
    pub text: String,
    /// Whether the bucket can still be written.
    pub severity: Severity,
}

impl Finding {
    /// A finding without a file and a line.
    #[must_use]
    pub fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { file: None, line: None, text: text.into(), severity }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Severity {
    /// The store works. An example is an incomplete write at the end of a file, which the next write moves away.
    Note,
    /// Writes to the bucket are refused until a person repairs it.
    Damage,
}
