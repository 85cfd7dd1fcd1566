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
    /// The key and the entry, if they are not packed.
    pub(super) own: Option<(&'a Key, &'a Entry)>,
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
            own: Some((key, entry)),
        }
    }

    /// The key alone.
    #[must_use]
    pub fn to_key(&self) -> Key {
        self.own.map_or_else(|| Key::of_valid(self.key), |(key, _)| key.clone())
    }

    /// The entry. A small value is copied, a large one is shared.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        self.own.map_or_else(
            || Entry {
                value: Bytes::copy_from_slice(self.value),
                content_type: self.content_type.map(ContentType::of_valid).unwrap_or_default(),
                revision: self.revision,
                created: self.created,
                modified: self.modified,
                expires: self.expires,
            },
            |(_, entry)| entry.clone(),
        )
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
