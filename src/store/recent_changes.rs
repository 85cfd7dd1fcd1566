//! The recent changes of a bucket, for stores that keep them in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::entries::Entries;
use crate::model::{ChangesPage, ChangesQuery, Entry, Key, KeyChange, Revision, Time};

/// The last change of each key that was changed recently. It has revisions and keys; the entries are in the store.
#[derive(Clone, Debug, Default)]
pub struct RecentChanges {
    /// All changes after this revision are known.
    start: Revision,
    by_place: BTreeMap<Place, Key>,
    by_key: HashMap<Key, Place>,
}

/// The place of a change in the order of all changes: its revision, and its number among the changes of this revision.
/// Each write has a revision of its own, but the deletions of one edit by a person share one.
type Place = (Revision, u32);

impl RecentChanges {
    /// The number of keys whose last change is remembered.
    pub const MAX_KEYS: usize = 10_000;

    /// No changes, complete from this revision on.
    #[must_use]
    pub fn after(start: Revision) -> Self {
        Self { start, ..Self::default() }
    }

    /// The beginning for a bucket that gets its first writes. Positions from before them, of an earlier bucket of this
    /// name, are not known.
    #[must_use]
    pub fn of_new_bucket(first: &[(Revision, Key)]) -> Self {
        Self::after(first.first().map_or(Revision::ZERO, |(revision, _)| revision.preceding()))
    }

    /// The changes after `query.since` that these entries show, whatever their number: of the keys with the prefix.
    #[must_use]
    pub fn of_entries(query: &ChangesQuery, entries: &Entries) -> Self {
        let mut changes = Self::after(query.since);
        let from = entries.range(Bound::Included(query.prefix.as_str()), Bound::Unbounded);
        for view in from.take_while(|view| view.key.starts_with(&query.prefix)) {
            if view.revision > query.since {
                changes.insert(view.revision, view.to_key());
            }
        }
        changes
    }

    /// All changes after this revision are known.
    #[must_use]
    pub fn start(&self) -> Revision {
        self.start
    }

    /// Whether a change of this key after a revision is known.
    #[must_use]
    pub fn has_after(&self, since: Revision, key: &Key) -> bool {
        self.by_key.get(key).is_some_and(|(revision, _)| *revision > since)
    }

    /// The changes after a revision, in their order.
    pub fn iter_after(&self, since: Revision) -> impl Iterator<Item = (Revision, &Key)> {
        let later = self.by_place.range((Bound::Excluded((since, u32::MAX)), Bound::Unbounded));
        later.map(|((revision, _), key)| (*revision, key))
    }

    /// Adds a change. The oldest ones are forgotten if there are too many.
    pub fn add(&mut self, revision: Revision, key: Key) {
        self.insert(revision, key);
        while self.by_key.len() > Self::MAX_KEYS
            && let Some(((revision, _), key)) = self.by_place.pop_first()
        {
            self.by_key.remove(&key);
            self.start = self.start.max(revision);
        }
    }

    /// Adds a change, unless a later one of the key is known. Nothing is forgotten.
    pub fn insert(&mut self, revision: Revision, key: Key) {
        let known = self.by_key.get(&key).copied();
        if revision <= self.start || known.is_some_and(|(known, _)| known >= revision) {
            return;
        }
        if let Some(earlier) = known {
            self.by_place.remove(&earlier);
        }
        let last = self.by_place.range((revision, 0)..=(revision, u32::MAX)).next_back();
        let place = (revision, last.map_or(0, |((_, number), _)| number + 1));
        self.by_key.insert(key.clone(), place);
        self.by_place.insert(place, key);
    }

    /// The page for a query over these entries, which may have expired. `revision` is that of the bucket. `None` if
    /// `query.since` is too long ago or in the future. [`Revision::ZERO`] needs only the entries.
    #[must_use]
    pub fn page_of(
        &self,
        query: &ChangesQuery,
        revision: Revision,
        entries: &Entries,
        now: Time,
    ) -> Option<ChangesPage> {
        let live = |key: &Key| entries.live(key, now);
        if query.since == Revision::ZERO && self.start > Revision::ZERO {
            return Self::of_entries(query, entries).page(query, revision, live);
        }
        self.page(query, revision, live)
    }

    /// The page for a query. `revision` is that of the bucket, and `lookup` returns the entry under a key unless it has
    /// expired. `None` if `query.since` is too long ago or in the future.
    pub fn page(
        &self,
        query: &ChangesQuery,
        revision: Revision,
        lookup: impl Fn(&Key) -> Option<Entry>,
    ) -> Option<ChangesPage> {
        if query.since < self.start || query.since > revision {
            return None;
        }
        let mut matching = self.iter_after(query.since).filter(|(_, key)| query.includes(key)).peekable();
        let (mut changes, mut last) = (Vec::new(), query.since);
        // Changes of one revision are never separated, because the next page begins after a revision.
        while let Some((revision, key)) =
            matching.next_if(|(revision, _)| changes.len() < query.limit || *revision == last)
        {
            last = revision;
            changes.push(KeyChange { revision, key: key.clone(), entry: lookup(key) });
        }
        let has_more = matching.peek().is_some();
        Some(ChangesPage { changes, next: if has_more { last } else { revision }, has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::new(&format!("k{n}")).unwrap()
    }

    #[test]
    fn only_the_last_change_of_a_key_is_known() {
        let mut changes = RecentChanges::after(Revision::new(5));
        for (revision, n) in [(4, 9), (6, 1), (7, 2), (8, 1)] {
            changes.add(Revision::new(revision), key(n));
        }
        changes.insert(Revision::new(6), key(2));
        let known: Vec<_> = changes.iter_after(Revision::new(5)).map(|(r, key)| (r.number(), key.as_str())).collect();
        assert_eq!(known, [(7, "k2"), (8, "k1")]);
    }

    #[test]
    fn changes_of_one_revision_are_in_one_page() {
        let mut changes = RecentChanges::default();
        for n in 0..5 {
            changes.add(Revision::new(7), key(n));
        }
        changes.add(Revision::new(8), key(9));
        let query = ChangesQuery { limit: 2, ..ChangesQuery::since(Revision::ZERO) };
        let page = changes.page(&query, Revision::new(8), |_| None).unwrap();
        assert_eq!((page.changes.len(), page.next.number(), page.has_more), (5, 7, true));
    }

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let mut changes = RecentChanges::default();
        for n in 0..=RecentChanges::MAX_KEYS {
            changes.add(Revision::new(n as u64 + 1), key(n));
            // A key that changes often takes no room.
            changes.add(Revision::new(n as u64 + 1), key(n));
        }
        assert_eq!(changes.start(), Revision::new(1));
        let revision = Revision::new(RecentChanges::MAX_KEYS as u64 + 1);
        let page = |since| changes.page(&ChangesQuery::since(Revision::new(since)), revision, |_| None);
        assert_eq!(page(0), None);
        let first = page(1).unwrap();
        assert_eq!((first.changes.len(), first.next.number(), first.has_more), (100, 101, true));
        assert_eq!(page(revision.number()).unwrap(), ChangesPage { next: revision, ..ChangesPage::default() });
        assert_eq!(page(revision.number() + 1), None);
    }
}
