//! An entry as it was read from a text, before it has a revision.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{ContentType, Entry, Key, Revision, Time};

/// An entry as it was read from a text. A person may have left out its times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedEntry {
    /// The bytes of the value.
    pub value: Bytes,
    /// The media type; the default one if the text gives none.
    pub content_type: ContentType,
    /// When the entry was last written, if the text says so.
    pub updated: Option<Time>,
    /// When the key was created, if that is another time.
    pub created: Option<Time>,
    /// The modification time that a client gave.
    pub modified: Option<Time>,
    /// When the entry expires.
    pub expires: Option<Time>,
    /// How long the entry lives from its write on, if the text gives this instead of `expires`.
    pub ttl: Option<Duration>,
}

impl ParsedEntry {
    /// An entry that is only a value.
    pub fn text(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            content_type: ContentType::default(),
            updated: None,
            created: None,
            modified: None,
            expires: None,
            ttl: None,
        }
    }

    /// The entry, written at this revision. A time to live counts from there.
    #[must_use]
    pub fn at(self, revision: Revision) -> Entry {
        Entry {
            value: self.value,
            content_type: self.content_type,
            revision,
            created: self.created.unwrap_or_else(|| revision.time()),
            modified: self.modified,
            expires: self.ttl.map_or(self.expires, |ttl| Some(revision.time().plus(ttl))),
        }
    }
}

/// A line of a document: it stores an entry or deletes a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ParsedLine {
    pub(crate) key: Key,
    /// The entry; `None` if the line deletes the key.
    pub(crate) parsed: Option<ParsedEntry>,
    /// The revision of the write, if it is in a comment.
    pub(crate) revision: Option<Revision>,
}
