//! Batches: the order of their revisions, atomicity, and the independence of buckets.

use std::time::Duration;

use bytes::Bytes;

use super::cases::cases;
use super::store_under_test::{TestBench, expect, key};
use crate::model::{
    Batch, Bucket, Change, Condition, ContentType, End, Entry, ErrorKind, Outcome, Returning, Revision, Time, Write,
};

cases![
    a_revision_is_the_time_of_the_commit,
    each_write_gets_its_own_revision,
    each_change_has_the_entry_before_it,
    revisions_grow_while_the_clock_stands_still,
    revisions_grow_when_the_clock_steps_back,
    revisions_grow_before_1970,
    deletes_and_touches_take_a_revision,
    a_later_write_sees_the_earlier_ones,
    a_read_sees_the_writes_before_it,
    a_key_deleted_and_put_in_one_batch_is_created_again,
    a_batch_that_returns_less_does_the_same,
    a_failed_last_write_undoes_the_whole_batch,
    a_thousand_writes_are_one_batch,
    buckets_are_independent,
    buckets_are_listed_by_name,
    reading_a_missing_bucket_does_not_create_it,
    get_returns_the_order_of_the_request,
];

fn puts(names: &[&str]) -> Vec<Write> {
    names.iter().map(|name| Write::put(key(name), (*name).to_owned())).collect()
}

async fn a_revision_is_the_time_of_the_commit(bench: TestBench) {
    assert_eq!(bench.revision().await, Revision::ZERO);
    for _ in 0..3 {
        let (revision, changes) = bench.commit(puts(&["a"])).await;
        assert_eq!(revision, Revision::from(bench.now()));
        assert_eq!(changes[0].after.as_ref().unwrap().updated(), bench.now());
        bench.advance(1);
    }
}

async fn each_write_gets_its_own_revision(bench: TestBench) {
    let (revision, changes) = bench.commit(puts(&["c", "a", "b", "a"])).await;
    let order: Vec<Revision> = changes.iter().map(|c| c.after.as_ref().unwrap().revision).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    assert_eq!(order.last(), Some(&revision), "that of the bucket is the last one");
    assert_eq!(bench.revision().await, revision);
    assert_eq!(bench.entry("a").await.unwrap().revision, order[3], "the last write of a key wins");
    assert_eq!(bench.entry("c").await.unwrap().revision, order[0]);
}

async fn each_change_has_the_entry_before_it(bench: TestBench) {
    let existing = bench.put("other", "x").await;
    let mut before = [None, None];
    for value in ["1", "2", "3"] {
        let (_, changes) = bench.commit(vec![Write::put(key("a"), value), Write::put(key("b"), value)]).await;
        assert_eq!([changes[0].before.clone(), changes[1].before.clone()], before, "before {value}");
        before = [bench.entry("a").await, bench.entry("b").await];
        assert_eq!([changes[0].after.clone(), changes[1].after.clone()], before, "after {value}");
        let lone = bench.write(Write::put(key("c"), value)).await;
        let last = (value != "1").then(|| (value.parse::<u8>().unwrap() - 1).to_string());
        assert_eq!(lone.before.map(|entry| entry.value), last.map(Into::into), "before {value}");
    }
    let (_, changes) = bench.commit(vec![Write::put(key("a"), "4"), Write::Delete { key: key("b") }]).await;
    assert_eq!([changes[0].before.clone(), changes[1].before.clone()], before);
    assert_eq!(bench.entry("other").await, Some(existing));
}

/// Writes three times without moving the clock. Returns the last revision.
async fn write_three_times(bench: &TestBench, after: Revision) -> Revision {
    let mut last = after;
    for name in ["x", "y", "x"] {
        let (revision, changes) = bench.commit(puts(&[name, "z"])).await;
        let first = changes[0].after.as_ref().unwrap().revision;
        assert!(last < first && first < revision, "{last:?} {first:?} {revision:?}");
        last = revision;
    }
    last
}

async fn revisions_grow_while_the_clock_stands_still(bench: TestBench) {
    let last = write_three_times(&bench, Revision::ZERO).await;
    assert!(last.time().since(bench.now()) < Duration::from_micros(1), "and stay near the time");
}

async fn revisions_grow_when_the_clock_steps_back(bench: TestBench) {
    let last = write_three_times(&bench, Revision::ZERO).await;
    bench.clock.step_back(Duration::from_secs(3600));
    let last = write_three_times(&bench, last).await;
    bench.clock.advance(Duration::from_secs(7200));
    write_three_times(&bench, last).await;
    assert_eq!(bench.entry("x").await.unwrap().updated().floor_to_second(), bench.now().floor_to_second());
}

async fn revisions_grow_before_1970(bench: TestBench) {
    bench.clock.set(Time::from_secs(-5));
    write_three_times(&bench, Revision::ZERO).await;
    assert_eq!(bench.value("x").await.unwrap(), "x");
}

