//! Date preconditions: a date that was shown to a client passes once, and moves only its own key.

use std::time::Duration;

use super::cases::cases;
use super::store_under_test::{TestBench, expect, key, put_all};
use crate::model::{Batch, Condition, End, Entry, Expectation, Outcome, Returning, Revision, Time, Write};

cases![
    a_date_holds_for_a_whole_second,
    the_same_date_never_passes_twice,
    a_date_is_checked_for_every_kind_of_write,
    a_future_date_moves_its_key_by_at_most_a_second,
    a_date_moves_no_other_key_and_no_revision,
    a_key_without_a_date_keeps_its_time,
    a_plain_write_does_not_lower_the_time_of_a_dated_one,
    a_plain_write_a_second_later_has_its_own_time,
    a_write_over_an_expired_entry_has_its_own_time,
    the_date_of_this_second_passes_once,
    a_date_of_a_clock_that_is_ahead_passes_once,
    a_date_passes_once_after_the_clock_has_stepped_back,
    all_writes_of_a_dated_batch_are_later,
    a_key_deleted_and_put_under_a_date_is_later,
    a_touch_under_a_date_keeps_the_time,
    a_clients_time_is_kept_under_a_date,
];

fn unmodified_since(name: &str, date: Time) -> Expectation {
    expect(name, Condition::NotModifiedSince(date))
}

/// Does the writes if the key was not modified since the date. Returns whether they were done.
async fn passes(bench: &TestBench, name: &str, date: Time, writes: Vec<Write>) -> bool {
    matches!(bench.apply(vec![unmodified_since(name, date)], writes).await, Outcome::Committed { .. })
}

/// The same with the key `a`. Returns the new entry.
async fn guarded(bench: &TestBench, date: Time, writes: Vec<Write>) -> Option<Entry> {
    if passes(bench, "a", date, writes).await { bench.entry("a").await } else { None }
}

fn put(value: &'static str) -> Vec<Write> {
    vec![Write::put(key("a"), value)]
}

/// The Last-Modified that a client gets, which is never in the future.
fn shown(bench: &TestBench, entry: &Entry) -> Time {
    entry.last_modified().min(bench.now().floor_to_second())
}

async fn a_date_holds_for_a_whole_second(bench: TestBench) {
    let old = bench.put("a", "1").await;
    bench.clock.advance(Duration::from_millis(100));
    let new = guarded(&bench, old.last_modified(), put("2")).await.unwrap();
    assert_eq!(new.last_modified().secs(), old.last_modified().secs() + 1, "although the clock is in the same second");
    assert_eq!(new.updated(), bench.now(), "the revision is that of the clock");
    bench.advance(60);
    let later = guarded(&bench, new.last_modified(), put("3")).await.unwrap();
    assert_eq!(
        (later.updated(), later.modified),
        (bench.now(), None),
        "after that second the time is that of the commit"
    );
}

async fn the_same_date_never_passes_twice(bench: TestBench) {
    let mut date = bench.put("a", "1").await.last_modified();
    for _ in 0..5 {
        let new = guarded(&bench, date, put("2")).await.unwrap();
        for _ in 0..2 {
            assert_eq!(guarded(&bench, date, put("3")).await, None, "{date} passed twice");
        }
        bench.advance(1);
        date = shown(&bench, &new);
        assert_eq!(date, new.last_modified(), "a second later the date is not in the future");
    }
}

async fn a_date_is_checked_for_every_kind_of_write(bench: TestBench) {
    let name = || key("a");
    for write in [
        Write::put(name(), "1"),
        Write::Increment { key: name(), by: 1 },
        Write::Append { key: name(), value: "1".into(), end: End::Append },
    ] {
        bench.advance(1);
        let old = bench.put("a", "1").await;
        let new = guarded(&bench, old.last_modified(), vec![write.clone()]).await.unwrap();
        assert_eq!(new.last_modified().secs(), old.last_modified().secs() + 1, "{write:?}");
        assert_eq!(guarded(&bench, old.last_modified(), vec![write]).await, None);
    }
    let date = bench.entry("a").await.unwrap().last_modified();
    assert_eq!(guarded(&bench, date, vec![Write::Delete { key: name() }]).await, None);
    assert_eq!(bench.entry("a").await, None);
}

