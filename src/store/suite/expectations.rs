//! Expectations: each holds and fails, for existing, missing and expired entries.

use std::time::Duration;

use super::cases::cases;
use super::store_under_test::{TestBench, expect, key, put_all};
use crate::model::{Bucket, Condition, Entry, Key, Outcome, Revision, Time, Write};

cases![
    absent_holds_for_missing_entries,
    present_holds_for_existing_entries,
    unchanged_holds_for_the_same_revision_and_expiry,
    revision_in_holds_for_a_listed_revision,
    revision_not_in_holds_for_an_unlisted_revision,
    value_is_holds_for_the_same_bytes,
    not_modified_since_holds_for_the_same_or_a_later_second,
    not_modified_since_uses_the_clients_time,
    the_first_failed_expectation_is_named,
    all_expectations_are_checked_before_the_first_write,
    several_expectations_of_one_key_must_all_hold,
    a_batch_without_writes_changes_nothing,
    checking_a_missing_bucket_does_not_create_it,
];

/// `there` has a value, that of `gone` has expired, `never` was not written. Returns the existing entry.
async fn three(bench: &TestBench) -> Entry {
    bench.expired("gone", "v").await;
    bench.put("there", "v").await
}

/// Whether the condition holds. It checks that a write is done accordingly.
async fn holds(bench: &TestBench, name: &str, condition: Condition) -> bool {
    let before = bench.seen().await;
    let stored = bench.entry(name).await;
    match bench.apply(vec![expect(name, condition)], vec![Write::put(key("mark"), "set")]).await {
        Outcome::Committed { revision, changes } => {
            assert!(revision > before.revision && changes.len() == 1);
            assert_eq!(bench.value("mark").await.unwrap(), "set");
            bench.write(Write::Delete { key: key("mark") }).await;
            true
        }
        Outcome::PreconditionFailed { index, found } => {
            assert_eq!((index, found), (0, stored), "the found entry is returned");
            assert_eq!(bench.seen().await, before, "a refused batch does nothing");
            false
        }
    }
}

/// Checks the condition on the existing, the expired and the missing key.
async fn of_three(bench: &TestBench, condition: Condition) -> [bool; 3] {
    let there = holds(bench, "there", condition.clone()).await;
    let gone = holds(bench, "gone", condition.clone()).await;
    [there, gone, holds(bench, "never", condition).await]
}

async fn absent_holds_for_missing_entries(bench: TestBench) {
    three(&bench).await;
    assert_eq!(of_three(&bench, Condition::Absent).await, [false, true, true]);
}

async fn present_holds_for_existing_entries(bench: TestBench) {
    three(&bench).await;
    assert_eq!(of_three(&bench, Condition::Present).await, [true, false, false]);
}

async fn unchanged_holds_for_the_same_revision_and_expiry(bench: TestBench) {
    let entry = three(&bench).await;
    let (revision, expires) = (entry.revision, entry.expires);
    let other = Revision::new(revision.number() + 1);
    let later = Some(entry.updated().plus(Duration::from_secs(3_600)));
    for (revision, expires, there) in [(revision, expires, true), (other, expires, false), (revision, later, false)] {
        let text = format!("{revision:?} {expires:?}");
        assert_eq!(of_three(&bench, Condition::Unchanged { revision, expires }).await, [there, false, false], "{text}");
    }
    bench.write(Write::Touch { key: key("there"), expires: later }).await;
    assert!(!holds(&bench, "there", Condition::Unchanged { revision, expires }).await, "it was touched");
    assert!(holds(&bench, "there", Condition::Unchanged { revision, expires: later }).await);
    assert!(!holds(&bench, "never", Condition::Unchanged { revision: Revision::ZERO, expires: None }).await);
}

async fn revision_in_holds_for_a_listed_revision(bench: TestBench) {
    let is = three(&bench).await.revision;
    let other = Revision::new(is.number() + 1);
    for (these, there) in [(vec![is], true), (vec![other, is], true), (vec![other], false), (vec![], false)] {
        let text = format!("{these:?}");
        assert_eq!(of_three(&bench, Condition::RevisionIn(these)).await, [there, false, false], "{text}");
    }
    // Not even with the revision of an empty bucket.
    assert!(!holds(&bench, "never", Condition::RevisionIn(vec![Revision::ZERO])).await);
}

async fn revision_not_in_holds_for_an_unlisted_revision(bench: TestBench) {
    let is = three(&bench).await.revision;
    let other = Revision::new(is.number() + 1);
    for (these, there) in [(vec![is], false), (vec![other, is], false), (vec![other], true), (vec![], true)] {
        let text = format!("{these:?}");
        assert_eq!(of_three(&bench, Condition::RevisionNotIn(these)).await, [there, true, true], "{text}");
    }
}