async fn deletes_and_touches_take_a_revision(bench: TestBench) {
    bench.commit(puts(&["a", "b"])).await;
    let touch = Write::Touch { key: key("b"), expires: Some(bench.secs_ahead(9)) };
    let mut writes = puts(&["c"]);
    writes.extend([Write::Delete { key: key("a") }, touch, Write::put(key("d"), "d")]);
    let (revision, changes) = bench.commit(writes).await;
    let at = |index: usize| changes[index].after.as_ref().unwrap().revision.number();
    assert!(at(0) + 3 <= at(3), "two revisions are in between: {} {}", at(0), at(3));
    assert_eq!(revision.number(), at(3));
    let last = bench.commit(vec![Write::Delete { key: key("d") }]).await.0;
    assert!(last > revision);
    assert_eq!(bench.revision().await, last);
}

async fn a_later_write_sees_the_earlier_ones(bench: TestBench) {
    let name = key("a");
    let end = bench.secs_ahead(9);
    let (_, changes) = bench
        .commit(vec![
            Write::put(name.clone(), "1"),
            Write::Increment { key: name.clone(), by: 4 },
            Write::Append { key: name.clone(), value: "0".into(), end: End::Append },
            Write::Touch { key: name.clone(), expires: Some(end) },
            Write::Delete { key: name.clone() },
            Write::Increment { key: name, by: 7 },
        ])
        .await;
    let values: Vec<Option<&[u8]>> = changes.iter().map(|c| c.after.as_ref().map(|e| &*e.value)).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(b"5"), Some(b"50"), Some(b"50"), None, Some(b"7")]);
    for pair in changes.windows(2) {
        assert_eq!(pair[0].after, pair[1].before, "each write starts from the result of the one before it");
    }
    assert_eq!(bench.entry("a").await, changes[5].after);
}

async fn a_read_sees_the_writes_before_it(bench: TestBench) {
    let old = bench.put("a", "1").await;
    let read = |name| Write::Read { key: key(name) };
    let writes =
        vec![read("a"), Write::put(key("a"), "2"), read("a"), read("missing"), Write::Delete { key: key("a") }];
    let (_, changes) = bench.commit(writes).await;
    assert_eq!((changes[0].before.as_ref(), changes[0].after.as_ref()), (Some(&old), Some(&old)));
    assert_eq!((&changes[2].before, &changes[2].after), (&changes[1].after, &changes[1].after));
    assert_eq!((&changes[3].before, &changes[3].after), (&None, &None));
    let revision = bench.revision().await;
    assert_eq!(bench.commit(vec![read("a"), read("missing")]).await.0, revision, "a read keeps the revision");
}

async fn a_key_deleted_and_put_in_one_batch_is_created_again(bench: TestBench) {
    let old = bench.put("a", "1").await;
    bench.advance(9);
    bench.commit(vec![Write::Delete { key: key("a") }, Write::put(key("a"), "2")]).await;
    let new = bench.entry("a").await.unwrap();
    assert!(new.created > old.created && new.created.floor_to_second() == bench.now().floor_to_second());
}

async fn a_batch_that_returns_less_does_the_same(bench: TestBench) {
    let other = TestBench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    let third = TestBench { bucket: Bucket::new("third").unwrap(), ..bench.clone() };
    let brief = |key, value: &'static str, secs| Write::Put {
        key,
        value: value.into(),
        content_type: ContentType::default(),
        expires: Some(bench.secs_ahead(secs)),
        modified: Some(Time::from_secs(7)),
    };
    let steps = [
        vec![Write::put(key("a"), "1")],
        vec![brief(key("a"), "2", 60), brief(key("b"), "2", 3), Write::put(key("c"), "2")],
        vec![Write::put(key("c"), "3")],
        // "b" has expired here.
        vec![Write::put(key("d"), "4"), Write::put(key("b"), "4"), Write::put(key("a"), "4")],
        vec![Write::put(key("a"), "5"), Write::put(key("a"), "6"), Write::Delete { key: key("c") }],
        vec![Write::Delete { key: key("none") }, Write::Increment { key: key("a"), by: 1 }],
        vec![Write::Delete { key: key("none") }],
        vec![brief(key("d"), "7", 0)],
    ];
    for writes in steps {
        let (revision, changes) = bench.commit(writes.clone()).await;
        let batch = Batch::new(writes.clone()).returning(Returning::Nothing);
        let outcome = other.store.apply(&other.bucket, batch).await.unwrap();
        assert_eq!(outcome, Outcome::Committed { revision, changes: vec![] }, "{writes:?}");
        let batch = Batch::new(writes.clone()).returning(Returning::Metadata);
        let outcome = third.store.apply(&third.bucket, batch).await.unwrap();
        let without_values = |change: Change| [change.before, change.after].map(|entry| entry.map(without_value));
        let Outcome::Committed { revision: returned, changes: metadata } = outcome else { panic!("refused") };
        let metadata: Vec<_> = metadata.into_iter().map(without_values).collect();
        let expected: Vec<_> = changes.into_iter().map(without_values).collect();
        assert_eq!((returned, metadata), (revision, expected), "{writes:?}");
        assert_eq!(other.seen().await, bench.seen().await, "{writes:?}");
        assert_eq!(third.seen().await, bench.seen().await, "{writes:?}");
        bench.advance(2);
    }
    let absent = expect("a", Condition::Absent);
    let refused = Batch::new(puts(&["a"])).with_expectations(vec![absent]).returning(Returning::Nothing);
    let outcome = other.store.apply(&other.bucket, refused).await.unwrap();
    let found = other.entry("a").await;
    assert_eq!(outcome, Outcome::PreconditionFailed { index: 0, found }, "the failed expectation is returned");
}