/// Writes `a` ten times under a date in the future.
async fn ten_times(bench: &TestBench) {
    bench.put("a", "0").await;
    for _ in 0..10 {
        assert!(passes(bench, "a", bench.secs_ahead(1_000_000), put("1")).await, "a date in the future passes");
    }
}

async fn a_future_date_moves_its_key_by_at_most_a_second(bench: TestBench) {
    ten_times(&bench).await;
    let entry = bench.entry("a").await.unwrap();
    assert_eq!(entry.last_modified().secs(), bench.now().secs() + 1);
    assert_eq!(guarded(&bench, shown(&bench, &entry), put("2")).await, None, "a client may have got this date before");
    bench.advance(1);
    assert_eq!(shown(&bench, &entry), entry.last_modified());
    assert!(guarded(&bench, entry.last_modified(), put("2")).await.is_some());
    assert_eq!(guarded(&bench, entry.last_modified(), put("3")).await, None);
}

async fn a_date_moves_no_other_key_and_no_revision(bench: TestBench) {
    ten_times(&bench).await;
    assert!(bench.revision().await.time().since(bench.now()) < Duration::from_micros(1), "at the clock");
    for name in ["b", "c"] {
        let other = bench.put(name, "1").await;
        assert!(other.updated().since(bench.now()) < Duration::from_micros(1) && other.modified.is_none(), "{other:?}");
        assert_eq!(shown(&bench, &other), other.last_modified(), "its date can be shown");
        let write = || vec![Write::put(key(name), "2")];
        assert!(passes(&bench, name, other.last_modified(), write()).await, "of two writers one passes");
        assert!(!passes(&bench, name, other.last_modified(), write()).await, "and the other does not");
    }
}

async fn a_key_without_a_date_keeps_its_time(bench: TestBench) {
    let old = bench.put("b", "1").await;
    assert!(passes(&bench, "a", old.last_modified(), vec![Write::put(key("b"), "2")]).await);
    let new = bench.entry("b").await.unwrap();
    assert!(new.revision > old.revision);
    assert_eq!(new.last_modified(), old.last_modified(), "the date guards another key");
}

async fn a_plain_write_does_not_lower_the_time_of_a_dated_one(bench: TestBench) {
    let name = || key("a");
    let several = || vec![Write::put(name(), "5"), Write::put(key("b"), "5")];
    let (entries, nothing) = (Returning::Entries, Returning::Nothing);
    for (writes, returning) in [
        (put("5"), entries),
        (put("5"), nothing),
        (several(), entries),
        (several(), nothing),
        (vec![Write::put(name(), "5"), Write::Delete { key: key("b") }], entries),
        (vec![Write::Increment { key: name(), by: 1 }], entries),
        (vec![Write::Append { key: name(), value: "5".into(), end: End::Append }], entries),
        (vec![Write::Touch { key: name(), expires: Some(bench.secs_ahead(600)) }], entries),
    ] {
        let text = format!("{writes:?} {returning:?}");
        bench.advance(1);
        bench.commit(vec![Write::put(name(), "1"), Write::put(key("b"), "1")]).await;
        let date = bench.entry("a").await.unwrap().last_modified();
        let new = guarded(&bench, date, put("2")).await.unwrap();
        let batch = Batch::new(writes).returning(returning);
        let Outcome::Committed { changes, .. } = bench.store.apply(&bench.bucket, batch).await.unwrap() else {
            panic!("refused")
        };
        let plain = bench.entry("a").await.unwrap();
        assert_eq!(plain.last_modified(), new.last_modified(), "{text}");
        if let Some(change) = changes.first() {
            assert_eq!((change.before.as_ref(), change.after.as_ref()), (Some(&new), Some(&plain)), "{text}");
        }
        assert_eq!(guarded(&bench, date, put("3")).await, None, "{text}");
    }
}

async fn a_plain_write_a_second_later_has_its_own_time(bench: TestBench) {
    for writes in [put("5"), vec![Write::put(key("b"), "5"), Write::put(key("a"), "5")]] {
        bench.put("a", "1").await;
        guarded(&bench, bench.now(), put("2")).await.unwrap();
        bench.advance(1);
        bench.commit(writes).await;
        let entry = bench.entry("a").await.unwrap();
        assert_eq!((entry.modified, entry.last_modified()), (None, bench.now().floor_to_second()));
    }
}

