//! Restores: an entry keeps its times and its revision, and never replaces a newer one.

use std::collections::BTreeSet;

use super::cases::cases;
use super::store_under_test::{TestBench, json, key};
use crate::model::{ContentType, Entry, ErrorKind, Key, Revision, Time, Write};

cases![
    an_entry_is_restored_with_all_its_times,
    the_bucket_gets_the_revision_or_the_next_one,
    later_writes_get_later_revisions,
    only_an_older_entry_is_replaced,
    the_same_revision_must_have_the_same_value,
    restoring_an_equal_entry_changes_nothing,
    a_deleted_entry_can_be_restored,
    an_expired_entry_is_not_restored,
    a_revision_out_of_range_is_invalid,
    a_value_above_the_limit_is_not_restored,
    any_bytes_are_restored,
];

/// An entry of another store with this revision.
fn entry(value: &str, revision: u64) -> Entry {
    Entry {
        value: value.to_owned().into(),
        content_type: json(),
        revision: Revision::new(revision),
        created: Time::from_nanos(7),
        modified: Some(Time::from_nanos(-1_234_567_890)),
        expires: None,
    }
}

fn restore(name: &str, entry: &Entry) -> Write {
    Write::Restore { key: key(name), entry: entry.clone() }
}

async fn an_entry_is_restored_with_all_its_times(bench: TestBench) {
    let entry = Entry { expires: Some(bench.secs_ahead(60)), ..entry("{}", 1_234_567_890_123_456_789) };
    let (revision, changes) = bench.commit(vec![restore("a", &entry)]).await;
    assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (None, Some(entry.clone())));
    assert_eq!(revision, entry.revision);
    assert_eq!(bench.revision().await, revision);
    assert_eq!(bench.entry("a").await, Some(entry.clone()));
    assert_eq!(bench.seen().await.entries, [(key("a"), Some(entry))]);
    bench.advance(60);
    assert_eq!(bench.entry("a").await, None);
}

async fn the_bucket_gets_the_revision_or_the_next_one(bench: TestBench) {
    let (old, new) = (entry("old", 500), entry("new", 700));
    let mut reached = vec![];
    for (name, entry) in [("a", &new), ("b", &old), ("c", &entry("c", 701)), ("d", &entry("d", 702))] {
        reached.push(bench.commit(vec![restore(name, entry)]).await.0.number());
        assert_eq!(bench.revision().await.number(), *reached.last().unwrap());
        assert_eq!(bench.entry(name).await.as_ref(), Some(entry));
    }
    assert_eq!(reached, [700, 701, 702, 703]);
    let together = vec![restore("e", &entry("e", 900)), restore("f", &entry("f", 3)), restore("g", &entry("g", 902))];
    assert_eq!(bench.commit(together).await.0.number(), 902);
    assert_eq!(bench.entry("f").await, Some(entry("f", 3)));
}

async fn later_writes_get_later_revisions(bench: TestBench) {
    let ahead = Revision::from(bench.secs_ahead(60));
    let entry = Entry { revision: ahead, ..entry("1", 1) };
    let (revision, changes) = bench.commit(vec![restore("a", &entry), Write::put(key("b"), "2")]).await;
    assert_eq!(revision.number(), ahead.number() + 1);
    assert_eq!(changes[1].after.as_ref().unwrap().revision, revision);
    let later = bench.put("a", "3").await;
    assert_eq!((later.revision.number(), later.created), (ahead.number() + 2, entry.created));
}

async fn only_an_older_entry_is_replaced(bench: TestBench) {
    let current = bench.put("a", "native").await;
    let earlier = entry("earlier", current.revision.number() - 1);
    let error = bench.fails(vec![restore("other", &entry("x", 5)), restore("a", &earlier)]).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("newer"), "{error}");
    let later = entry("later", current.revision.number() + 1);
    let change = bench.write(restore("a", &later)).await;
    assert_eq!((change.before, change.after), (Some(current), Some(later.clone())));
    assert_eq!(bench.entry("a").await, Some(later));
}

