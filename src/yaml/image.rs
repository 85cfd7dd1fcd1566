//! What a bucket holds, as its file tells it: the state in memory that readers see, and how documents change it.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::disk::Stat;
use super::hand::Fault;
use super::line::Line;
use crate::model::{Entry, Key, Revision};

/// The state of a bucket. All of it is durable.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// The greatest revision given to any write.
    pub(super) revision: Revision,
    /// The state of the file it was read from; none if there was none.
    pub(super) stat: Option<Stat>,
    /// Why the file cannot be read to its end, if so: the image is then the last good state and no write is done.
    pub(super) damage: Option<Damage>,
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    pub(super) fault: Fault,
    /// Whether nothing of the file is known, so that nothing can be read either.
    pub(super) blind: bool,
}

/// What documents say that does not yet have revisions of its own.
#[derive(Debug, Default)]
pub(super) struct Unstamped(Vec<Key>);

impl Image {
    /// Whether it is a state to go on serving while the file cannot be read.
    pub(super) fn is_good(&self) -> bool {
        match &self.damage {
            Some(damage) => !damage.blind,
            None => self.stat.is_some(),
        }
    }

    /// Takes a document in. Lines that tell no revision get [`Revision::ZERO`] until [`stamp`](Self::stamp).
    pub(super) fn take(&mut self, lines: Vec<Line>, unstamped: &mut Unstamped) {
        if self.entries.is_empty() && lines.iter().all(|line| line.given.is_some()) {
            // A snapshot: built at once, which for sorted lines is much faster than one by one.
            let revision = lines.iter().map(Line::moves_to).max().unwrap_or_default();
            self.revision = self.revision.max(revision);
            self.entries = lines.into_iter().filter_map(|line| line.entry(unstamped)).collect();
            return;
        }
        for line in lines {
            self.revision = self.revision.max(line.moves_to());
            let key = line.key.clone();
            match line.entry(unstamped) {
                Some((key, entry)) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
    }

    /// Gives revisions to what a person wrote: in its order, after all others, not before the file was changed. Returns
    /// whether the file no longer says what the image does.
    ///
    /// The revisions of entries without `updated` follow from the file alone, so every process comes to the same ones. What
    /// has another value under its old revision than in `old`, the state before the edit, gets a later one.
    pub(super) fn stamp(&mut self, unstamped: Unstamped, old: &Image, modified: i64) -> bool {
        let mut stamped = self.keep_edited(old);
        let changed = self.changed_since(old);
        let keys: Vec<Key> = unstamped.0.into_iter().filter(|key| self.is_unstamped(key)).collect();
        for key in keys.iter().chain(&changed) {
            if let (Some(entry), Some(was)) = (self.entries.get_mut(key), old.entries.get(key)) {
                // Not a client's but ours, of the write before: the edit is later.
                entry.modified = entry.modified.filter(|modified| was.ahead_of(was.updated()) != Some(*modified));
            }
        }
        let unstamped = self.first_free(&keys, self.revision.max(revision_at(modified)));
        stamped |= self.stamp_all(keys, unstamped);
        let later = self.first_free(&changed, self.revision.max(old.revision).max(revision_at(modified)));
        stamped | self.stamp_all(changed, later)
    }

    fn stamp_all(&mut self, keys: Vec<Key>, mut last: Revision) -> bool {
        let any = !keys.is_empty();
        for key in keys {
            last = last.following();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.revision = last;
                if entry.created.nanos() == 0 {
                    entry.created = last.time();
                }
            }
            self.revision = self.revision.max(last);
        }
        any
    }

    fn is_unstamped(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.revision == Revision::ZERO)
    }

    /// What a person changed before without removing its `updated`, and has a later revision in memory only, keeps that.
    fn keep_edited(&mut self, old: &Image) -> bool {
        let mut kept = false;
        for (key, was) in &old.entries {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            if entry.revision != Revision::ZERO && was.revision > entry.revision && was.says_as(entry) {
                *entry = was.clone();
                kept = true;
            }
        }
        kept
    }

    /// The keys whose value a person changed without removing its `updated`.
    ///
    /// kvs itself changes no value without a later revision, and gives an earlier one only where a copy replaces the entry
    /// of its target (docs/moving.md).
    fn changed_since(&self, old: &Image) -> Vec<Key> {
        let changed = |(key, was): &(&Key, &Entry)| {
            self.entries.get(*key).is_some_and(|entry| {
                entry.revision != Revision::ZERO
                    && (was.revision > entry.revision || was.revision == entry.revision && was.value != entry.value)
            })
        };
        old.entries.iter().filter(changed).map(|(key, _)| key.clone()).collect()
    }

