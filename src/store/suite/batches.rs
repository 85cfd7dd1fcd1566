//! Batches as a whole: the order of their revisions, all or nothing, buckets apart from each other.

use std::time::Duration;

use super::bench::{Bench, expect, key};
use crate::model::{Batch, Bucket, Condition, ContentType, Edge, Kind, Outcome, Revision, Time, Write};

super::cases![
    a_revision_is_the_time_of_the_commit,
    each_write_has_a_revision_of_its_own,
    each_write_shows_what_it_replaced,
    revisions_grow_while_the_clock_stands,
    revisions_grow_when_the_clock_steps_back,
    revisions_grow_before_1970,
    deletes_and_touches_take_their_turn,
    a_later_write_sees_the_earlier,
    a_look_shows_what_stands_there_amid_the_writes,
    a_key_deleted_and_put_in_one_batch_begins_anew,
    an_untold_batch_does_the_same,
    nothing_is_done_of_a_batch_that_fails_last,
    a_thousand_writes_are_one_batch,
    buckets_are_apart,
    buckets_are_listed_by_name,
    reading_a_missing_bucket_leaves_nothing,
    get_answers_in_the_order_asked,
];

fn puts(names: &[&str]) -> Vec<Write> {
    names.iter().map(|name| Write::put(key(name), (*name).to_owned())).collect()
}

async fn a_revision_is_the_time_of_the_commit(bench: Bench) {
    assert_eq!(bench.revision().await, Revision::ZERO);
    for _ in 0..3 {
        let (revision, changes) = bench.commit(puts(&["a"])).await;
        assert_eq!(revision, Revision::from(bench.now()));
        assert_eq!(changes[0].after.as_ref().unwrap().updated(), bench.now());
        bench.advance(1);
    }
}

async fn each_write_has_a_revision_of_its_own(bench: Bench) {
    let (revision, changes) = bench.commit(puts(&["c", "a", "b", "a"])).await;
    let order: Vec<Revision> = changes.iter().map(|c| c.after.as_ref().unwrap().revision).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    assert_eq!(order.last(), Some(&revision), "that of the bucket is the last one");
    assert_eq!(bench.revision().await, revision);
    assert_eq!(bench.entry("a").await.unwrap().revision, order[3], "of one key twice the last one stands");
    assert_eq!(bench.entry("c").await.unwrap().revision, order[0]);
}

async fn each_write_shows_what_it_replaced(bench: Bench) {
    let stood = bench.put("other", "x").await;
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
    assert_eq!(bench.entry("other").await, Some(stood));
}

/// Writes three times without moving the clock and gives the revisions.
async fn thrice(bench: &Bench, after: Revision) -> Revision {
    let mut last = after;
    for name in ["x", "y", "x"] {
        let (revision, changes) = bench.commit(puts(&[name, "z"])).await;
        let first = changes[0].after.as_ref().unwrap().revision;
        assert!(last < first && first < revision, "{last:?} {first:?} {revision:?}");
        last = revision;
    }
    last
}

async fn revisions_grow_while_the_clock_stands(bench: Bench) {
    let last = thrice(&bench, Revision::ZERO).await;
    assert!(last.time().since(bench.now()) < Duration::from_micros(1), "and stay near the time");
}

async fn revisions_grow_when_the_clock_steps_back(bench: Bench) {
    let last = thrice(&bench, Revision::ZERO).await;
    bench.clock.step_back(Duration::from_secs(3600));
    let last = thrice(&bench, last).await;
    bench.clock.advance(Duration::from_secs(7200));
    thrice(&bench, last).await;
    assert_eq!(bench.entry("x").await.unwrap().updated().floor_to_second(), bench.now().floor_to_second());
}

async fn revisions_grow_before_1970(bench: Bench) {
    bench.clock.set(Time::from_secs(-5));
    thrice(&bench, Revision::ZERO).await;
    assert_eq!(bench.value("x").await.unwrap(), "x");
}

async fn deletes_and_touches_take_their_turn(bench: Bench) {
    bench.commit(puts(&["a", "b"])).await;
    let touch = Write::Touch { key: key("b"), expires: Some(bench.secs_ahead(9)) };
    let mut writes = puts(&["c"]);
    writes.extend([Write::Delete { key: key("a") }, touch, Write::put(key("d"), "d")]);
    let (revision, changes) = bench.commit(writes).await;
    let at = |index: usize| changes[index].after.as_ref().unwrap().revision.number();
    assert!(at(0) + 3 <= at(3), "two revisions lie between: {} {}", at(0), at(3));
    assert_eq!(revision.number(), at(3));
    let last = bench.commit(vec![Write::Delete { key: key("d") }]).await.0;
    assert!(last > revision);
    assert_eq!(bench.revision().await, last);
}

async fn a_later_write_sees_the_earlier(bench: Bench) {
    let name = key("a");
    let end = bench.secs_ahead(9);
    let (_, changes) = bench
        .commit(vec![
            Write::put(name.clone(), "1"),
            Write::Increment { key: name.clone(), by: 4 },
            Write::Append { key: name.clone(), value: "0".into(), edge: Edge::Back },
            Write::Touch { key: name.clone(), expires: Some(end) },
            Write::Delete { key: name.clone() },
            Write::Increment { key: name, by: 7 },
        ])
        .await;
    let values: Vec<Option<&[u8]>> = changes.iter().map(|c| c.after.as_ref().map(|e| &*e.value)).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(b"5"), Some(b"50"), Some(b"50"), None, Some(b"7")]);
    for pair in changes.windows(2) {
        assert_eq!(pair[0].after, pair[1].before, "each write begins where the one before it ended");
    }
    assert_eq!(bench.entry("a").await, changes[5].after);
}