async fn a_write_over_an_expired_entry_has_its_own_time(bench: TestBench) {
    for writes in [put("5"), vec![Write::put(key("b"), "5"), Write::put(key("a"), "5")]] {
        let end = bench.now().plus(Duration::from_millis(100));
        guarded(&bench, bench.now(), vec![put_all("a", "1", Some(end), None)]).await.unwrap();
        bench.clock.advance(Duration::from_millis(200));
        bench.commit(writes).await;
        assert_eq!(bench.entry("a").await.unwrap().modified, None);
        bench.advance(2);
    }
}

async fn the_date_of_this_second_passes_once(bench: TestBench) {
    bench.put("a", "1").await;
    bench.advance(60);
    // Clients take this from the `Date` of a response.
    let date = bench.now();
    assert!(guarded(&bench, date, put("2")).await.is_some());
    assert_eq!(guarded(&bench, date, put("3")).await, None);
    let missing = || vec![Write::put(key("b"), "1")];
    assert!(passes(&bench, "b", date, missing()).await);
    assert!(!passes(&bench, "b", date, missing()).await);
}

async fn a_date_of_a_clock_that_is_ahead_passes_once(bench: TestBench) {
    bench.put("a", "1").await;
    let new = guarded(&bench, bench.now(), put("2")).await.unwrap();
    let date = new.last_modified();
    assert!(date > bench.now());
    assert!(guarded(&bench, date, put("3")).await.is_some());
    assert_eq!(guarded(&bench, date, put("4")).await, None);
}

async fn a_date_passes_once_after_the_clock_has_stepped_back(bench: TestBench) {
    let date = bench.put("a", "1").await.last_modified();
    bench.clock.step_back(Duration::from_secs(3600));
    assert!(guarded(&bench, date, put("2")).await.is_some());
    assert_eq!(guarded(&bench, date, put("3")).await, None);
    bench.commit(put("4")).await;
    assert_eq!(guarded(&bench, date, put("5")).await, None, "a plain write in between changes nothing");
}

async fn all_writes_of_a_dated_batch_are_later(bench: TestBench) {
    let old = bench.put("a", "1").await;
    let name = || key("a");
    let writes = vec![
        Write::put(name(), "2"),
        Write::put(key("b"), "2"),
        Write::Increment { key: name(), by: 1 },
        Write::Append { key: name(), value: "0".into(), end: End::Append },
    ];
    let outcome = bench.apply(vec![unmodified_since("a", old.last_modified())], writes).await;
    let Outcome::Committed { changes, .. } = outcome else { panic!("refused") };
    let dates: Vec<_> = changes.iter().map(|change| change.after.as_ref().unwrap().last_modified().secs()).collect();
    let second = old.last_modified().secs();
    assert_eq!(dates, [second + 1, second, second + 1, second + 1]);
    assert_eq!(bench.entry("a").await, changes[3].after);
}

async fn a_key_deleted_and_put_under_a_date_is_later(bench: TestBench) {
    let old = bench.put("a", "1").await;
    for date in [old.last_modified(), bench.secs_ahead(1_000_000)] {
        bench.advance(2);
        let old = bench.put("a", "1").await;
        let writes = vec![Write::Delete { key: key("a") }, Write::put(key("a"), "2")];
        let date = date.max(old.last_modified());
        let new = guarded(&bench, date, writes).await.unwrap();
        assert_eq!(guarded(&bench, old.last_modified(), put("3")).await, None);
        assert!(new.created > old.created, "it is a new entry");
    }
}

async fn a_touch_under_a_date_keeps_the_time(bench: TestBench) {
    let old = bench.put("a", "1").await;
    let touch = |secs| vec![Write::Touch { key: key("a"), expires: Some(bench.secs_ahead(secs)) }];
    for secs in [60, 90] {
        let new = guarded(&bench, old.last_modified(), touch(secs)).await.unwrap();
        let expires = Some(bench.secs_ahead(secs));
        assert_eq!(new, Entry { expires, ..old.clone() }, "neither revision nor date are others");
    }
    assert!(bench.revision().await > old.revision);
}

async fn a_clients_time_is_kept_under_a_date(bench: TestBench) {
    let given = Time::from_nanos(1_000_000_000_700_000_000);
    bench.put("a", "1").await;
    let new = guarded(&bench, bench.now(), vec![put_all("a", "2", None, Some(given))]).await.unwrap();
    assert_eq!((new.modified, new.revision > Revision::from(bench.now())), (Some(given), true));
}
