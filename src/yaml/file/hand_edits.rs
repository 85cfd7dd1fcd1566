//! Edits of a file by a person: finds the entries that need new revisions, and the writes that an edit has undone.
//!
//! What always holds: an entry whose value was changed by hand gets a later revision than it ever had; an unchanged
//! entry keeps its revision.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::model::{ContentType, Entry, Key, Revision, Time};
use crate::store::EntryView;
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
                let old = before.entries.iter().filter(|was| self.is_restamped(was)).map(|was| was.to_key());
                let added = |view: &EntryView<'_>| {
                    view.revision != Revision::ZERO
                        && !before.entries.contains_key(view.key)
                        && view.revision <= before.revision
                };
                let added = self.entries.iter().filter(added).map(|view| view.to_key());
                let mut restamped: Vec<Key> = old.chain(added).collect();
                restamped.extend(keys.into_iter().filter(|key| self.is_unstamped(key)));
                new = restamped;
                self.forget_guards(&new, before);
                // The others are restamped, or kvs has written them since.
                let is_kept =
                    |key: &&Key| self.revision_of(key).is_some() && self.revision_of(key) == before.revision_of(key);
                let kept_keys: Vec<Key> = before.by_hand.iter().filter(is_kept).cloned().collect();
                self.by_hand.extend(kept_keys);
            }
        }
        let any = !new.is_empty() || kept || !ttls.is_empty();
        self.stamp_all(new, last, &ttls);
        any
    }

    /// Gives new revisions to the entries that are later than the state before an edit: nobody knows whether the person
    /// has changed them too. Returns whether there are any.
    pub(crate) fn stamp_later(&mut self, before: Revision, modified: i64) -> bool {
        let is_later = |view: &EntryView<'_>| view.revision > before && !self.by_hand.contains(view.key);
        let keys: Vec<Key> = self.entries.iter().filter(is_later).map(|view| view.to_key()).collect();
        let any = !keys.is_empty();
        self.stamp_all(keys, self.revision.max(revision_at(modified)), &[]);
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
            self.entries.update(&key, |entry| {
                entry.revision = last;
                if entry.created.nanos() == 0 {
                    entry.created = last.time();
                }
                if let Some((_, ttl)) = ttls.iter().find(|(of, _)| *of == key) {
                    entry.expires = Some(last.time().plus(*ttl));
                }
            });
            self.revision = self.revision.max(last);
            self.by_hand.insert(key);
        }
    }

    fn is_unstamped(&self, key: &Key) -> bool {
        self.entries.view(key).is_some_and(|view| view.revision == Revision::ZERO)
    }

    /// All keys: those with a revision in its order, then those without in the order of the file.
    fn all(&self, unstamped: Vec<Key>) -> Vec<Key> {
        let mut stamped: Vec<_> = self.entries.iter().filter(|view| view.revision != Revision::ZERO).collect();
        stamped.sort_by_key(|view| view.revision);
        stamped.into_iter().map(|view| view.to_key()).chain(unstamped).collect()
    }

    /// Gives unchanged entries the revision that they had, unless it is in the file. Returns whether any entry got one.
    fn keep_unchanged(&mut self, before: &BucketState, ttls: &[(Key, Duration)]) -> bool {
        let mut kept = false;
        for was in before.entries.iter() {
            let Some(entry) = self.entries.view(was.key) else { continue };
            let is_unstamped = entry.revision == Revision::ZERO;
            let has_ttl = is_unstamped && ttls.iter().any(|(of, _)| of.as_str() == was.key) && was.expires.is_some();
            let is_unchanged = has_same_value(&entry, &was) && (entry.expires == was.expires || has_ttl);
            if is_unchanged && (is_unstamped || was.revision > entry.revision) {
                self.entries.insert(was.to_key(), was.to_entry());
                kept = true;
            }
        }
        kept
    }

    /// Whether the file has another value for this key than before, under a revision that is not later.
    ///
    /// kvs changes a value only under a later revision. It sets an earlier one only where a copy replaces an entry of
    /// its target (docs/moving.md).
    fn is_restamped(&self, was: &EntryView<'_>) -> bool {
        self.entries.view(was.key).is_some_and(|entry| {
            entry.revision != Revision::ZERO
                && (was.revision > entry.revision || was.revision == entry.revision && !has_same_value(&entry, was))
        })
    }

    /// Removes modification times that kvs set to guard the write before: the edit is later.
    fn forget_guards(&mut self, keys: &[Key], before: &BucketState) {
        for key in keys {
            let modified = self.entries.view(key).and_then(|view| view.modified);
            let was = modified.and_then(|_| before.entries.get(key));
            if was.is_some_and(|was| was.ahead_of(was.updated()) == modified) {
                self.entries.update(key, |entry| entry.modified = None);
            }
        }
    }

    /// The writes of the state `before` that the file has undone. `self` is the state of the file, and
    /// `header_revision` the revision in its header.
    ///
    /// The person who saved the file saw all writes up to the last one in the file. So if one of them is missing, they
    /// removed it on purpose. The same holds for entries that a person wrote.
    pub(crate) fn overwritten(&self, before: &BucketState, header_revision: Revision, now: Time) -> Overwritten {
        let same = |was: EntryView<'_>| {
            let entry = self.entries.view(was.key)?;
            (entry.revision == was.revision && !before.by_hand.contains(was.key)).then_some(was.revision)
        };
        let header_revision =
            Some(header_revision).filter(|header_revision| *header_revision <= before.revision).unwrap_or_default();
        let seen = before.entries.iter().filter_map(same).max().unwrap_or_default().max(header_revision);
        // Writes that the old state does not have yet are later than all of its writes.
        let is_later = self.entries.iter().any(|view| view.revision > before.revision);
        let seen = if is_later { before.revision } else { seen };
        let is_lost = |was: &EntryView<'_>| {
            let differs = |entry: EntryView<'_>| entry.revision != was.revision && !has_same_value(&entry, was);
            was.revision > seen
                && was.is_live(now)
                && !before.by_hand.contains(was.key)
                && self.entries.view(was.key).is_none_or(differs)
        };
        let entries = before.entries.iter().filter(is_lost).map(|was| was.to_pair()).collect();
        let is_back = |view: &EntryView<'_>| {
            view.revision != Revision::ZERO
                && view.revision <= seen
                && seen < before.revision
                && !before.entries.contains_key(view.key)
        };
        let returned = self.entries.iter().filter(is_back).map(|view| view.to_key()).collect();
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
        for view in keys.iter().filter_map(|key| self.entries.view(key)) {
            add(view.key.as_bytes());
            add(view.value);
            add(view.content_type.unwrap_or(ContentType::TEXT).as_bytes());
            add(&view.expires.map_or([0; 8], |time| time.nanos().to_le_bytes()));
        }
        let bytes = digest.finalize();
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> (64 - DIGEST_BITS)
    }
}

fn revision_at(modified: i64) -> Revision {
    Revision::new(u64::try_from(modified).unwrap_or(0))
}

/// Whether a reader gets the same value and type.
pub(crate) fn has_same_value(one: &EntryView<'_>, other: &EntryView<'_>) -> bool {
    one.value == other.value && one.content_type == other.content_type
}

#[cfg(test)]
mod tests;