    /// The revision before the first one of these entries, at least `least`.
    ///
    /// It is `least`, mostly the time of the change, moved by a digest of what the entries say: two files with one time of
    /// change, such as copies made by `cp -p`, do not give one revision to two values. The move is less than 2^27 ns, a
    /// seventh of a second.
    fn first_free(&self, keys: &[Key], least: Revision) -> Revision {
        let least = least.number();
        let slot = (least >> DIGEST_BITS << DIGEST_BITS).saturating_add(self.digest(keys));
        Revision::new(if slot < least { slot.saturating_add(1 << DIGEST_BITS) } else { slot })
    }

    /// What these entries say, in [`DIGEST_BITS`] bits.
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

/// The width of the digest in the revisions of entries that a person wrote.
const DIGEST_BITS: u32 = 26;

fn revision_at(modified: i64) -> Revision {
    Revision::new(u64::try_from(modified).unwrap_or(0))
}

impl Entry {
    /// Whether a person would write both in the same way.
    fn says_as(&self, other: &Self) -> bool {
        self.value == other.value && self.content_type == other.content_type && self.expires == other.expires
    }
}

impl Line {
    /// The revision its write took, as far as it tells.
    fn moves_to(&self) -> Revision {
        let updated = self.given.as_ref().and_then(|given| given.updated).map(Revision::from);
        self.revision.max(updated).unwrap_or_default()
    }

    fn entry(self, unstamped: &mut Unstamped) -> Option<(Key, Entry)> {
        let given = self.given?;
        let revision = given.updated.map_or(Revision::ZERO, Revision::from);
        if revision == Revision::ZERO {
            unstamped.0.push(self.key.clone());
        }
        Some((self.key, given.at(revision)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Given;
    use super::*;

    fn line(key: &str, value: &str, updated: Option<&str>) -> Line {
        let mut given = Given::text(value.to_owned());
        given.updated = updated.map(|time| time.parse().unwrap());
        Line { key: Key::new(key).unwrap(), given: Some(given), revision: None }
    }

    fn image(lines: Vec<Line>, old: &Image, modified: i64) -> (Image, bool) {
        let mut image = Image::default();
        let mut unstamped = Unstamped::default();
        image.take(lines, &mut unstamped);
        let stamped = image.stamp(unstamped, old, modified);
        (image, stamped)
    }

    #[test]
    fn what_a_person_wrote_is_newest_in_its_order() {
        let old = "2026-11-20T12:00:00Z";
        let (image, stamped) =
            image(vec![line("b", "1", None), line("a", "2", None), line("c", "3", Some(old))], &Image::default(), 7);
        let revision = |key: &str| image.entries.get(key).unwrap().revision;
        assert!(stamped && revision("c") < revision("b") && revision("b") < revision("a"));
        assert_eq!(image.revision, revision("a"));
    }

    #[test]
    fn the_file_alone_says_what_revision_an_entry_by_hand_has() {
        let lines = |a: &str| vec![line("a", a, None), line("b", "2", None)];
        let (first, _) = image(lines("1"), &Image::default(), 7);
        let (edited, _) = image(lines("9"), &first, 8_000_000_000);
        let (fresh, _) = image(lines("9"), &Image::default(), 8_000_000_000);
        assert_eq!(edited.entries, fresh.entries);
        assert!(
            edited.entries.values().all(|entry| entry.revision > first.revision && entry.created == entry.updated())
        );
    }

    #[test]
    fn two_values_have_two_revisions_also_with_one_time_of_change() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..200 {
            for modified in [i64::MIN, -1, 0, 1, 1_000_000_000] {
                let (image, _) = image(vec![line("a", &n.to_string(), None)], &Image::default(), modified);
                let revision = image.entries.values().next().unwrap().revision;
                let least = revision_at(modified);
                assert!(revision > least && revision.number() - least.number() <= (1 << (DIGEST_BITS + 1)));
                seen.insert(revision);
            }
        }
        assert_eq!(seen.len(), 2 * 200, "times before 1970 count as its beginning, as does one a nanosecond later");
    }

    #[test]
    fn a_value_changed_under_its_old_time_gets_a_new_revision() {
        let time = Some("2026-11-20T12:00:00Z");
        let (old, _) = image(vec![line("b", "2", time), line("c", "4", time)], &Image::default(), 7);
        let (new, stamped) = image(vec![line("b", "3", time), line("c", "4", time)], &old, 9_999_999_999_999_999);
        assert!(stamped && new.entries.get("b").unwrap().revision > old.revision);
        assert_eq!(new.entries.get("c"), old.entries.get("c"));
    }
}
