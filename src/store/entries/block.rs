//! A block: several small entries that lie one after another, or one large entry.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::packed;
use super::packed::PackedEntry;
use super::view::EntryView;
use crate::model::{Entry, Key};

/// A block with more bytes than this is split.
const MAX_BYTES: usize = 2048;

/// A new block is not filled beyond this, so that the first changes of its entries do not split it.
pub(super) const FILLED_BYTES: usize = 1792;

/// There is no entry under a key.
pub(super) struct NoEntry;

/// The entries in a part of the order of keys; at least one. Cheap to clone.
#[derive(Clone)]
pub(super) enum Block {
    /// In the order of their keys.
    Packed(Bytes),
    Single(Arc<(Key, Entry)>),
}

impl Block {
    pub(super) fn new(key: Key, entry: Entry) -> Self {
        let mut bytes = Vec::new();
        if packed::push(&mut bytes, &key, &entry) {
            Self::Packed(Bytes::copy_from_slice(&bytes))
        } else {
            Self::Single(Arc::new((key, entry)))
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<EntryView<'_>> {
        match self {
            Self::Packed(bytes) => {
                let (place, is_found) = packed::locate(bytes, key);
                bytes.get(place).filter(|_| is_found).and_then(|first| packed::first(first, bytes))
            }
            Self::Single(single) => Some(EntryView::of(&single.0, &single.1)).filter(|_| single.0.as_str() == key),
        }
    }

    /// The entries in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        let (bytes, single) = match self {
            Self::Packed(bytes) => (Some(bytes), None),
            Self::Single(single) => (None, Some(EntryView::of(&single.0, &single.1))),
        };
        let packed = bytes.into_iter().flat_map(|bytes| packed::iter(bytes).map(|(_, packed)| packed.view(bytes)));
        packed.chain(single)
    }

    /// The number of bytes of packed entries; `None` for a single one.
    pub(super) fn packed_len(&self) -> Option<usize> {
        match self {
            Self::Packed(bytes) => Some(bytes.len()),
            Self::Single(_) => None,
        }
    }

    pub(super) fn first_key(&self) -> Key {
        match self {
            Self::Packed(bytes) => Key::of_valid(packed::first(bytes, bytes).map_or("", |view| view.key)),
            Self::Single(single) => single.0.clone(),
        }
    }

    /// Sets an entry. Returns the blocks that follow this one if it was split, and whether the key had an entry.
    pub(super) fn set(&mut self, key: Key, entry: Entry) -> (Vec<Self>, bool) {
        let bytes = match self {
            Self::Packed(bytes) => bytes,
            Self::Single(single) => {
                let order = single.0.cmp(&key);
                let old = std::mem::replace(self, Self::new(key, entry));
                return match order {
                    Ordering::Less => (vec![std::mem::replace(self, old)], false),
                    Ordering::Equal => (Vec::new(), true),
                    Ordering::Greater => (vec![old], false),
                };
            }
        };
        let (place, is_replaced) = packed::locate(bytes, key.as_str());
        let mut new = Vec::new();
        let blocks = if packed::push(&mut new, &key, &entry) {
            if new.len() == place.len() && overwrite(bytes, place.clone(), &new) {
                return (Vec::new(), is_replaced);
            }
            spliced(bytes, &place, &new)
        } else {
            let (before, after) = (bytes.get(..place.start), bytes.get(place.end..));
            let single = Some(Self::Single(Arc::new((key, entry))));
            [before.and_then(Self::packed), single, after.and_then(Self::packed)]
        };
        let mut blocks = blocks.into_iter().flatten();
        if let Some(first) = blocks.next() {
            *self = first;
        }
        (blocks.collect(), is_replaced)
    }

    /// Removes an entry. Returns what is left; `Err` if the key has no entry.
    pub(super) fn without(&self, key: &str) -> Result<Option<Self>, NoEntry> {
        match self {
            Self::Single(single) => {
                if single.0.as_str() == key {
                    Ok(None)
                } else {
                    Err(NoEntry)
                }
            }
            Self::Packed(bytes) => {
                let (place, is_found) = packed::locate(bytes, key);
                let (before, after) = (bytes.get(..place.start), bytes.get(place.end..));
                let rest = before.zip(after).filter(|_| is_found).ok_or(NoEntry)?;
                Ok(Self::packed(&[rest.0, rest.1].concat()))
            }
        }
    }

    /// Both blocks as one, if it is not too large to grow.
    pub(super) fn joined(&self, next: &Self) -> Option<Self> {
        let (Self::Packed(bytes), Self::Packed(next)) = (self, next) else { return None };
        (bytes.len() + next.len() <= FILLED_BYTES).then(|| Self::Packed([&**bytes, &**next].concat().into()))
    }

    /// Keeps only these entries. Returns whether any are left.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&EntryView<'_>) -> bool) -> bool {
        match self {
            Self::Single(single) => is_kept(&EntryView::of(&single.0, &single.1)),
            Self::Packed(bytes) => {
                let is_kept = |packed: &PackedEntry<'_>| is_kept(&packed.view(bytes));
                if packed::iter(bytes).all(|(_, packed)| is_kept(&packed)) {
                    return true;
                }
                let kept = packed::iter(bytes).filter(|(_, packed)| is_kept(packed));
                let kept: Vec<&[u8]> = kept.filter_map(|(place, _)| bytes.get(place)).collect();
                let is_any_left = !kept.is_empty();
                *bytes = kept.concat().into();
                is_any_left
            }
        }
    }

    pub(super) fn packed(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self::Packed(Bytes::copy_from_slice(bytes)))
    }
}

/// Writes an entry in the place of one of the same length, unless the bytes are shared. Returns whether it did.
fn overwrite(bytes: &mut Bytes, place: Range<usize>, new: &[u8]) -> bool {
    match std::mem::take(bytes).try_into_mut() {
        Ok(mut own) => {
            let is_written = own.get_mut(place).map(|old| old.copy_from_slice(new)).is_some();
            *bytes = own.freeze();
            is_written
        }
        Err(shared) => {
            *bytes = shared;
            false
        }
    }
}

/// The blocks of these packed entries with another one in this place.
fn spliced(bytes: &[u8], place: &Range<usize>, new: &[u8]) -> [Option<Block>; 3] {
    let (before, after) = (bytes.get(..place.start), bytes.get(place.end..));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let all = [before, new, after].concat();
    let middle = match all.len() {
        ..=MAX_BYTES => all.len(),
        // Perhaps the keys come in their order. Then the block stays full.
        _ if after.is_empty() => before.len(),
        _ => middle(&all),
    };
    let (first, second) = all.split_at_checked(middle).unwrap_or((&all, &[]));
    [Block::packed(first), Block::packed(second), None]
}

/// The first place between two entries in the second half, else the last one before.
fn middle(bytes: &[u8]) -> usize {
    let mut last = bytes.len();
    for (place, _) in packed::iter(bytes).skip(1) {
        last = place.start;
        if last >= bytes.len() / 2 {
            break;
        }
    }
    last
}
