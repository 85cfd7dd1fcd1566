//! The entries of a bucket in memory, in the order of their keys.
//!
//! A map with a key and a value of their own for each entry takes several times the memory of their bytes. Here small
//! entries lie one after another in [blocks](block) of about 2 KiB, and the map has only the blocks.

mod block;
mod builder;
mod packed;
mod view;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use self::block::Block;
pub(crate) use self::builder::EntriesBuilder;
pub use self::view::EntryView;
use crate::model::{Entry, Key, Time};

/// If blocks have fewer bytes than this on average, they are joined.
const MIN_BLOCK_BYTES: usize = 512;

/// An ordered map of keys to entries that takes little more memory than their bytes. A clone shares the entries and
/// copies the list of blocks.
///
/// A lookup copies a small value, so that it does not keep the values next to it in memory. The entries of a
/// [`page`](super::page) share the memory of their blocks, about 2 KiB each: copy a small value that you keep for long.
#[derive(Clone, Default)]
pub struct Entries {
    /// Each block has a bound, a key that is not greater than its keys and greater than those of the block before.
    blocks: BTreeMap<Key, Block>,
    len: usize,
}

impl Entries {
    /// No entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries that come in the order of their keys, each key once.
    fn of_sorted(entries: impl IntoIterator<Item = (Key, Entry)>) -> Self {
        let mut builder = EntriesBuilder::default();
        for (key, entry) in entries {
            let _is_next = builder.push(key, entry);
        }
        builder.into()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry under a key.
    #[must_use]
    pub fn get(&self, key: &(impl Borrow<str> + ?Sized)) -> Option<Entry> {
        self.view(key).map(|view| view.to_entry())
    }

    /// The entry under a key, as it lies in memory.
    #[must_use]
    pub fn view(&self, key: &(impl Borrow<str> + ?Sized)) -> Option<EntryView<'_>> {
        let (_, block) = self.blocks.range::<str, _>(up_to(key.borrow())).next_back()?;
        block.find(key.borrow())
    }

    /// The entry under a key, unless it has expired at `now`.
    #[must_use]
    pub fn live(&self, key: &(impl Borrow<str> + ?Sized), now: Time) -> Option<Entry> {
        self.view(key).filter(|view| view.is_live(now)).map(|view| view.to_entry())
    }

    /// Whether there is an entry under a key.
    #[must_use]
    pub fn contains_key(&self, key: &(impl Borrow<str> + ?Sized)) -> bool {
        self.view(key).is_some()
    }

    /// Sets the entry under a key. Returns whether there was one.
    pub fn insert(&mut self, key: Key, entry: Entry) -> bool {
        if self.blocks.first_key_value().is_none_or(|(bound, _)| *bound > key)
            && let Some((_, first)) = self.blocks.pop_first()
        {
            self.blocks.insert(key.clone(), first);
        }
        let Some((_, block)) = self.blocks.range_mut::<str, _>(up_to(key.as_str())).next_back() else {
            self.blocks.insert(key.clone(), Block::new(key, entry));
            self.len = 1;
            return false;
        };
        let (split_off, is_replaced) = block.set(key, entry);
        self.blocks.extend(split_off.into_iter().map(|block| (block.first_key(), block)));
        self.len += usize::from(!is_replaced);
        is_replaced
    }

    /// Removes the entry under a key. Returns whether there was one.
    pub fn remove(&mut self, key: &(impl Borrow<str> + ?Sized)) -> bool {
        let key = key.borrow();
        let Some((bound, block)) = self.blocks.range_mut::<str, _>(up_to(key)).next_back() else { return false };
        let Ok(rest) = block.without(key) else { return false };
        let bound = bound.clone();
        match rest {
            Some(rest) => {
                *block = rest;
                let before = (Bound::Unbounded, Bound::Excluded(bound.as_str()));
                let before = self.blocks.range::<str, _>(before).next_back().map(|(bound, _)| bound.clone());
                self.join_with_next(&bound);
                if let Some(before) = before {
                    self.join_with_next(&before);
                }
            }
            None => drop(self.blocks.remove(&bound)),
        }
        self.len -= 1;
        true
    }