async fn a_look_shows_what_stands_there_amid_the_writes(bench: Bench) {
    let old = bench.put("a", "1").await;
    let look = |name| Write::Look { key: key(name) };
    let writes =
        vec![look("a"), Write::put(key("a"), "2"), look("a"), look("missing"), Write::Delete { key: key("a") }];
    let (_, changes) = bench.commit(writes).await;
    assert_eq!((changes[0].before.as_ref(), changes[0].after.as_ref()), (Some(&old), Some(&old)));
    assert_eq!((&changes[2].before, &changes[2].after), (&changes[1].after, &changes[1].after));
    assert_eq!((&changes[3].before, &changes[3].after), (&None, &None));
    let revision = bench.revision().await;
    assert_eq!(bench.commit(vec![look("a"), look("missing")]).await.0, revision, "a look alone moves nothing");
}

async fn a_key_deleted_and_put_in_one_batch_begins_anew(bench: Bench) {
    let old = bench.put("a", "1").await;
    bench.advance(9);
    bench.commit(vec![Write::Delete { key: key("a") }, Write::put(key("a"), "2")]).await;
    let new = bench.entry("a").await.unwrap();
    assert!(new.created > old.created && new.created.floor_to_second() == bench.now().floor_to_second());
}

async fn an_untold_batch_does_the_same(bench: Bench) {
    let other = Bench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
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
        // Here what "b" was has ended.
        vec![Write::put(key("d"), "4"), Write::put(key("b"), "4"), Write::put(key("a"), "4")],
        vec![Write::put(key("a"), "5"), Write::put(key("a"), "6"), Write::Delete { key: key("c") }],
        vec![Write::Delete { key: key("none") }, Write::Increment { key: key("a"), by: 1 }],
        vec![Write::Delete { key: key("none") }],
        vec![brief(key("d"), "7", 0)],
    ];
    for writes in steps {
        let (told, _) = bench.commit(writes.clone()).await;
        let batch = Batch::of(writes.clone()).untold();
        let outcome = other.store.apply(&other.bucket, batch).await.unwrap();
        assert_eq!(outcome, Outcome::Committed { revision: told, changes: vec![] }, "{writes:?}");
        assert_eq!(other.seen().await, bench.seen().await, "{writes:?}");
        bench.advance(2);
    }
    let absent = expect("a", Condition::Absent);
    let refused = Batch::of(puts(&["a"])).expecting(vec![absent]).untold();
    let outcome = other.store.apply(&other.bucket, refused).await.unwrap();
    let found = other.entry("a").await;
    assert_eq!(outcome, Outcome::Refused { index: 0, found }, "why not is told");
}

async fn nothing_is_done_of_a_batch_that_fails_last(bench: Bench) {
    bench.commit(puts(&["a", "b"])).await;
    let mut writes = puts(&["a", "c"]);
    writes.push(Write::Delete { key: key("b") });
    let big = Write::put(key("d"), vec![b'x'; bench.limits.value + 1]);
    let no_number = Write::Increment { key: key("a"), by: 1 };
    for (last, kind) in [(big, Kind::TooLarge), (no_number, Kind::Invalid)] {
        let mut writes = writes.clone();
        writes.push(last);
        assert_eq!(bench.fails(writes).await.kind(), kind);
    }
    let before = bench.seen().await;
    let outcome = bench.apply(vec![expect("c", Condition::Present)], writes).await;
    assert_eq!(outcome, Outcome::Refused { index: 0, found: None });
    assert_eq!(bench.seen().await, before);
}

async fn a_thousand_writes_are_one_batch(bench: Bench) {
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

async fn buckets_are_apart(bench: Bench) {
    let other = Bench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    let one = bench.put("a", "here").await;
    assert_eq!(other.entry("a").await, None);
    bench.advance(1);
    let two = other.put("a", "there").await;
    assert_eq!(bench.revision().await, one.revision);
    assert_eq!(other.revision().await, two.revision);
    bench.write(Write::Delete { key: key("a") }).await;
    assert_eq!(other.entry("a").await, Some(two));
}

async fn buckets_are_listed_by_name(bench: Bench) {
    assert_eq!(bench.store.buckets().await.unwrap(), []);
    let mut names: Vec<Bucket> = ["b", "a", "B", "_x", "a.b-c", "0"].map(|name| Bucket::new(name).unwrap()).into();
    for bucket in &names {
        let bench = Bench { bucket: bucket.clone(), ..bench.clone() };
        bench.put("k", "v").await;
        bench.write(Write::Delete { key: key("k") }).await;
    }
    names.sort();
    assert_eq!(bench.store.buckets().await.unwrap(), names, "an emptied bucket is one that has been written");
}

async fn reading_a_missing_bucket_leaves_nothing(bench: Bench) {
    let snapshot = bench.store.get(&bench.bucket, &[key("a"), key("b")]).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.entries), (Revision::ZERO, vec![None, None]));
    assert_eq!(bench.seen().await.entries, []);
    let waiting = bench.store.changed(&bench.bucket, Revision::ZERO);
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    assert_eq!(bench.store.buckets().await.unwrap(), []);
}

async fn get_answers_in_the_order_asked(bench: Bench) {
    bench.commit(puts(&["a", "b", "c"])).await;
    let asked = ["c", "missing", "a", "c", "b"];
    let snapshot = bench.store.get(&bench.bucket, &asked.map(key)).await.unwrap();
    let found: Vec<_> = snapshot.entries.into_iter().map(|e| e.map(|e| e.value)).collect();
    assert_eq!(found, asked.map(|name| (name != "missing").then(|| name.into())));
    let nothing = bench.store.get(&bench.bucket, &[]).await.unwrap();
    assert_eq!((nothing.revision, nothing.entries), (snapshot.revision, vec![]));
}
