//! An entry as it lies in memory.

use bytes::Bytes;

use crate::model::{BlobRef, ContentType, Entry, Key, Revision, Time};

/// An entry with its key, as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// The key.
    pub key: &'a str,
    /// The bytes of the value.
    pub value: &'a [u8],
    /// The media type of the value; `None` if it is the default one.
    pub content_type: Option<&'a str>,
    /// The revision of the write that stored the value.
    pub revision: Revision,
    /// When the key was first written.
    pub created: Time,
    /// The time of modification, if it differs from the time of the revision.
    pub modified: Option<Time>,
    /// When the entry expires.
    pub expires: Option<Time>,
    pub(super) memory: Memory<'a>,
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Memory<'a> {
    /// In a block.
    Block(&'a Bytes),
    /// Alone.
    Single(&'a Key, &'a Entry),
}

impl PartialEq for EntryView<'_> {
    fn eq(&self, other: &Self) -> bool {
        let fields = |view: &Self| (view.revision, view.created, view.modified, view.expires);
        fields(self) == fields(other)
            && self.key == other.key
            && self.content_type == other.content_type
            && self.value == other.value
    }
}

impl Eq for EntryView<'_> {}

impl<'a> EntryView<'a> {
    pub(super) fn of(key: &'a Key, entry: &'a Entry) -> Self {
        Self {
            key: key.as_str(),
            value: &entry.value,
            content_type: Some(entry.content_type.as_str()).filter(|_| !entry.content_type.is_default()),
            revision: entry.revision,
            created: entry.created,
            modified: entry.modified,
            expires: entry.expires,
            memory: Memory::Single(key, entry),
        }
    }

    /// The key alone.
    #[must_use]
    pub fn to_key(&self) -> Key {
        match self.memory {
            Memory::Block(_) => Key::of_valid(self.key),
            Memory::Single(key, _) => key.clone(),
        }
    }

    /// The entry. A small value is copied, so that it does not keep those next to it in memory; a large one is shared.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        match self.memory {
            Memory::Block(_) => self.with_value(Bytes::copy_from_slice(self.value)),
            Memory::Single(_, entry) => entry.clone(),
        }
    }

    /// The entry, whose value stays in the memory of its block. For several entries next to each other.
    #[must_use]
    pub fn to_shared_entry(&self) -> Entry {
        match self.memory {
            Memory::Block(block) => self.with_value(block.slice_ref(self.value)),
            Memory::Single(_, entry) => entry.clone(),
        }
    }

    fn with_value(&self, value: Bytes) -> Entry {
        Entry {
            value,
            content_type: self.content_type.map(ContentType::of_valid).unwrap_or_default(),
            revision: self.revision,
            created: self.created,
            modified: self.modified,
            expires: self.expires,
        }
    }

    /// The key and the entry.
    #[must_use]
    pub fn to_pair(&self) -> (Key, Entry) {
        (self.to_key(), self.to_entry())
    }

    /// The blob of the value, if it is a reference.
    #[must_use]
    pub fn blob(&self) -> Option<BlobRef> {
        self.content_type.filter(|text| text.starts_with(ContentType::LAYER_PREFIX))?;
        BlobRef::of(&self.to_entry())
    }

    /// Whether the entry has not expired at `now`.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.expires.is_none_or(|expiry| now < expiry)
    }
}