    /// Joins a block with the next one if both are small.
    fn join_with_next(&mut self, bound: &Key) {
        let mut blocks = self.blocks.range::<str, _>((Bound::Included(bound.as_str()), Bound::Unbounded));
        if let (Some((_, block)), Some((next_bound, next))) = (blocks.next(), blocks.next())
            && let Some(joined) = block.joined(next)
        {
            let next_bound = next_bound.clone();
            self.blocks.remove(&next_bound);
            self.blocks.insert(bound.clone(), joined);
        }
    }

    /// Changes the entry under a key, if there is one.
    pub fn update(&mut self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.get(key) {
            change(&mut entry);
            self.insert(key.clone(), entry);
        }
    }

    /// Keeps only these entries.
    pub fn retain(&mut self, is_kept: impl Fn(&EntryView<'_>) -> bool) {
        self.blocks.retain(|_, block| block.retain(&is_kept));
        self.len = self.iter().count();
        let packed: Vec<usize> = self.blocks.values().filter_map(Block::packed_len).collect();
        if packed.iter().sum::<usize>() < packed.len() * MIN_BLOCK_BYTES {
            *self = Self::of_sorted(self.iter().map(|view| view.to_pair()));
        }
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.blocks.values().flat_map(Block::iter)
    }

    /// The entries within these bounds, in the order of their keys.
    pub fn range<'a>(&'a self, low: Bound<&'a str>, high: Bound<&'a str>) -> impl Iterator<Item = EntryView<'a>> {
        let views = self.blocks_in(low, high).flat_map(|(_, block)| block.iter());
        views.skip_while(move |view| !is_above(low, view.key)).take_while(move |view| is_below(high, view.key))
    }

    /// The entries within these bounds, the last key first.
    pub fn range_rev<'a>(&'a self, low: Bound<&'a str>, high: Bound<&'a str>) -> impl Iterator<Item = EntryView<'a>> {
        let in_order = |block: &'a Block| block.iter().collect::<Vec<_>>();
        let views = self.blocks_in(low, high).rev().flat_map(move |(_, block)| in_order(block).into_iter().rev());
        views.skip_while(move |view| !is_below(high, view.key)).take_while(move |view| is_above(low, view.key))
    }

    /// The blocks that may have entries within these bounds.
    fn blocks_in(&self, low: Bound<&str>, high: Bound<&str>) -> impl DoubleEndedIterator<Item = (&Key, &Block)> {
        // The block that has `low` may begin before it.
        let first = match low {
            Bound::Included(low) | Bound::Excluded(low) => {
                self.blocks.range::<str, _>(up_to(low)).next_back().map_or(low, |(bound, _)| bound.as_str())
            }
            Bound::Unbounded => "",
        };
        let (high, is_empty) = match high {
            Bound::Included(high) | Bound::Excluded(high) => (Bound::Included(high), first > high),
            Bound::Unbounded => (Bound::Unbounded, false),
        };
        let blocks = (!is_empty).then(|| self.blocks.range::<str, _>((Bound::Included(first), high)));
        blocks.into_iter().flatten()
    }
}

fn is_above(low: Bound<&str>, key: &str) -> bool {
    RangeBounds::<str>::contains(&(low, Bound::Unbounded), key)
}

fn is_below(high: Bound<&str>, key: &str) -> bool {
    RangeBounds::<str>::contains(&(Bound::Unbounded, high), key)
}

/// The bounds of all keys up to this one.
fn up_to(key: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Unbounded, Bound::Included(key))
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}

impl From<EntriesBuilder> for Entries {
    fn from(builder: EntriesBuilder) -> Self {
        let (blocks, len) = builder.finish();
        Self { blocks: blocks.into_iter().collect(), len }
    }
}

impl FromIterator<(Key, Entry)> for Entries {
    /// The last entry of each key.
    fn from_iter<I: IntoIterator<Item = (Key, Entry)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(one, _), (next, _)| one < next) {
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            entries.dedup_by(|later, earlier| {
                let is_same = later.0 == earlier.0;
                if is_same {
                    std::mem::swap(later, earlier);
                }
                is_same
            });
        }
        Self::of_sorted(entries)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|view| (view.key, view.to_entry()))).finish()
    }
}

#[cfg(test)]
mod tests;
