//! What a bucket holds, as its file tells it: the state in memory that readers see, and how documents change it.

use std::collections::BTreeMap;

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

    /// Gives revisions to what a person wrote: in its order, after all others, not before the file was changed.
    ///
    /// Processes that knew the same file before come to the same revisions. What stood there already in `old`, the state
    /// before the person's edit, keeps its revision; what has another value under its old revision gets a new one.
    /// Returns whether the file no longer says what the image does.
    pub(super) fn stamp(&mut self, unstamped: Unstamped, old: &Image, modified: i64) -> bool {
        let mut stamped = false;
        let mut changed = Vec::new();
        for (key, was) in &old.entries {
            let Some(entry) = self.entries.get_mut(key).filter(|e| e.revision != Revision::ZERO) else { continue };
            // kvs itself changes no value without a later revision, and gives an earlier one only where a copy replaces
            // what stands in its target (docs/moving.md).
            if was.revision > entry.revision && was.says_as(entry) {
                // Edited before, and stamped then in memory only.
                *entry = was.clone();
                stamped = true;
            } else if was.revision > entry.revision || was.revision == entry.revision && was.value != entry.value {
                changed.push(key.clone());
            }
        }
        let changed_at = Revision::new(u64::try_from(modified).unwrap_or(0));
        let mut last = self.revision.max(old.revision).max(changed_at);
        // A later line of the same key may tell its revision.
        let is_unstamped = |key: &Key| self.entries.get(key).is_some_and(|entry| entry.revision == Revision::ZERO);
        let unstamped: Vec<Key> = unstamped.0.into_iter().filter(is_unstamped).collect();
        for key in unstamped.into_iter().chain(changed) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if let Some(was) = old.entries.get(&key).filter(|was| was.says_as(entry)) {
                *entry = was.clone();
            } else {
                last = Revision::new(last.number().saturating_add(1));
                let fresh = entry.created.nanos() == 0;
                // Not a client's but ours, of the write before: the edit is later.
                let ours = old.entries.get(&key).and_then(|was| was.ahead_of(was.updated()));
                entry.modified = entry.modified.filter(|modified| ours != Some(*modified));
                entry.revision = last;
                if fresh {
                    entry.created = old.entries.get(&key).map_or(last.time(), |was| was.created);
                }
            }
            self.revision = self.revision.max(entry.revision);
            stamped = true;
        }
        stamped
    }
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
        if given.updated.is_none() {
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
    fn what_did_not_change_keeps_its_revision_and_what_did_gets_a_new_one() {
        let time = Some("2026-11-20T12:00:00Z");
        let (old, _) = image(vec![line("a", "1", None), line("b", "2", time)], &Image::default(), 7);
        let (new, _) = image(vec![line("a", "1", None), line("b", "3", time)], &old, 9_999_999_999_999_999);
        assert_eq!(new.entries.get("a"), old.entries.get("a"));
        assert!(new.entries.get("b").unwrap().revision > old.revision);
    }
}