async fn value_is_holds_for_the_same_bytes(bench: TestBench) {
    three(&bench).await;
    for (value, there) in [("v", true), ("V", false), ("", false), ("v ", false), ("v\0", false)] {
        assert_eq!(of_three(&bench, Condition::ValueIs(value.into())).await, [there, false, false], "{value:?}");
    }
    bench.put("there", "").await;
    assert_eq!(of_three(&bench, Condition::ValueIs("".into())).await, [true, false, false], "the empty value");
}

async fn not_modified_since_holds_for_the_same_or_a_later_second(bench: TestBench) {
    let second = three(&bench).await.updated().floor_to_second();
    let nearly = second.plus(Duration::from_nanos(999_999_999));
    for (date, there) in [
        (second, true),
        (nearly, true),
        (Time::from_secs(second.secs() + 1), true),
        (Time::from_secs(second.secs() - 1), false),
        (Time::from_nanos(second.nanos() - 1), false),
        (Time::from_secs(0), false),
    ] {
        assert_eq!(of_three(&bench, Condition::NotModifiedSince(date)).await, [there, true, true], "{date}");
    }
}

async fn not_modified_since_uses_the_clients_time(bench: TestBench) {
    let given = Time::from_nanos(1_000_000_000_700_000_000);
    bench.write(put_all("there", "v", None, Some(given))).await;
    assert!(holds(&bench, "there", Condition::NotModifiedSince(given.floor_to_second())).await);
    assert!(!holds(&bench, "there", Condition::NotModifiedSince(Time::from_secs(given.secs() - 1))).await);
}

async fn the_first_failed_expectation_is_named(bench: TestBench) {
    let there = three(&bench).await;
    let wrong = || expect("there", Condition::ValueIs("other".into()));
    let fine = || expect("there", Condition::Present);
    let gone = || expect("gone", Condition::Present);
    let never = || expect("never", Condition::Present);
    for (expectations, index, found) in [
        (vec![wrong()], 0, Some(there.clone())),
        (vec![fine(), wrong(), gone()], 1, Some(there.clone())),
        (vec![fine(), fine(), gone(), wrong()], 2, None),
        (vec![never(), gone(), wrong()], 0, None),
    ] {
        let outcome = bench.apply(expectations, vec![Write::put(key("x"), "x")]).await;
        assert_eq!(outcome, Outcome::PreconditionFailed { index, found });
    }
    assert_eq!(bench.value("x").await, None);
}

async fn all_expectations_are_checked_before_the_first_write(bench: TestBench) {
    let writes = vec![Write::put(key("a"), "1"), Write::put(key("a"), "2")];
    let both = vec![expect("a", Condition::Absent), expect("a", Condition::Absent)];
    assert!(matches!(bench.apply(both, writes.clone()).await, Outcome::Committed { .. }));
    let outcome = bench.apply(vec![expect("b", Condition::Present)], vec![Write::put(key("b"), "1")]).await;
    assert_eq!(outcome, Outcome::PreconditionFailed { index: 0, found: None }, "the batch's own write does not count");
}

async fn several_expectations_of_one_key_must_all_hold(bench: TestBench) {
    let entry = bench.put("a", "1").await;
    let is = expect("a", Condition::RevisionIn(vec![entry.revision]));
    let good = vec![is.clone(), expect("a", Condition::Present), expect("a", Condition::ValueIs("1".into()))];
    assert!(matches!(bench.apply(good, vec![]).await, Outcome::Committed { .. }));
    let bad = vec![is, expect("a", Condition::Present), expect("a", Condition::Absent)];
    assert_eq!(bench.apply(bad, vec![]).await, Outcome::PreconditionFailed { index: 2, found: Some(entry) });
}

async fn a_batch_without_writes_changes_nothing(bench: TestBench) {
    bench.put("a", "1").await;
    let before = bench.seen().await;
    let nothing = Outcome::Committed { revision: before.revision, changes: vec![] };
    assert_eq!(bench.apply(vec![expect("a", Condition::Present)], vec![]).await, nothing);
    assert_eq!(bench.apply(vec![], vec![]).await, nothing);
    assert_eq!(bench.seen().await, before);
}

async fn checking_a_missing_bucket_does_not_create_it(mut bench: TestBench) {
    bench.bucket = Bucket::new("elsewhere").unwrap();
    let name: Key = key("a");
    let outcome = bench.apply(vec![expect("a", Condition::Present)], vec![Write::put(name.clone(), "1")]).await;
    assert_eq!(outcome, Outcome::PreconditionFailed { index: 0, found: None });
    let nothing = Outcome::Committed { revision: Revision::ZERO, changes: vec![] };
    assert_eq!(bench.apply(vec![expect("a", Condition::Absent)], vec![]).await, nothing);
    bench.write(Write::Delete { key: name.clone() }).await;
    bench.write(Write::Touch { key: name, expires: None }).await;
    assert_eq!(bench.revision().await, Revision::ZERO);
    assert_eq!(bench.store.buckets().await.unwrap(), []);
}
