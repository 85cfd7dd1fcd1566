//! Where entries can be taken from besides stores of our own: tables of other programs, read as they are.
//!
//! A source is only read. What in it is no entry that a store could hold is told, row by row; nothing is passed over in
//! silence.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;

use crate::model::{Bucket, Entry, Key, Result};

/// Rows of a bucket, some at a time, in the order of the bytes of their keys.
pub type Rows<'a> = Pin<Box<dyn Stream<Item = Result<Vec<Row>>> + Send + 'a>>;

/// What a source has under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// An entry.
    Entry(Key, Entry),
    /// Something that no store can hold.
    Unfit(Unfit),
}

/// What no store can hold, and why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// Its bucket, as it is called there.
    pub bucket: String,
    /// Its key; none: the whole bucket.
    pub key: Option<String>,
    /// How many rows it is.
    pub rows: u64,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Unfit {
    /// Bucket, key and reason, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "bucket {:?}, key {key:?}: {}", self.bucket, self.why),
            None => write!(f, "bucket {:?}, {} rows: {}", self.bucket, self.rows, self.why),
        }
    }
}

/// Something that entries can be taken from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The buckets there are, ordered by name, and those that cannot be buckets here.
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Unfit>)>;

    /// How many rows a bucket has, about; to show progress.
    async fn count(&self, bucket: &Bucket) -> Result<u64>;

    /// All that a bucket holds, without what has expired.
    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a>;

    /// What stands under each of these keys now.
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>>;

    /// Whether each entry of a bucket has a revision that no other has. If not, the revision of an entry tells when it was
    /// written, and it is for the reader to give it one.
    fn has_revisions(&self) -> bool;
}
