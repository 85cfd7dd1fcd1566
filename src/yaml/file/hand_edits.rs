//! Edits of a file by a person: finds the entries that need new revisions, and the writes that an edit has undone.
//!
//! What always holds: an entry whose value was changed by hand gets a later revision than it ever had; an unchanged
//! entry keeps its revision.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::model::{Entry, Key, Revision, Time};
use crate::yaml::fs::Stat;
use crate::yaml::state::{BucketState, Unstamped};

/// The size of the digest in the revisions of entries that a person wrote.
const DIGEST_BITS: u32 = 26;

/// Who wrote the file last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileOrigin<'a> {
    /// kvs.
    Ours,
    /// A person, and this was the state before.
    Edited(&'a BucketState),
    /// A person, and the state before is not known.
    Unknown,
}

/// Writes that a saved file undid, because the editor had read the file before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overwritten {
    /// Entries that the file no longer has.
    pub(crate) entries: Vec<(Key, Entry)>,
    /// Keys that had been deleted, and are there again.
    pub(crate) returned: Vec<Key>,
}

impl Overwritten {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.returned.is_empty()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.returned.extend(other.returned);
    }
}

impl BucketState {
    /// Gives revisions to the entries that a person wrote: in the order of the file, later than all others, and not
    /// before the file was changed at `modified`. Returns whether the state now differs from the file.
    ///
    /// The revisions depend only on the file and the state before, so all processes compute the same ones.
    pub(crate) fn stamp(&mut self, unstamped: Unstamped, origin: FileOrigin<'_>, modified: i64) -> bool {
        let Unstamped { keys, ttls } = unstamped;
        let mut last = self.revision.max(revision_at(modified));
        let keys: Vec<Key> = keys.into_iter().filter(|key| self.is_unstamped(key)).collect();
        let (mut new, mut kept) = (keys.clone(), false);
        match origin {
            FileOrigin::Ours => {}
            FileOrigin::Unknown => new = self.all(keys),
            FileOrigin::Edited(before) => {
                last = last.max(before.revision);
                kept = self.keep_unchanged(before, &ttls);
                self.revision = self.revision.max(before.revision);
                let old =
                    before.entries.iter().filter(|(key, was)| self.is_restamped(key, was)).map(|(key, _)| key.clone());
                let added = |(key, entry): &(&Key, &Entry)| {
                    entry.revision != Revision::ZERO
                        && !before.entries.contains_key(*key)
                        && entry.revision <= before.revision
                };
                let added = self.entries.iter().filter(added).map(|(key, _)| key.clone());
                let mut restamped: Vec<Key> = old.chain(added).collect();
                restamped.extend(keys.into_iter().filter(|key| self.is_unstamped(key)));
                new = restamped;
                self.forget_guards(&new, before);
                self.by_hand.extend(before.by_hand.iter().filter(|key| self.entries.contains_key(*key)).cloned());
            }
        }
        let any = !new.is_empty() || kept || !ttls.is_empty();
        self.stamp_all(new, last, &ttls);
        any
    }

    /// Raises the revision if a person has changed the entries, even if they only deleted some: clients that have read
    /// the bucket before must see that it has changed. The new revision depends only on the file and the state before,
    /// so all processes compute the same one.
    pub(crate) fn raise_after_edit(&mut self, origin: FileOrigin<'_>, stat: Option<Stat>) {
        let before = match origin {
            FileOrigin::Ours => return,
            FileOrigin::Edited(before) if before.entries == self.entries => return,
            FileOrigin::Edited(before) => before.revision,
            FileOrigin::Unknown => self.revision,
        };
        let saved = stat.map_or(0, |stat| stat.modified.max(stat.changed));
        self.revision = self.revision.max(before.following()).max(revision_at(saved));
    }

