//! Scans: a bucket read page by page in the order of its keys.

use super::entry::Entry;
use super::name::Key;
use super::revision::Revision;

/// The part of a bucket to read. Keys are ordered by their bytes; all given bounds must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Only keys that begin with this; empty: all keys.
    pub prefix: String,
    /// Only keys from this one on (inclusive).
    pub start: Option<String>,
    /// Only keys before this one (exclusive).
    pub end: Option<String>,
    /// The cursor of the previous page: only keys after this one, in the direction of the scan.
    pub after: Option<String>,
    /// The maximum number of entries of a page. A count is not limited.
    pub limit: usize,
    /// Read from the last key to the first.
    pub reverse: bool,
    /// What to return of each entry.
    pub projection: Projection,
}

/// What a scan returns of each entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Projection {
    /// Keys and entries.
    #[default]
    Entries,
    /// Keys alone.
    Keys,
    /// Only the number of entries.
    Count,
}

impl Default for Scan {
    /// All entries, 100 per page.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            start: None,
            end: None,
            after: None,
            limit: 100,
            reverse: false,
            projection: Projection::Entries,
        }
    }
}

/// A part of a bucket at one moment. Stores build it from [`Page::default`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The revision of the bucket at that moment.
    pub revision: Revision,
    /// The keys, each with its entry if the projection is [`Projection::Entries`].
    pub entries: Vec<(Key, Option<Entry>)>,
    /// The number of keys in the range, if the projection is [`Projection::Count`].
    pub count: Option<u64>,
    /// The `after` of the next page; `None` if this is the last page.
    pub cursor: Option<Key>,
}
