//! Writes: the effect of each kind on an existing, a missing and an expired entry.

use bytes::Bytes;

use super::cases::cases;
use super::store_under_test::{TestBench, json, key, put_all, put_until};
use crate::model::{ContentType, End, Entry, ErrorKind, Time, Write};

cases![
    put_creates_an_entry,
    put_keeps_created_and_replaces_the_rest,
    put_over_an_expired_entry_creates_a_new_one,
    an_expired_put_stores_nothing,
    an_entry_expires_at_its_expiry,
    delete_removes_the_entry,
    deleting_a_missing_entry_is_not_an_error,
    touch_changes_only_the_expiry,
    touch_raises_the_revision_of_the_bucket,
    a_touch_without_effect_keeps_the_revision,
    touching_a_missing_entry_leaves_it_missing,
    a_past_expiry_removes_the_entry,
    increment_adds_to_the_number,
    increment_keeps_content_type_and_expiry,
    incrementing_text_is_invalid,
    increment_beyond_64_bits_is_invalid,
    append_and_prepend_add_at_the_ends,
    append_keeps_content_type_and_expiry,
    append_accepts_any_bytes,
    a_missing_entry_counts_as_0_or_empty,
];

fn delete(name: &str) -> Write {
    Write::Delete { key: key(name) }
}

fn touch(name: &str, expires: Option<Time>) -> Write {
    Write::Touch { key: key(name), expires }
}

fn increment(name: &str, by: i64) -> Write {
    Write::Increment { key: key(name), by }
}

fn append(name: &str, value: impl Into<Bytes>, end: End) -> Write {
    Write::Append { key: key(name), value: value.into(), end }
}

async fn put_creates_an_entry(bench: TestBench) {
    let (end, given) = (bench.secs_ahead(60), Time::from_nanos(1_234_567_890_123_456_789));
    let (revision, changes) = bench.commit(vec![put_all("a", "{}", Some(end), Some(given))]).await;
    let entry = Entry {
        value: "{}".into(),
        content_type: json(),
        revision,
        created: bench.now(),
        modified: Some(given),
        expires: Some(end),
    };
    assert_eq!(changes[0].before, None);
    assert_eq!(changes[0].after.as_ref(), Some(&entry));
    assert_eq!(bench.entry("a").await, Some(entry));
}

async fn put_keeps_created_and_replaces_the_rest(bench: TestBench) {
    let first = bench.write(put_all("a", "1", Some(bench.secs_ahead(60)), Some(Time::from_secs(7)))).await.after;
    bench.advance(5);
    let change = bench.write(Write::put(key("a"), "2")).await;
    assert_eq!(change.before, first);
    let after = change.after.unwrap();
    assert_eq!(after.created, first.unwrap().created);
    assert_eq!(after.updated(), bench.now());
    assert_eq!((after.content_type.clone(), after.modified, after.expires), (ContentType::default(), None, None));
    assert_eq!(bench.entry("a").await, Some(after));
}

async fn put_over_an_expired_entry_creates_a_new_one(bench: TestBench) {
    bench.expired("a", "old").await;
    let change = bench.write(Write::put(key("a"), "new")).await;
    assert_eq!(change.before, None);
    assert_eq!(change.after.unwrap().created, bench.now());
}

async fn an_expired_put_stores_nothing(bench: TestBench) {
    let change = bench.write(put_until("a", "1", bench.now())).await;
    assert_eq!((change.before, change.after), (None, None));
    assert_eq!(bench.entry("a").await, None);
    let old = bench.put("b", "1").await;
    let change = bench.write(put_until("b", "2", bench.now())).await;
    assert_eq!((change.before, change.after), (Some(old), None));
    assert_eq!(bench.entry("b").await, None);
}