    fn stamp_all(&mut self, keys: Vec<Key>, min: Revision, ttls: &[(Key, Duration)]) {
        let mut last = self.first_free(&keys, min);
        for key in keys {
            last = last.following();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.revision = last;
                if entry.created.nanos() == 0 {
                    entry.created = last.time();
                }
                if let Some((_, ttl)) = ttls.iter().find(|(of, _)| *of == key) {
                    entry.expires = Some(last.time().plus(*ttl));
                }
            }
            self.revision = self.revision.max(last);
            self.by_hand.insert(key);
        }
    }

    fn is_unstamped(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.revision == Revision::ZERO)
    }

    /// All keys: those with a revision in its order, then those without in the order of the file.
    fn all(&self, unstamped: Vec<Key>) -> Vec<Key> {
        let mut keys: Vec<(&Key, Revision)> = self.entries.iter().map(|(key, entry)| (key, entry.revision)).collect();
        keys.retain(|(_, revision)| *revision != Revision::ZERO);
        keys.sort_by_key(|(_, revision)| *revision);
        keys.into_iter().map(|(key, _)| key.clone()).chain(unstamped).collect()
    }

    /// Gives unchanged entries the revision that they had, unless it is in the file. Returns whether any entry got one.
    fn keep_unchanged(&mut self, before: &BucketState, ttls: &[(Key, Duration)]) -> bool {
        let mut kept = false;
        for (key, was) in &before.entries {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let is_unstamped = entry.revision == Revision::ZERO;
            let has_ttl = is_unstamped && ttls.iter().any(|(of, _)| of == key) && was.expires.is_some();
            let is_unchanged = entry.has_same_value(was) && (entry.expires == was.expires || has_ttl);
            if is_unchanged && (is_unstamped || was.revision > entry.revision) {
                *entry = was.clone();
                kept = true;
            }
        }
        kept
    }

    /// Whether the file has another value for this key than before, under a revision that is not later.
    ///
    /// kvs changes a value only under a later revision. It sets an earlier one only where a copy replaces an entry of
    /// its target (docs/moving.md).
    fn is_restamped(&self, key: &Key, was: &Entry) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            entry.revision != Revision::ZERO
                && (was.revision > entry.revision || was.revision == entry.revision && !entry.has_same_value(was))
        })
    }

    /// Removes modification times that kvs set to guard the write before: the edit is later.
    fn forget_guards(&mut self, keys: &[Key], before: &BucketState) {
        for key in keys {
            if let (Some(entry), Some(was)) = (self.entries.get_mut(key), before.entries.get(key)) {
                entry.modified = entry.modified.filter(|modified| was.ahead_of(was.updated()) != Some(*modified));
            }
        }
    }

    /// The writes of the state `before` that the file has undone. `self` is the state of the file, and
    /// `header_revision` the revision in its header.
    ///
    /// The person who saved the file saw all writes up to the last one in the file. So if one of them is missing, they
    /// removed it on purpose. The same holds for entries that a person wrote.
    pub(crate) fn overwritten(&self, before: &BucketState, header_revision: Revision, now: Time) -> Overwritten {
        let same = |(key, was): (&Key, &Entry)| {
            let entry = self.entries.get(key)?;
            (entry.revision == was.revision && !before.by_hand.contains(key)).then_some(was.revision)
        };
        let header_revision =
            Some(header_revision).filter(|header_revision| *header_revision <= before.revision).unwrap_or_default();
        let seen = before.entries.iter().filter_map(same).max().unwrap_or_default().max(header_revision);
        // Writes that the old state does not have yet are later than all of its writes.
        let is_later = self.entries.values().any(|entry| entry.revision > before.revision);
        let seen = if is_later { before.revision } else { seen };
        let is_lost = |(key, was): &(&Key, &Entry)| {
            was.revision > seen
                && was.is_live(now)
                && !before.by_hand.contains(*key)
                && self
                    .entries
                    .get(*key)
                    .is_none_or(|entry| entry.revision != was.revision && !entry.has_same_value(was))
        };
        let entries = before.entries.iter().filter(is_lost).map(|(key, was)| (key.clone(), was.clone())).collect();
        let is_back = |(key, entry): &(&Key, &Entry)| {
            entry.revision != Revision::ZERO
                && entry.revision <= seen
                && seen < before.revision
                && !before.entries.contains_key(*key)
        };
        let returned = self.entries.iter().filter(is_back).map(|(key, _)| key.clone()).collect();
        Overwritten { entries, returned }
    }

    /// The revision before the first new one of these entries, at least `min`.
    ///
    /// It is `min`, usually the time of the change, plus a digest of the entries. So two files with the same time of
    /// change, such as copies by `cp -p`, do not give the same revision to two values. The digest adds less than 2^27
    /// ns, a seventh of a second.
    fn first_free(&self, keys: &[Key], min: Revision) -> Revision {
        let min = min.number();
        let slot = (min >> DIGEST_BITS << DIGEST_BITS).saturating_add(self.digest(keys));
        Revision::new(if slot < min { slot.saturating_add(1 << DIGEST_BITS) } else { slot })
    }

    /// A digest of these entries, with [`DIGEST_BITS`] bits.
    fn digest(&self, keys: &[Key]) -> u64 {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for (key, entry) in keys.iter().filter_map(|key| self.entries.get_key_value(key)) {
            add(key.as_str().as_bytes());
            add(&entry.value);
            add(entry.content_type.as_str().as_bytes());
            add(&entry.expires.map_or([0; 8], |time| time.nanos().to_le_bytes()));
        }
        let bytes = digest.finalize();
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> (64 - DIGEST_BITS)
    }
}

fn revision_at(modified: i64) -> Revision {
    Revision::new(u64::try_from(modified).unwrap_or(0))
}

impl Entry {
    /// Whether a reader gets the same value and type.
    fn has_same_value(&self, other: &Self) -> bool {
        self.value == other.value && self.content_type == other.content_type
    }
}

#[cfg(test)]
mod tests;
