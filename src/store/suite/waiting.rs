//! Waiting for a bucket to change: every change wakes, nothing else does, and no change is missed.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cases::cases;
use super::store_under_test::{TestBench, changes_of_each_kind, expect, key};
use crate::model::{Bucket, Condition, Outcome, Revision, Write};

cases![
    every_change_wakes_a_waiter,
    nothing_but_a_change_wakes_a_waiter,
    a_past_revision_returns_at_once,
    the_first_write_wakes_waiters_of_a_missing_bucket,
    a_waiter_for_a_future_revision_sleeps_until_it,
    expiry_alone_wakes_nobody,
    all_waiters_are_woken,
    no_change_is_missed_between_two_waits,
    a_dropped_waiter_does_not_disturb_others,
];

/// The maximum time until a store notices a change.
const SOON: Duration = Duration::from_secs(10);
/// The time that a waiter is watched for waking without a reason.
const WHILE: Duration = Duration::from_millis(60);

/// Waits for the next revision of the bucket, which must come soon.
async fn moved(bench: &TestBench, since: Revision) -> Revision {
    let reached =
        timeout(SOON, bench.store.changed(&bench.bucket, since)).await.unwrap_or_else(|_| panic!("not woken"));
    let reached = reached.unwrap();
    assert!(reached > since, "woken at {reached:?}, which is not past {since:?}");
    reached
}

/// Checks that a waiter does not wake for a while.
async fn sleeps(bench: &TestBench, since: Revision) {
    if let Ok(reached) = timeout(WHILE, bench.store.changed(&bench.bucket, since)).await {
        panic!("woken at {reached:?} though nothing moved the bucket past {since:?}");
    }
}

async fn every_change_wakes_a_waiter(bench: TestBench) {
    bench.put("a", "1").await;
    for write in changes_of_each_kind(&bench, "a") {
        let since = bench.revision().await;
        let waiter = {
            let bench = bench.clone();
            tokio::spawn(async move { moved(&bench, since).await })
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (revision, _) = bench.commit(vec![write.clone()]).await;
        assert_eq!(waiter.await.unwrap(), revision, "{write:?}");
    }
}

async fn nothing_but_a_change_wakes_a_waiter(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    let waiter = {
        let bench = bench.clone();
        tokio::spawn(async move { sleeps(&bench, since).await })
    };
    let refused = bench.apply(vec![expect("a", Condition::Absent)], vec![Write::put(key("a"), "2")]).await;
    assert!(matches!(refused, Outcome::PreconditionFailed { .. }));
    bench.commit(vec![Write::Delete { key: key("b") }, Write::Touch { key: key("a"), expires: None }]).await;
    bench
        .fails(vec![Write::put(key("b"), "1"), Write::put(key("a"), "x"), Write::Increment { key: key("a"), by: 1 }])
        .await;
    let other = TestBench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    other.put("a", "1").await;
    waiter.await.unwrap();
}

async fn a_past_revision_returns_at_once(bench: TestBench) {
    let first = bench.put("a", "1").await.revision;
    bench.advance(1);
    let last = bench.put("a", "2").await.revision;
    for since in [Revision::ZERO, first, Revision::new(last.number() - 1)] {
        assert_eq!(moved(&bench, since).await, last);
    }
    sleeps(&bench, last).await;
}

async fn the_first_write_wakes_waiters_of_a_missing_bucket(bench: TestBench) {
    let waiter = {
        let bench = bench.clone();
        tokio::spawn(async move { moved(&bench, Revision::ZERO).await })
    };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let other = TestBench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    other.put("a", "1").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!waiter.is_finished(), "another bucket came to be, not this one");
    bench.advance(1);
    let revision = bench.put("a", "1").await.revision;
    assert_eq!(waiter.await.unwrap(), revision);
}

async fn a_waiter_for_a_future_revision_sleeps_until_it(bench: TestBench) {
    let first = bench.put("a", "1").await.revision;
    let since = Revision::new(first.number() + 2);
    for _ in 0..2 {
        bench.put("a", "1").await;
        sleeps(&bench, since).await;
    }
    let last = bench.put("a", "1").await.revision;
    assert_eq!(moved(&bench, since).await, last);
}

async fn expiry_alone_wakes_nobody(bench: TestBench) {
    bench.expired("a", "1").await;
    let since = bench.revision().await;
    assert_eq!(bench.entry("a").await, None);
    sleeps(&bench, since).await;
    assert_eq!(bench.revision().await, since);
}

async fn all_waiters_are_woken(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    let mut waiters = JoinSet::new();
    for _ in 0..200 {
        let bench = bench.clone();
        waiters.spawn(async move { moved(&bench, since).await });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let last = bench.put("a", "2").await.revision;
    assert_eq!(waiters.join_all().await, vec![last; 200]);
}

async fn no_change_is_missed_between_two_waits(bench: TestBench) {
    let writer = {
        let bench = bench.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                bench.put("a", n.to_string()).await;
                tokio::task::yield_now().await;
            }
            bench.revision().await
        })
    };
    let mut seen = Revision::ZERO;
    let mut value = bytes::Bytes::new();
    while value != "199" {
        seen = moved(&bench, seen).await;
        let snapshot = bench.store.get(&bench.bucket, &[key("a")]).await.unwrap();
        assert!(snapshot.revision >= seen, "a read after the waking sees what woke");
        value = snapshot.entries[0].as_ref().unwrap().value.clone();
    }
    let last = writer.await.unwrap();
    assert!(seen <= last);
    sleeps(&bench, last).await;
}

async fn a_dropped_waiter_does_not_disturb_others(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    let mut waiters = JoinSet::new();
    for n in 0..50 {
        let bench = bench.clone();
        waiters.spawn(async move {
            if n % 2 == 0 {
                let _ = timeout(Duration::from_millis(5), bench.store.changed(&bench.bucket, since)).await;
            } else {
                moved(&bench, since).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.put("a", "2").await;
    while let Some(ended) = waiters.join_next().await {
        ended.unwrap();
    }
}
