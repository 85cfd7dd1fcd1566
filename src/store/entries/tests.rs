//! Tests of packed entries against an ordinary map.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{ContentType, Revision, Time};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn entry(value: impl Into<Bytes>, revision: u64) -> Entry {
    let revision = Revision::new(revision);
    Entry {
        value: value.into(),
        content_type: ContentType::default(),
        revision,
        created: revision.time(),
        modified: None,
        expires: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(String, Entry),
    Remove(String),
    Retain(u64),
    Clone,
}

prop_compose! {
    fn any_entry()(
        value in prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..60),
            1 => proptest::collection::vec(any::<u8>(), 900..1200),
        ],
        json in any::<bool>(),
        number in 0..u64::MAX / 4,
        created in proptest::option::of(any::<i64>()),
        modified in proptest::option::of(any::<i64>()),
        expires in proptest::option::of(any::<i64>()),
    ) -> Entry {
        let entry = entry(value, number);
        Entry {
            content_type: if json { ContentType::json() } else { ContentType::default() },
            created: created.map_or(entry.created, Time::from_nanos),
            modified: modified.map(Time::from_nanos),
            expires: expires.map(Time::from_nanos),
            ..entry
        }
    }
}

/// Few keys, so that they are often replaced, some with a common beginning and some long.
fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![10 => "[a-c]{1,4}", 2 => "ä[a-z]", 1 => "k{990,1024}"]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (any_key(), any_entry()).prop_map(|(key, entry)| Step::Insert(key, entry)),
        5 => any_key().prop_map(Step::Remove),
        1 => (0..u64::MAX / 4).prop_map(Step::Retain),
        1 => Just(Step::Clone),
    ]
}

fn assert_same(entries: &Entries, map: &BTreeMap<Key, Entry>) {
    let pairs: Vec<_> = entries.iter().map(|view| view.to_pair()).collect();
    assert_eq!(pairs, map.clone().into_iter().collect::<Vec<_>>());
    assert_eq!((entries.len(), entries.is_empty()), (map.len(), map.is_empty()));
    let mut back: Vec<_> = entries.range_rev(Bound::Unbounded, Bound::Unbounded).map(|view| view.to_key()).collect();
    back.reverse();
    assert_eq!(back, map.keys().cloned().collect::<Vec<_>>());
    for (key, entry) in map {
        assert_eq!(entries.get(key).as_ref(), Some(entry), "{key}");
    }
}

proptest! {
    #[test]
    fn entries_are_those_of_an_ordinary_map(
        steps in proptest::collection::vec(any_step(), 1..300),
        low in any_key(),
        high in any_key(),
    ) {
        let (mut entries, mut map) = (Entries::new(), BTreeMap::new());
        let mut cloned = (Entries::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(text, entry) => {
                    let was = map.insert(key(&text), entry.clone()).is_some();
                    prop_assert_eq!(entries.insert(key(&text), entry), was);
                }
                Step::Remove(text) => {
                    let was = map.remove(text.as_str()).is_some();
                    prop_assert_eq!(entries.remove(&key(&text)), was);
                }
                Step::Retain(number) => {
                    map.retain(|_, entry| entry.revision.number() > number);
                    entries.retain(|view| view.revision.number() > number);
                }
                Step::Clone => cloned = (entries.clone(), map.clone()),
            }
            prop_assert_eq!(entries.len(), map.len());
        }
        assert_same(&entries, &map);
        assert_same(&cloned.0, &cloned.1);
        let built: Entries = map.clone().into_iter().collect();
        prop_assert_eq!(&built, &entries);
        assert_same(&built, &map);
        let (low, high) = if low <= high { (low, high) } else { (high, low) };
        for low in [Bound::Unbounded, Bound::Included(low.as_str()), Bound::Excluded(low.as_str())] {
            for high in [Bound::Unbounded, Bound::Included(high.as_str()), Bound::Excluded(high.as_str())] {
                let is_empty = matches!((low, high), (Bound::Excluded(low), Bound::Excluded(high)) if low == high);
                let within = (!is_empty).then(|| map.range::<str, _>((low, high)));
                let expected: Vec<&str> = within.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                prop_assert_eq!(entries.range(low, high).map(|view| view.key).collect::<Vec<_>>(), expected.clone());
                let mut back: Vec<&str> = entries.range_rev(low, high).map(|view| view.key).collect();
                back.reverse();
                prop_assert_eq!(back, expected);
            }
        }
        for text in map.keys() {
            prop_assert!(entries.view(text).is_some_and(|view| view.key == text.as_str()));
        }
    }
}

#[test]
fn empty_ranges_are_empty() {
    let entries: Entries = (0..100).map(|n| (key(&format!("k{n:03}")), entry("x", n))).collect();
    for (low, high) in [("k050", "k050"), ("k051", "k050"), ("z", "a"), ("", "")] {
        assert_eq!(entries.range(Bound::Excluded(low), Bound::Excluded(high)).count(), 0, "{low} {high}");
        assert_eq!(Entries::new().range(Bound::Included(low), Bound::Unbounded).count(), 0);
    }
}

#[test]
fn unsorted_pairs_and_pairs_with_a_key_twice_are_collected() {
    let pairs = ["b", "c", "a", "c"].into_iter().enumerate();
    let entries: Entries = pairs.map(|(n, text)| (key(text), entry(text, n as u64))).collect();
    let found: Vec<_> = entries.iter().map(|view| (view.key, view.revision.number())).collect();
    assert_eq!(found, [("a", 2), ("b", 0), ("c", 3)]);
}

#[test]
fn small_values_do_not_keep_a_block_and_large_ones_are_shared() {
    let large = Bytes::from(vec![b'x'; 100_000]);
    let mut entries = Entries::new();
    entries.insert(key("large"), entry(large.clone(), 1));
    entries.insert(key("small"), entry("x", 2));
    assert_eq!(entries.get(&key("large")).unwrap().value.as_ptr(), large.as_ptr());
    let small = |entries: &Entries| entries.get(&key("small")).unwrap().value;
    assert_ne!(small(&entries).as_ptr(), small(&entries).as_ptr());
}

/// Blocks are filled whatever the order of the writes, so memory does not grow beyond the bytes.
#[test]
fn blocks_are_at_least_half_full() {
    let count = 10_000;
    let orders: [fn(usize) -> usize; 3] = [|n| n, |n| 10_000 - n, |n| n * 7919 % 10_007];
    for order in orders {
        let mut entries = Entries::new();
        for n in 0..count {
            entries.insert(key(&format!("k{:05}", order(n))), entry(vec![b'v'; 30], 1));
        }
        let bytes = 50 * entries.len();
        assert!(entries.blocks.len() <= bytes / 1000, "{} blocks for {bytes} bytes", entries.blocks.len());
        for n in (0..count).filter(|n| n % 10 > 0) {
            assert!(entries.remove(&key(&format!("k{:05}", order(n)))));
        }
        assert!(entries.blocks.len() <= bytes / 5000, "{} blocks are left", entries.blocks.len());
        let built: Entries = entries.iter().map(|view| view.to_pair()).collect();
        assert!(built.blocks.len() <= bytes / 16_000, "{} blocks for {bytes} bytes", built.blocks.len());
    }
}
