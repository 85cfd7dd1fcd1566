//! The bytes of a packed entry: the lengths of its parts, the revision, the key, the value and the other fields.
//!
//! They are in memory only, in the byte order of the machine.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::view::{EntryView, Memory};
use crate::model::{Entry, Key, Revision, Time};

/// A key and a value that are longer together are not packed.
const MAX_BYTES: usize = 1024;

/// The lengths of the key, of the value and of the other fields, and the revision.
const HEAD_BYTES: usize = 3 * size_of::<u16>() + size_of::<u64>();

const HAS_CREATED: u8 = 1;
const HAS_MODIFIED: u8 = 2;
const HAS_EXPIRES: u8 = 4;

/// Appends an entry. Returns false if it is too large.
pub(super) fn push(out: &mut Vec<u8>, key: &Key, entry: &Entry) -> bool {
    let (key, value) = (key.as_str().as_bytes(), &*entry.value);
    if key.len() + value.len() > MAX_BYTES {
        return false;
    }
    let is_plain = entry.created == entry.revision.time()
        && entry.modified.is_none()
        && entry.expires.is_none()
        && entry.content_type.is_default();
    let more = if is_plain { Vec::new() } else { other_fields(entry) };
    let lengths = (u16::try_from(key.len()), u16::try_from(value.len()), u16::try_from(more.len()));
    let (Ok(key_len), Ok(value_len), Ok(more_len)) = lengths else { return false };
    out.extend_from_slice(&key_len.to_ne_bytes());
    out.extend_from_slice(&value_len.to_ne_bytes());
    out.extend_from_slice(&more_len.to_ne_bytes());
    out.extend_from_slice(&entry.revision.number().to_ne_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    out.extend_from_slice(&more);
    true
}

/// The fields that most entries do not have: which times there are, the times, and the content type.
fn other_fields(entry: &Entry) -> Vec<u8> {
    let created = Some(entry.created).filter(|created| *created != entry.revision.time());
    let times = [(HAS_CREATED, created), (HAS_MODIFIED, entry.modified), (HAS_EXPIRES, entry.expires)];
    let mut more = vec![0];
    let mut flags = 0;
    for (flag, time) in times {
        if let Some(time) = time {
            flags |= flag;
            more.extend_from_slice(&time.nanos().to_ne_bytes());
        }
    }
    if let Some(first) = more.first_mut() {
        *first = flags;
    }
    if !entry.content_type.is_default() {
        more.extend_from_slice(entry.content_type.as_str().as_bytes());
    }
    more
}

/// The packed entries in these bytes, in their order, each with its place.
pub(super) fn iter(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, PackedEntry<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let packed = PackedEntry::first(bytes.get(at..)?)?;
        let start = at;
        at += packed.len();
        Some((start..at, packed))
    })
}

/// The place of the entry under a key, and whether there is one. Otherwise the place is empty: where it would be.
pub(super) fn locate(bytes: &[u8], key: &str) -> (Range<usize>, bool) {
    let (key, mut at) = (key.as_bytes(), 0);
    while let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>) {
        let [key_low, key_high, value_low, value_high, more_low, more_high, ..] = *head;
        let begin = at + HEAD_BYTES;
        let end = begin + usize::from(u16::from_ne_bytes([key_low, key_high]));
        let next = end
            + usize::from(u16::from_ne_bytes([value_low, value_high]))
            + usize::from(u16::from_ne_bytes([more_low, more_high]));
        match bytes.get(begin..end).map(|found| found.cmp(key)) {
            Some(Ordering::Less) => at = next,
            Some(Ordering::Equal) => return (at..next, true),
            Some(Ordering::Greater) | None => break,
        }
    }
    (at..at, false)
}

/// The first of these packed entries, which are in a block.
pub(super) fn first<'a>(bytes: &'a [u8], block: &'a Bytes) -> Option<EntryView<'a>> {
    PackedEntry::first(bytes).map(|packed| packed.view(block))
}

/// A packed entry whose fields are not decoded.
#[derive(Clone, Copy)]
pub(super) struct PackedEntry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    more: &'a [u8],
    revision: u64,
}

impl<'a> PackedEntry<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (key_len, rest) = bytes.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (more_len, rest) = rest.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_ne_bytes(*key_len)))?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_ne_bytes(*value_len)))?;
        let more = rest.get(..usize::from(u16::from_ne_bytes(*more_len)))?;
        Some(Self { key, value, more, revision: u64::from_ne_bytes(*revision) })
    }

    fn len(&self) -> usize {
        HEAD_BYTES + self.key.len() + self.value.len() + self.more.len()
    }

    pub(super) fn view(&self, block: &'a Bytes) -> EntryView<'a> {
        let revision = Revision::new(self.revision);
        let (flags, mut more) = self.more.split_first().map_or((0, self.more), |(flags, more)| (*flags, more));
        let mut time = |flag| {
            let (time, rest) = more.split_first_chunk::<8>().filter(|_| flags & flag != 0)?;
            more = rest;
            Some(Time::from_nanos(i64::from_ne_bytes(*time)))
        };
        let (created, modified, expires) = (time(HAS_CREATED), time(HAS_MODIFIED), time(HAS_EXPIRES));
        EntryView {
            key: text(self.key),
            value: self.value,
            content_type: Some(more).filter(|more| !more.is_empty()).map(text),
            revision,
            created: created.unwrap_or_else(|| revision.time()),
            modified,
            expires,
            memory: Memory::Block(block),
        }
    }
}

/// Only the bytes of texts are packed as texts.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