async fn the_same_revision_must_have_the_same_value(bench: TestBench) {
    let first = entry("1", 500);
    bench.commit(vec![restore("a", &first)]).await;
    assert_eq!(bench.fails(vec![restore("a", &entry("2", 500))]).await.kind(), ErrorKind::Invalid);
    let touched = Entry {
        expires: Some(bench.secs_ahead(60)),
        content_type: ContentType::default(),
        created: Time::from_nanos(8),
        modified: None,
        ..first
    };
    let (revision, changes) = bench.commit(vec![restore("a", &touched)]).await;
    assert_eq!((revision.number(), changes[0].after.as_ref()), (501, Some(&touched)));
    assert_eq!(bench.entry("a").await, Some(touched));
}

async fn restoring_an_equal_entry_changes_nothing(bench: TestBench) {
    bench.commit(vec![restore("a", &entry("1", 500))]).await;
    let before = bench.seen().await;
    assert_eq!(bench.commit(vec![restore("a", &entry("1", 500))]).await.0, before.revision);
    assert_eq!(bench.seen().await, before);
}

async fn a_deleted_entry_can_be_restored(bench: TestBench) {
    bench.put("a", "native").await;
    let earlier = entry("earlier", 500);
    let (revision, changes) = bench.commit(vec![Write::Delete { key: key("a") }, restore("a", &earlier)]).await;
    assert_eq!((changes[1].before.clone(), changes[1].after.as_ref()), (None, Some(&earlier)));
    assert_eq!(bench.revision().await, revision);
    assert_eq!(bench.entry("a").await, Some(earlier));
}

async fn an_expired_entry_is_not_restored(bench: TestBench) {
    bench.put("a", "1").await;
    let before = bench.seen().await;
    let ended = Entry { expires: Some(bench.now()), ..entry("x", 500) };
    let (revision, changes) = bench.commit(vec![restore("b", &ended)]).await;
    assert_eq!((revision, changes[0].after.clone()), (before.revision, None));
    assert_eq!(bench.seen().await, before);
}

async fn a_revision_out_of_range_is_invalid(bench: TestBench) {
    for revision in [0, 1 << 63, u64::MAX] {
        let error = bench.fails(vec![restore("a", &entry("1", revision))]).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{revision}");
    }
    bench.write(restore("a", &entry("1", 1))).await;
    assert_eq!(bench.entry("a").await, Some(entry("1", 1)));
}

async fn a_value_above_the_limit_is_not_restored(bench: TestBench) {
    let big = |length: usize| Entry { value: vec![b'x'; length].into(), ..entry("", 500) };
    assert_eq!(
        bench.fails(vec![restore("a", &big(bench.limits.max_value_bytes + 1))]).await.kind(),
        ErrorKind::TooLarge
    );
    bench.write(restore("a", &big(bench.limits.max_value_bytes))).await;
    assert_eq!(bench.value("a").await.unwrap().len(), bench.limits.max_value_bytes);
}

async fn any_bytes_are_restored(bench: TestBench) {
    let values: [&[u8]; 4] = [b"", b"\0\xff\xfe", "\u{2028}...\n---\n".as_bytes(), b"~"];
    let long = Key::new(&"\u{e9}".repeat(512)).unwrap();
    let names: BTreeSet<Key> = super::hostile_strings::hostile_keys().into_iter().chain([long]).collect();
    let mut writes = vec![];
    for (name, (revision, value)) in names.iter().zip((1..).zip(values.iter().cycle())) {
        let entry = Entry { value: bytes::Bytes::copy_from_slice(value), ..entry("", revision) };
        writes.push(Write::Restore { key: name.clone(), entry });
    }
    bench.commit(writes.clone()).await;
    for write in writes {
        let Write::Restore { key, entry } = write else { continue };
        assert_eq!(bench.entry(key.as_str()).await, Some(entry));
    }
}