async fn an_entry_expires_at_its_expiry(bench: TestBench) {
    bench.write(put_until("a", "1", bench.secs_ahead(10))).await;
    bench.clock.set(Time::from_nanos(bench.secs_ahead(10).nanos() - 1));
    assert_eq!(bench.value("a").await.unwrap(), "1");
    bench.clock.set(Time::from_nanos(bench.now().nanos() + 1));
    assert_eq!(bench.value("a").await, None);
    assert_eq!(bench.seen().await.entries, []);
}

async fn delete_removes_the_entry(bench: TestBench) {
    let entry = bench.put("a", "1").await;
    let before = bench.revision().await;
    let (revision, changes) = bench.commit(vec![delete("a")]).await;
    assert!(revision > before, "a delete moves the bucket on");
    assert_eq!(bench.revision().await, revision);
    assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (Some(entry), None));
    assert_eq!(bench.entry("a").await, None);
    assert!(bench.put("a", "2").await.revision > revision);
}

async fn deleting_a_missing_entry_is_not_an_error(bench: TestBench) {
    bench.expired("gone", "1").await;
    let before = bench.seen().await;
    for name in ["gone", "never"] {
        let (revision, changes) = bench.commit(vec![delete(name)]).await;
        assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (None, None));
        assert_eq!(revision, before.revision, "nothing changed");
    }
    assert_eq!(bench.seen().await, before);
}

async fn touch_changes_only_the_expiry(bench: TestBench) {
    let entry = bench.write(put_all("a", "1", None, Some(Time::from_secs(7)))).await.after.unwrap();
    bench.advance(5);
    for expires in [Some(bench.secs_ahead(60)), Some(bench.secs_ahead(30)), None] {
        let before = bench.entry("a").await;
        let change = bench.write(touch("a", expires)).await;
        let after = Entry { expires, ..entry.clone() };
        assert_eq!((change.before, change.after), (before, Some(after.clone())));
        assert_eq!(bench.entry("a").await, Some(after));
    }
    bench.write(touch("a", Some(bench.secs_ahead(1)))).await;
    bench.advance(1);
    assert_eq!(bench.entry("a").await, None);
}

async fn touch_raises_the_revision_of_the_bucket(bench: TestBench) {
    let entry = bench.put("a", "1").await;
    let (revision, _) = bench.commit(vec![touch("a", Some(bench.secs_ahead(60)))]).await;
    assert!(revision > entry.revision);
    assert_eq!(bench.revision().await, revision);
    assert!(bench.put("b", "1").await.revision > revision);
}

async fn a_touch_without_effect_keeps_the_revision(bench: TestBench) {
    let end = Some(bench.secs_ahead(60));
    bench.put("a", "1").await;
    bench.commit(vec![touch("a", end)]).await;
    let before = bench.seen().await;
    bench.advance(1);
    assert_eq!(bench.commit(vec![touch("a", end)]).await.0, before.revision);
    assert_eq!(bench.seen().await, before);
}

async fn touching_a_missing_entry_leaves_it_missing(bench: TestBench) {
    bench.expired("gone", "1").await;
    let before = bench.seen().await;
    for name in ["gone", "never"] {
        let change = bench.write(touch(name, None)).await;
        assert_eq!((change.before, change.after), (None, None));
    }
    assert_eq!(bench.seen().await, before);
}

async fn a_past_expiry_removes_the_entry(bench: TestBench) {
    let entry = bench.put("a", "1").await;
    let change = bench.write(touch("a", Some(bench.now()))).await;
    assert_eq!((change.before, change.after), (Some(entry), None));
    assert_eq!(bench.entry("a").await, None);
}

async fn increment_adds_to_the_number(bench: TestBench) {
    for (by, sum) in [(5, "5"), (-7, "-2"), (0, "-2"), (i64::MAX, "9223372036854775805"), (2, "9223372036854775807")] {
        let before = bench.revision().await;
        let after = bench.write(increment("n", by)).await.after.unwrap();
        assert_eq!(after.value, sum);
        assert!(after.revision > before, "adding {by} is a write");
        assert_eq!(bench.entry("n").await, Some(after));
    }
    bench.put("n", i64::MIN.to_string()).await;
    assert_eq!(bench.write(increment("n", i64::MAX)).await.after.unwrap().value, "-1");
}

