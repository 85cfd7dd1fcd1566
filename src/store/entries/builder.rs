//! Building entries from sorted ones, at once.

use std::sync::Arc;

use super::block::{Block, FILLED_BYTES};
use super::packed;
use crate::model::{Entry, Key};

/// Packs entries that come in the order of their keys.
#[derive(Default)]
pub(crate) struct EntriesBuilder {
    blocks: Vec<(Key, Block)>,
    /// The block that is being filled, and its first key.
    bytes: Vec<u8>,
    bound: Option<Key>,
    last: Option<Key>,
    len: usize,
}

impl EntriesBuilder {
    /// Adds an entry. Returns false if its key does not follow the last one.
    #[must_use]
    pub(crate) fn push(&mut self, key: Key, entry: Entry) -> bool {
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return false;
        }
        self.len += 1;
        self.last = Some(key.clone());
        let filled = self.bytes.len();
        if packed::push(&mut self.bytes, &key, &entry) {
            if filled > 0 && self.bytes.len() > FILLED_BYTES {
                let last = self.bytes.split_off(filled);
                self.end_block();
                self.bytes = last;
            }
            self.bound.get_or_insert(key);
        } else {
            self.end_block();
            self.blocks.push((key.clone(), Block::Single(Arc::new((key, entry)))));
        }
        true
    }

    /// Adds the entries of another builder. Returns false if they do not follow those of this one.
    #[must_use]
    pub(crate) fn append(&mut self, mut other: Self) -> bool {
        self.end_block();
        other.end_block();
        let first = other.blocks.first().map(|(bound, _)| bound);
        if self.last.as_ref().zip(first).is_some_and(|(last, first)| last >= first) {
            return false;
        }
        self.blocks.append(&mut other.blocks);
        self.last = other.last.or(self.last.take());
        self.len += other.len;
        true
    }

    fn end_block(&mut self) {
        if let Some((bound, block)) = self.bound.take().zip(Block::packed(&self.bytes)) {
            self.blocks.push((bound, block));
        }
        self.bytes.clear();
    }

    /// The blocks with their bounds, and the number of entries.
    pub(super) fn finish(mut self) -> (Vec<(Key, Block)>, usize) {
        self.end_block();
        (self.blocks, self.len)
    }
}
