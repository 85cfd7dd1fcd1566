//! Waiting for a bucket to change: woken by every change, by nothing else, and never too late.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bench::{Bench, expect, key};
use crate::model::{Bucket, Condition, Edge, Outcome, Revision, Write};

super::cases![
    any_change_wakes,
    nothing_else_wakes,
    what_is_past_already_is_answered_at_once,
    the_first_write_wakes_who_waits_for_a_missing_bucket,
    a_revision_to_come_is_waited_for,
    expiry_alone_wakes_nobody,
    all_who_wait_are_woken,
    no_change_is_missed_between_two_waits,
    who_stops_waiting_harms_nobody,
];

/// How long a store may take to notice a change.
const SOON: Duration = Duration::from_secs(10);
/// How long it is watched for waking without reason.
const WHILE: Duration = Duration::from_millis(60);

/// The revision the bucket moved to, which must happen soon.
async fn moved(bench: &Bench, since: Revision) -> Revision {
    let reached =
        timeout(SOON, bench.store.changed(&bench.bucket, since)).await.unwrap_or_else(|_| panic!("not woken"));
    let reached = reached.unwrap();
    assert!(reached > since, "woken at {reached:?}, which is not past {since:?}");
    reached
}

/// Nothing wakes who waits, for a while.
async fn sleeps(bench: &Bench, since: Revision) {
    if let Ok(reached) = timeout(WHILE, bench.store.changed(&bench.bucket, since)).await {
        panic!("woken at {reached:?} though nothing moved the bucket past {since:?}");
    }
}

async fn any_change_wakes(bench: Bench) {
    bench.put("a", "1").await;
    let name = || key("a");
    for write in [
        Write::put(name(), "1"),
        Write::Increment { key: name(), by: 1 },
        Write::Append { key: name(), value: "0".into(), edge: Edge::Back },
        Write::Touch { key: name(), expires: Some(bench.secs_ahead(60)) },
        Write::Touch { key: name(), expires: None },
        Write::Delete { key: name() },
    ] {
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

async fn nothing_else_wakes(bench: Bench) {
    let since = bench.put("a", "1").await.revision;
    let waiter = {
        let bench = bench.clone();
        tokio::spawn(async move { sleeps(&bench, since).await })
    };
    let refused = bench.apply(vec![expect("a", Condition::Absent)], vec![Write::put(key("a"), "2")]).await;
    assert!(matches!(refused, Outcome::Refused { .. }));
    bench.commit(vec![Write::Delete { key: key("b") }, Write::Touch { key: key("a"), expires: None }]).await;
    bench
        .fails(vec![Write::put(key("b"), "1"), Write::put(key("a"), "x"), Write::Increment { key: key("a"), by: 1 }])
        .await;
    let other = Bench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    other.put("a", "1").await;
    waiter.await.unwrap();
}

async fn what_is_past_already_is_answered_at_once(bench: Bench) {
    let first = bench.put("a", "1").await.revision;
    bench.advance(1);
    let last = bench.put("a", "2").await.revision;
    for since in [Revision::ZERO, first, Revision::new(last.number() - 1)] {
        assert_eq!(moved(&bench, since).await, last);
    }
    sleeps(&bench, last).await;
}

async fn the_first_write_wakes_who_waits_for_a_missing_bucket(bench: Bench) {
    let waiter = {
        let bench = bench.clone();
        tokio::spawn(async move { moved(&bench, Revision::ZERO).await })
    };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let other = Bench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    other.put("a", "1").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!waiter.is_finished(), "another bucket came to be, not this one");
    bench.advance(1);
    let revision = bench.put("a", "1").await.revision;
    assert_eq!(waiter.await.unwrap(), revision);
}

async fn a_revision_to_come_is_waited_for(bench: Bench) {
    let first = bench.put("a", "1").await.revision;
    let since = Revision::new(first.number() + 2);
    for _ in 0..2 {
        bench.put("a", "1").await;
        sleeps(&bench, since).await;
    }
    let last = bench.put("a", "1").await.revision;
    assert_eq!(moved(&bench, since).await, last);
}

async fn expiry_alone_wakes_nobody(bench: Bench) {
    bench.expired("a", "1").await;
    let since = bench.revision().await;
    assert_eq!(bench.entry("a").await, None);
    sleeps(&bench, since).await;
    assert_eq!(bench.revision().await, since);
}

async fn all_who_wait_are_woken(bench: Bench) {
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

async fn no_change_is_missed_between_two_waits(bench: Bench) {
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

async fn who_stops_waiting_harms_nobody(bench: Bench) {
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