async fn increment_keeps_content_type_and_expiry(bench: TestBench) {
    let end = bench.secs_ahead(60);
    let before = bench.write(put_until("n", "1", end)).await.after.unwrap();
    bench.advance(1);
    let after = bench.write(increment("n", 1)).await.after.unwrap();
    assert_eq!((after.content_type.clone(), after.expires, after.created), (json(), Some(end), before.created));
    assert_eq!(after.updated(), bench.now());
}

async fn incrementing_text_is_invalid(bench: TestBench) {
    for value in ["", "abc", "1.5", "1e3", "0x10", "1_000", "9223372036854775808", "1 2"] {
        bench.put("n", value).await;
        let error = bench.fails(vec![Write::put(key("other"), "x"), increment("n", 1)]).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{value:?}");
    }
    bench.put("n", vec![0xff, 0x31]).await;
    assert_eq!(bench.fails(vec![increment("n", 1)]).await.kind(), ErrorKind::Invalid);
    assert_eq!(bench.entry("other").await, None);
}

async fn increment_beyond_64_bits_is_invalid(bench: TestBench) {
    for (value, by) in [(i64::MAX, 1), (i64::MIN, -1), (2, i64::MAX), (-2, i64::MIN)] {
        bench.put("n", value.to_string()).await;
        let error = bench.fails(vec![increment("n", by), Write::put(key("other"), "x")]).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{value} plus {by}");
        assert_eq!(bench.value("n").await.unwrap(), value.to_string());
    }
}

async fn append_and_prepend_add_at_the_ends(bench: TestBench) {
    bench.put("a", "m").await;
    for (value, end, whole) in [("z", End::Append, "mz"), ("a", End::Prepend, "amz"), ("", End::Append, "amz")] {
        let after = bench.write(append("a", value, end)).await.after.unwrap();
        assert_eq!(after.value, whole);
        assert_eq!(bench.entry("a").await, Some(after));
    }
}

async fn append_keeps_content_type_and_expiry(bench: TestBench) {
    let expiry = bench.secs_ahead(60);
    let before = bench.write(put_until("a", "1", expiry)).await.after.unwrap();
    bench.advance(1);
    for end in [End::Append, End::Prepend] {
        let after = bench.write(append("a", "2", end)).await.after.unwrap();
        assert_eq!((after.content_type.clone(), after.expires, after.created), (json(), Some(expiry), before.created));
        assert_eq!(bench.entry("a").await, Some(after));
    }
}

async fn append_accepts_any_bytes(bench: TestBench) {
    bench.put("a", vec![0xe2, 0x82]).await;
    bench.write(append("a", vec![0xac], End::Append)).await;
    assert_eq!(bench.value("a").await.unwrap(), "€");
    bench.write(append("a", vec![0, 0xff], End::Prepend)).await;
    assert_eq!(bench.value("a").await.unwrap(), vec![0, 0xff, 0xe2, 0x82, 0xac]);
}

async fn a_missing_entry_counts_as_0_or_empty(bench: TestBench) {
    bench.expired("gone n", "41").await;
    bench.expired("gone a", "old").await;
    for name in ["gone n", "new n"] {
        let change = bench.write(increment(name, -3)).await;
        let after = change.after.unwrap();
        assert_eq!((change.before, after.value.clone()), (None, "-3".into()));
        assert_eq!((after.expires, after.created, after.content_type), (None, bench.now(), ContentType::default()));
        bench.advance(1);
    }
    for (name, end) in [("gone a", End::Append), ("new a", End::Prepend)] {
        let change = bench.write(append(name, "x", end)).await;
        let after = change.after.unwrap();
        assert_eq!((change.before, after.value.clone()), (None, "x".into()));
        assert_eq!((after.expires, after.created, after.content_type), (None, bench.now(), ContentType::default()));
        bench.advance(1);
    }
}
