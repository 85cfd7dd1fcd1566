//! An event: the change of a key, as listeners and hooks get it.

use std::fmt;

use super::name::{Bucket, Key};
use super::revision::Revision;
use super::time::Time;

/// A durable change of a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The bucket of the key.
    pub bucket: Bucket,
    /// The key that changed.
    pub key: Key,
    /// How it changed.
    pub kind: ChangeKind,
    /// For [`ChangeKind::Set`] the revision of the new entry, else that of the bucket after the change. A later event
    /// of the same key has a greater revision.
    pub revision: Revision,
}

/// How a key changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The key was created or its value replaced.
    Set,
    /// The key was deleted.
    Delete,
    /// Only the expiry changed.
    Touch,
}

impl Event {
    /// When the change was committed.
    #[must_use]
    pub fn time(&self) -> Time {
        self.revision.time()
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Touch => "touch",
        })
    }
}
