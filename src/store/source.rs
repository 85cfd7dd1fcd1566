//! Sources to import entries from: stores, and tables of other programs.
//!
//! A source is only read. It reports every row that a store cannot hold; it skips nothing silently.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;

use super::contract::{Blobs, Logs};
use crate::model::{Bucket, Entry, Key, Result};

/// The rows of a bucket in chunks, ordered by the bytes of their keys.
pub type Rows<'a> = Pin<Box<dyn Stream<Item = Result<Vec<Row>>> + Send + 'a>>;

/// A row of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// An entry that can be imported.
    Entry(Key, Entry),
    /// Rows that no store can hold.
    Rejected(Rejected),
}

/// Rows that no store can hold, and the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The name of the bucket in the source.
    pub bucket: String,
    /// The key in the source; `None`: the whole bucket is rejected.
    pub key: Option<String>,
    /// The number of rows.
    pub rows: u64,
    /// The reason.
    pub why: String,
}

impl fmt::Display for Rejected {
    /// Bucket, key and reason, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "bucket {:?}, key {key:?}: {}", self.bucket, self.why),
            None => write!(f, "bucket {:?}, {} rows: {}", self.bucket, self.rows, self.why),
        }
    }
}

/// A source of entries.
#[async_trait]
pub trait ImportSource: Send + Sync + 'static {
    /// The buckets ordered by name, and those whose names are not valid here.
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Rejected>)>;

    /// The approximate number of rows of a bucket, to show progress.
    async fn count(&self, bucket: &Bucket) -> Result<u64>;

    /// All rows of a bucket, without expired ones.
    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a>;

    /// The current entries under these keys.
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>>;

    /// The logs of the source; `None` if it has none.
    fn logs(&self) -> Option<&dyn Logs>;

    /// Its blobs, which entries refer to; `None` if it has none.
    fn blobs(&self) -> Option<&dyn Blobs>;

    /// Whether each entry of a bucket has a unique revision. If not, the revision of an entry only says when it was
    /// written, and the importer must make it unique.
    fn has_revisions(&self) -> bool;
}
