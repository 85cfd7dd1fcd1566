//! The entry under a key: a value with its content type, revision and times.

use bytes::Bytes;

use super::content_type::ContentType;
use super::revision::Revision;
use super::time::Time;

/// A value with its metadata. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The bytes of the value.
    pub value: Bytes,
    /// The media type of the value.
    pub content_type: ContentType,
    /// The revision of the write that stored the value.
    pub revision: Revision,
    /// When the key was first written; a replacement keeps it.
    pub created: Time,
    /// The time of modification, if it differs from the time of the revision: a client gave it, or a date precondition
    /// moved it into the next second ([`Condition::NotModifiedSince`](super::batch::Condition::NotModifiedSince)).
    pub modified: Option<Time>,
    /// When the entry expires. From this moment on it counts as missing.
    pub expires: Option<Time>,
}

impl Entry {
    /// The value as text, if it is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// When the entry was last written.
    #[must_use]
    pub fn updated(&self) -> Time {
        self.revision.time()
    }

    /// The time of modification in whole seconds, for HTTP: `modified`, else the time of the commit.
    #[must_use]
    pub fn last_modified(&self) -> Time {
        self.modified.unwrap_or_else(|| self.updated()).floor_to_second()
    }

    /// The time of modification, if it is in one of the two seconds after `commit`, which is as far ahead as date
    /// preconditions move it. A write at `commit` without a time of its own keeps it, so that no date passes twice.
    #[must_use]
    pub fn ahead_of(&self, commit: Time) -> Option<Time> {
        self.modified.filter(|modified| (1..=2).contains(&modified.secs().saturating_sub(commit.secs())))
    }

    /// Whether the entry has not expired at `now`.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.expires.is_none_or(|expiry| now < expiry)
    }
}

/// The result of a `get`: the entries under several keys at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The revision of the bucket at that moment. Pass it to `changed` to wait for a later one.
    pub revision: Revision,
    /// One for each requested key, in their order.
    pub entries: Vec<Option<Entry>>,
}

impl Snapshot {
    /// The values without their metadata.
    #[must_use]
    pub fn into_values(self) -> Vec<Option<Bytes>> {
        self.entries.into_iter().map(|entry| entry.map(|entry| entry.value)).collect()
    }
}
