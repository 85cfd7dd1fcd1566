//! What happened to a key: what those are told who want to hear of changes.

use std::fmt;

use super::name::{Bucket, Key};
use super::revision::Revision;
use super::time::Time;

/// A change of a key that is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The bucket it lies in.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// What happened to it.
    pub what: What,
    /// Of a value that was set, its revision; else that of the bucket after the change. Of two events of a key the later has the greater
    /// one.
    pub revision: Revision,
}

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// It has a new value, or is new.
    Set,
    /// It is gone.
    Delete,
    /// Its value is the same and ends at another time.
    Touch,
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Time {
        self.revision.time()
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Touch => "touch",
        })
    }
}
