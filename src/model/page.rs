//! Reading a bucket in the order of its keys.

use super::entry::Entry;
use super::name::Key;
use super::revision::Revision;

/// Which part of a bucket to read. Keys are ordered by their bytes; all bounds given must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Only keys that begin so; empty: all.
    pub prefix: String,
    /// Only keys not before this one.
    pub start: Option<String>,
    /// Only keys before this one.
    pub end: Option<String>,
    /// Only keys behind this one in the direction of reading: the cursor of the page before.
    pub after: Option<String>,
    /// At most so many entries; a count is not bounded by it.
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
    /// What to return of each.
    pub shape: Shape,
}

/// What a scan returns of each entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// Key and entry.
    #[default]
    Entries,
    /// The key.
    Keys,
    /// Only how many there are.
    Count,
}

impl Default for Query {
    /// All entries, 100 to a page.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            start: None,
            end: None,
            after: None,
            limit: 100,
            reverse: false,
            shape: Shape::Entries,
        }
    }
}

/// A part of a bucket at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// The revision of the bucket at that moment.
    pub revision: Revision,
    /// The keys, each with its entry if entries were asked for.
    pub entries: Vec<(Key, Option<Entry>)>,
    /// How many keys lie in the range, if a count was asked for.
    pub count: Option<u64>,
    /// Where the next page begins (give it as `after`), if there is one.
    pub cursor: Option<Key>,
}
