//! What stands under a key.

use bytes::Bytes;

use super::content_type::ContentType;
use super::revision::Revision;
use super::time::Time;

/// A value and what is known of it. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Its media type.
    pub content_type: ContentType,
    /// The write that put it there.
    pub revision: Revision,
    /// When the key came to be; a replacement keeps it.
    pub created: Time,
    /// The time of modification, where it is not that of the revision: a client gave it, or a date precondition moved it
    /// into the next second ([`Condition::NotModifiedSince`](super::Condition::NotModifiedSince)).
    pub modified: Option<Time>,
    /// From this moment on the entry is no longer there.
    pub expires: Option<Time>,
}

impl Entry {
    /// When the entry was last written.
    #[must_use]
    pub fn updated(&self) -> Time {
        self.revision.time()
    }

    /// The time of modification in whole seconds, as HTTP gives it: `modified`, else the time of the commit.
    #[must_use]
    pub fn last_modified(&self) -> Time {
        self.modified.unwrap_or_else(|| self.updated()).floor_to_second()
    }

    /// The time of modification, if it is in one of the two seconds after `commit`: as far ahead as date preconditions move
    /// it. A write at `commit` that gives no time keeps it, so that no date passes twice.
    #[must_use]
    pub fn ahead_of(&self, commit: Time) -> Option<Time> {
        self.modified.filter(|modified| (1..=2).contains(&modified.secs().saturating_sub(commit.secs())))
    }

    /// Whether the entry is still there at `now`.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// The answer to a `get`: what stood under each key at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The revision of the bucket at that moment: wait for a later one with `changed`.
    pub revision: Revision,
    /// One for each key asked for, in the order asked.
    pub entries: Vec<Option<Entry>>,
}

impl Snapshot {
    /// The values alone.
    #[must_use]
    pub fn into_values(self) -> Vec<Option<Bytes>> {
        self.entries.into_iter().map(|entry| entry.map(|entry| entry.value)).collect()
    }
}