fn without_value(entry: Entry) -> Entry {
    Entry { value: Bytes::new(), content_type: ContentType::default(), ..entry }
}

async fn a_failed_last_write_undoes_the_whole_batch(bench: TestBench) {
    bench.commit(puts(&["a", "b"])).await;
    let mut writes = puts(&["a", "c"]);
    writes.push(Write::Delete { key: key("b") });
    let big = Write::put(key("d"), vec![b'x'; bench.limits.max_value_bytes + 1]);
    let no_number = Write::Increment { key: key("a"), by: 1 };
    for (last, kind) in [(big, ErrorKind::TooLarge), (no_number, ErrorKind::Invalid)] {
        let mut writes = writes.clone();
        writes.push(last);
        assert_eq!(bench.fails(writes).await.kind(), kind);
    }
    let before = bench.seen().await;
    let outcome = bench.apply(vec![expect("c", Condition::Present)], writes).await;
    assert_eq!(outcome, Outcome::PreconditionFailed { index: 0, found: None });
    assert_eq!(bench.seen().await, before);
}

async fn a_thousand_writes_are_one_batch(bench: TestBench) {
    let names: Vec<String> = (0..1000).map(|n| format!("key/{n:04}")).collect();
    let writes = names.iter().map(|name| Write::put(key(name), name.clone())).collect();
    let (revision, changes) = bench.commit(writes).await;
    assert_eq!(revision.number() - changes[0].after.as_ref().unwrap().revision.number(), 999);
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let snapshot = bench.store.get(&bench.bucket, &keys).await.unwrap();
    assert_eq!(snapshot.revision, revision);
    for (name, entry) in names.iter().zip(snapshot.entries) {
        assert_eq!(entry.unwrap().value, *name);
    }
}

async fn buckets_are_independent(bench: TestBench) {
    let other = TestBench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    let one = bench.put("a", "here").await;
    assert_eq!(other.entry("a").await, None);
    bench.advance(1);
    let two = other.put("a", "there").await;
    assert_eq!(bench.revision().await, one.revision);
    assert_eq!(other.revision().await, two.revision);
    bench.write(Write::Delete { key: key("a") }).await;
    assert_eq!(other.entry("a").await, Some(two));
}

async fn buckets_are_listed_by_name(bench: TestBench) {
    assert_eq!(bench.store.buckets().await.unwrap(), []);
    let mut names: Vec<Bucket> = ["b", "a", "B", "_x", "a.b-c", "0"].map(|name| Bucket::new(name).unwrap()).into();
    for bucket in &names {
        let bench = TestBench { bucket: bucket.clone(), ..bench.clone() };
        bench.put("k", "v").await;
        bench.write(Write::Delete { key: key("k") }).await;
    }
    names.sort();
    assert_eq!(bench.store.buckets().await.unwrap(), names, "an emptied bucket is one that has been written");
}

async fn reading_a_missing_bucket_does_not_create_it(bench: TestBench) {
    let snapshot = bench.store.get(&bench.bucket, &[key("a"), key("b")]).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.entries), (Revision::ZERO, vec![None, None]));
    assert_eq!(bench.seen().await.entries, []);
    let waiting = bench.store.changed(&bench.bucket, Revision::ZERO);
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    assert_eq!(bench.store.buckets().await.unwrap(), []);
}

async fn get_returns_the_order_of_the_request(bench: TestBench) {
    bench.commit(puts(&["a", "b", "c"])).await;
    let asked = ["c", "missing", "a", "c", "b"];
    let snapshot = bench.store.get(&bench.bucket, &asked.map(key)).await.unwrap();
    let found: Vec<_> = snapshot.entries.into_iter().map(|e| e.map(|e| e.value)).collect();
    assert_eq!(found, asked.map(|name| (name != "missing").then(|| name.into())));
    let nothing = bench.store.get(&bench.bucket, &[]).await.unwrap();
    assert_eq!((nothing.revision, nothing.entries), (snapshot.revision, vec![]));
}
