//! Writes: what each kind does to an entry that is there, missing or expired.

use bytes::Bytes;

use super::bench::{Bench, json, key, put_all, put_until};
use crate::model::{ContentType, Edge, Entry, Kind, Time, Write};

super::cases![
    put_makes_an_entry,
    put_keeps_created_and_replaces_the_rest,
    put_over_an_expired_entry_begins_anew,
    put_that_has_expired_leaves_nothing,
    an_entry_ends_at_its_end,
    delete_removes,
    delete_of_what_is_missing_is_no_error,
    touch_changes_the_end_and_nothing_else,
    touch_moves_the_bucket_on,
    touch_that_changes_nothing_moves_nothing,
    touch_of_what_is_missing_leaves_it_missing,
    touch_into_the_past_removes,
    increment_adds,
    increment_keeps_type_and_end,
    increment_of_no_number_is_invalid,
    increment_beyond_64_bits_is_invalid,
    append_adds_at_either_end,
    append_keeps_type_and_end,
    append_takes_any_bytes,
    what_is_missing_counts_as_0_or_empty,
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

fn append(name: &str, value: impl Into<Bytes>, edge: Edge) -> Write {
    Write::Append { key: key(name), value: value.into(), edge }
}

async fn put_makes_an_entry(bench: Bench) {
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

async fn put_keeps_created_and_replaces_the_rest(bench: Bench) {
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

async fn put_over_an_expired_entry_begins_anew(bench: Bench) {
    bench.expired("a", "old").await;
    let change = bench.write(Write::put(key("a"), "new")).await;
    assert_eq!(change.before, None);
    assert_eq!(change.after.unwrap().created, bench.now());
}

async fn put_that_has_expired_leaves_nothing(bench: Bench) {
    let change = bench.write(put_until("a", "1", bench.now())).await;
    assert_eq!((change.before, change.after), (None, None));
    assert_eq!(bench.entry("a").await, None);
    let old = bench.put("b", "1").await;
    let change = bench.write(put_until("b", "2", bench.now())).await;
    assert_eq!((change.before, change.after), (Some(old), None));
    assert_eq!(bench.entry("b").await, None);
}

async fn an_entry_ends_at_its_end(bench: Bench) {
    bench.write(put_until("a", "1", bench.secs_ahead(10))).await;
    bench.clock.set(Time::from_nanos(bench.secs_ahead(10).nanos() - 1));
    assert_eq!(bench.value("a").await.unwrap(), "1");
    bench.clock.set(Time::from_nanos(bench.now().nanos() + 1));
    assert_eq!(bench.value("a").await, None);
    assert_eq!(bench.seen().await.entries, []);
}

async fn delete_removes(bench: Bench) {
    let entry = bench.put("a", "1").await;
    let before = bench.revision().await;
    let (revision, changes) = bench.commit(vec![delete("a")]).await;
    assert!(revision > before, "a delete moves the bucket on");
    assert_eq!(bench.revision().await, revision);
    assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (Some(entry), None));
    assert_eq!(bench.entry("a").await, None);
    assert!(bench.put("a", "2").await.revision > revision);
}

async fn delete_of_what_is_missing_is_no_error(bench: Bench) {
    bench.expired("gone", "1").await;
    let before = bench.seen().await;
    for name in ["gone", "never"] {
        let (revision, changes) = bench.commit(vec![delete(name)]).await;
        assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (None, None));
        assert_eq!(revision, before.revision, "nothing changed");
    }
    assert_eq!(bench.seen().await, before);
}

async fn touch_changes_the_end_and_nothing_else(bench: Bench) {
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

async fn touch_moves_the_bucket_on(bench: Bench) {
    let entry = bench.put("a", "1").await;
    let (revision, _) = bench.commit(vec![touch("a", Some(bench.secs_ahead(60)))]).await;
    assert!(revision > entry.revision);
    assert_eq!(bench.revision().await, revision);
    assert!(bench.put("b", "1").await.revision > revision);
}

async fn touch_that_changes_nothing_moves_nothing(bench: Bench) {
    let end = Some(bench.secs_ahead(60));
    bench.put("a", "1").await;
    bench.commit(vec![touch("a", end)]).await;
    let before = bench.seen().await;
    bench.advance(1);
    assert_eq!(bench.commit(vec![touch("a", end)]).await.0, before.revision);
    assert_eq!(bench.seen().await, before);
}

async fn touch_of_what_is_missing_leaves_it_missing(bench: Bench) {
    bench.expired("gone", "1").await;
    let before = bench.seen().await;
    for name in ["gone", "never"] {
        let change = bench.write(touch(name, None)).await;
        assert_eq!((change.before, change.after), (None, None));
    }
    assert_eq!(bench.seen().await, before);
}

async fn touch_into_the_past_removes(bench: Bench) {
    let entry = bench.put("a", "1").await;
    let change = bench.write(touch("a", Some(bench.now()))).await;
    assert_eq!((change.before, change.after), (Some(entry), None));
    assert_eq!(bench.entry("a").await, None);
}

async fn increment_adds(bench: Bench) {
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

async fn increment_keeps_type_and_end(bench: Bench) {
    let end = bench.secs_ahead(60);
    let before = bench.write(put_until("n", "1", end)).await.after.unwrap();
    bench.advance(1);
    let after = bench.write(increment("n", 1)).await.after.unwrap();
    assert_eq!((after.content_type.clone(), after.expires, after.created), (json(), Some(end), before.created));
    assert_eq!(after.updated(), bench.now());
}

async fn increment_of_no_number_is_invalid(bench: Bench) {
    for value in ["", "abc", "1.5", "1e3", "0x10", "1_000", "9223372036854775808", "1 2"] {
        bench.put("n", value).await;
        let error = bench.fails(vec![Write::put(key("other"), "x"), increment("n", 1)]).await;
        assert_eq!(error.kind(), Kind::Invalid, "{value:?}");
    }
    bench.put("n", vec![0xff, 0x31]).await;
    assert_eq!(bench.fails(vec![increment("n", 1)]).await.kind(), Kind::Invalid);
    assert_eq!(bench.entry("other").await, None);
}

async fn increment_beyond_64_bits_is_invalid(bench: Bench) {
    for (value, by) in [(i64::MAX, 1), (i64::MIN, -1), (2, i64::MAX), (-2, i64::MIN)] {
        bench.put("n", value.to_string()).await;
        let error = bench.fails(vec![increment("n", by), Write::put(key("other"), "x")]).await;
        assert_eq!(error.kind(), Kind::Invalid, "{value} plus {by}");
        assert_eq!(bench.value("n").await.unwrap(), value.to_string());
    }
}

async fn append_adds_at_either_end(bench: Bench) {
    bench.put("a", "m").await;
    for (value, edge, whole) in [("z", Edge::Back, "mz"), ("a", Edge::Front, "amz"), ("", Edge::Back, "amz")] {
        let after = bench.write(append("a", value, edge)).await.after.unwrap();
        assert_eq!(after.value, whole);
        assert_eq!(bench.entry("a").await, Some(after));
    }
}

async fn append_keeps_type_and_end(bench: Bench) {
    let end = bench.secs_ahead(60);
    let before = bench.write(put_until("a", "1", end)).await.after.unwrap();
    bench.advance(1);
    for edge in [Edge::Back, Edge::Front] {
        let after = bench.write(append("a", "2", edge)).await.after.unwrap();
        assert_eq!((after.content_type.clone(), after.expires, after.created), (json(), Some(end), before.created));
        assert_eq!(bench.entry("a").await, Some(after));
    }
}

async fn append_takes_any_bytes(bench: Bench) {
    bench.put("a", vec![0xe2, 0x82]).await;
    bench.write(append("a", vec![0xac], Edge::Back)).await;
    assert_eq!(bench.value("a").await.unwrap(), "€");
    bench.write(append("a", vec![0, 0xff], Edge::Front)).await;
    assert_eq!(bench.value("a").await.unwrap(), vec![0, 0xff, 0xe2, 0x82, 0xac]);
}

async fn what_is_missing_counts_as_0_or_empty(bench: Bench) {
    bench.expired("gone n", "41").await;
    bench.expired("gone a", "old").await;
    for name in ["gone n", "new n"] {
        let change = bench.write(increment(name, -3)).await;
        let after = change.after.unwrap();
        assert_eq!((change.before, after.value.clone()), (None, "-3".into()));
        assert_eq!((after.expires, after.created, after.content_type), (None, bench.now(), ContentType::default()));
        bench.advance(1);
    }
    for (name, edge) in [("gone a", Edge::Back), ("new a", Edge::Front)] {
        let change = bench.write(append(name, "x", edge)).await;
        let after = change.after.unwrap();
        assert_eq!((change.before, after.value.clone()), (None, "x".into()));
        assert_eq!((after.expires, after.created, after.content_type), (None, bench.now(), ContentType::default()));
        bench.advance(1);
    }
}
