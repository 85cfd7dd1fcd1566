//! The changes of a bucket since a revision, in the order of their revisions.

use super::entry::Entry;
use super::name::Key;
use super::revision::Revision;

/// Which changes of a bucket to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangesQuery {
    /// Only changes after this revision of the bucket.
    pub since: Revision,
    /// Only keys that begin with this; empty: all keys.
    pub prefix: String,
    /// The maximum number of changes of a page, except that changes of one revision are not separated.
    pub limit: usize,
}

impl ChangesQuery {
    /// The changes of all keys, 100 per page.
    #[must_use]
    pub fn since(since: Revision) -> Self {
        Self { since, prefix: String::new(), limit: 100 }
    }

    /// Whether the prefix matches.
    #[must_use]
    pub fn includes(&self, key: &Key) -> bool {
        key.as_str().starts_with(&self.prefix)
    }
}

/// Changes of a bucket, as they are at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangesPage {
    /// One for each key that was changed, in the order of their revisions. If a key was changed several times, this is
    /// the last change.
    pub changes: Vec<KeyChange>,
    /// The `since` of the next page: the revision of the bucket or, if the page is full, that of its last change.
    pub next: Revision,
    /// Whether the page is full, so that there may be more changes already.
    pub has_more: bool,
}

/// The last change of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChange {
    /// The revision of the change. It is greater than that of the entry if the change set only the expiry, or restored
    /// the entry from another store.
    pub revision: Revision,
    /// The key that changed.
    pub key: Key,
    /// The entry now; `None` if there is none.
    pub entry: Option<Entry>,
}
