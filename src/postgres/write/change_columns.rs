//! The changes of a group of batches as the parameters of a statement: one list per column, the deleted keys, and the
//! changes to remember.

use std::collections::HashMap;

use crate::model::{Entry, Key, Revision, Time};
use crate::postgres::sql::row::{revision_number, type_name};
use crate::store::Group;

#[derive(Default)]
pub(crate) struct ChangeColumns<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) values: Vec<&'a [u8]>,
    pub(crate) types: Vec<Option<&'a str>>,
    pub(crate) revisions: Vec<i64>,
    pub(crate) created: Vec<i64>,
    pub(crate) modified: Vec<Option<i64>>,
    pub(crate) expires: Vec<Option<i64>>,
    pub(crate) deleted: Vec<&'a str>,
    /// The keys whose last change is not the revision of an entry.
    pub(crate) remembered: Vec<&'a str>,
    pub(crate) remembered_revisions: Vec<i64>,
}

impl<'a> ChangeColumns<'a> {
    /// `last` is the revision of the bucket before the group.
    pub(crate) fn new(group: &'a Group, last: Revision) -> Self {
        let mut columns = Self::default();
        columns.store(&group.changes);
        let last_writes: HashMap<&Key, Revision> = group.revisions.iter().map(|(at, key)| (key, *at)).collect();
        for (key, at) in last_writes {
            let entry = group.changes.get(key).and_then(Option::as_ref);
            if entry.is_none_or(|entry| entry.revision != at) {
                columns.remember(key.as_str(), revision_number(at));
            }
        }
        if let (Revision::ZERO, Some((first, _))) = (last, group.revisions.first()) {
            // A new bucket gets its mark. If it existed before, its deletions in that time are not known.
            columns.remember("", revision_number(*first).saturating_sub(1));
        }
        columns
    }

    fn remember(&mut self, key: &'a str, revision: i64) {
        self.remembered.push(key);
        self.remembered_revisions.push(revision);
    }

    /// `changes` has the new entry of each changed key; `None` deletes it.
    fn store(&mut self, changes: &'a HashMap<Key, Option<Entry>>) {
        for (key, entry) in changes {
            let Some(entry) = entry else {
                self.deleted.push(key.as_str());
                continue;
            };
            self.keys.push(key.as_str());
            self.values.push(&entry.value);
            self.types.push(type_name(&entry.content_type));
            self.revisions.push(revision_number(entry.revision));
            self.created.push(entry.created.nanos());
            self.modified.push(entry.modified.map(Time::nanos));
            self.expires.push(entry.expires.map(Time::nanos));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Batch, Write};
    use crate::store::{Limits, Moment, evaluate_all};

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    /// What is remembered of a batch at the time 100, sorted.
    fn remembered(writes: Vec<Write>, last: u64) -> Vec<(i64, String)> {
        let last = Revision::new(last);
        let start = Moment::new(Time::from_nanos(100), last);
        let group = evaluate_all(&[Batch::new(writes)], Limits::default(), start, |_| None, |_, _| {});
        let columns = ChangeColumns::new(&group, last);
        let keys = columns.remembered.iter().map(|key| (*key).to_owned());
        let mut remembered: Vec<_> = columns.remembered_revisions.iter().copied().zip(keys).collect();
        remembered.sort();
        remembered
    }

    #[test]
    fn only_changes_that_no_entry_shows_are_remembered() {
        let put = |name: &str| Write::put(key(name), "1");
        let touch = |name: &str| Write::Touch { key: key(name), expires: Some(Time::from_nanos(500)) };
        let delete = |name: &str| Write::Delete { key: key(name) };
        assert_eq!(remembered(vec![put("a"), put("b"), put("a")], 7), []);
        let writes = vec![put("a"), delete("a"), put("b"), touch("b"), put("c"), touch("c"), put("c"), delete("d")];
        assert_eq!(remembered(writes, 7), [(101, "a".to_owned()), (103, "b".to_owned())]);
        let old = Entry { revision: Revision::new(5), ..evaluated_entry() };
        let new = Entry { revision: Revision::new(200), ..old.clone() };
        let restore = |name: &str, entry: &Entry| Write::Restore { key: key(name), entry: entry.clone() };
        assert_eq!(remembered(vec![restore("a", &old), restore("b", &new)], 7), [(8, "a".to_owned())]);
    }

    #[test]
    fn a_new_bucket_gets_a_mark() {
        let writes = vec![Write::put(key("a"), "1"), Write::put(key("b"), "1")];
        assert_eq!(remembered(writes, 0), [(99, String::new())]);
    }

    fn evaluated_entry() -> Entry {
        let start = Moment::new(Time::from_nanos(100), Revision::ZERO);
        let batch = Batch::new(vec![Write::put(key("x"), "1")]);
        let mut group = evaluate_all(&[batch], Limits::default(), start, |_| None, |_, _| {});
        group.changes.remove(&key("x")).flatten().unwrap()
    }
}
