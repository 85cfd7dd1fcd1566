//! Concurrency: no torn reads, no lost writes, no duplicates.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::cases::cases;
use super::store_under_test::{TestBench, expect, key, number};
use crate::model::{Condition, Entry, Outcome, Revision, Scan, Write};

cases![
    readers_never_see_half_a_batch,
    compare_and_swap_counts_exactly,
    increments_count_exactly,
    only_one_of_many_creates,
    no_two_writes_share_a_revision,
    a_returned_write_is_visible,
    a_dropped_apply_is_done_completely_or_not_at_all,
];

fn pair(n: u64) -> Vec<Write> {
    ["left", "right"].map(|name| Write::put(key(name), n.to_string())).into()
}

fn assert_pair(left: Option<&Entry>, right: Option<&Entry>) -> u64 {
    assert_eq!(left.map(|e| &e.value), right.map(|e| &e.value), "half a batch was seen");
    number(left)
}

/// Reads the pair by `get` and by `scan` until `stop` is set. Its numbers must never go back.
async fn watch_pair(bench: TestBench, stop: Arc<AtomicBool>) {
    let (mut last, mut revision) = (0, Revision::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let snapshot = bench.store.get(&bench.bucket, &[key("left"), key("right")]).await.unwrap();
        let n = assert_pair(snapshot.entries[0].as_ref(), snapshot.entries[1].as_ref());
        // Between a delete and the next put both are missing.
        assert!((n == 0 || n >= last) && snapshot.revision >= revision, "went back from {last} to {n}");
        let newest = snapshot.entries.iter().flatten().map(|e| e.revision).max();
        assert!(newest.is_none_or(|newest| newest <= snapshot.revision), "an entry is newer than its snapshot");
        let page = bench.scan(Scan::default()).await;
        let entry = |i: usize| page.entries.get(i).and_then(|(_, entry)| entry.as_ref());
        let later = assert_pair(entry(0), entry(1));
        assert!((later == 0 || later >= n) && page.revision >= snapshot.revision, "went back from {n} to {later}");
        last = last.max(n).max(later);
        revision = page.revision;
        tokio::task::yield_now().await;
    }
}

async fn readers_never_see_half_a_batch(bench: TestBench) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        readers.spawn(watch_pair(bench.clone(), stop.clone()));
    }
    for n in 1..=300 {
        bench.commit(pair(n)).await;
        if n % 50 == 0 {
            bench.commit(["left", "right"].map(|name| Write::Delete { key: key(name) }).into()).await;
            bench.commit(pair(n)).await;
        }
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    readers.join_all().await;
}

/// Adds one by compare-and-swap.
async fn swap_one(bench: &TestBench, name: &str) {
    loop {
        let old = bench.entry(name).await;
        let is = old.as_ref().map_or(Condition::Absent, |e| Condition::RevisionIn(vec![e.revision]));
        let new = Write::put(key(name), (number(old.as_ref()) + 1).to_string());
        if let Outcome::Committed { .. } = bench.apply(vec![expect(name, is)], vec![new]).await {
            return;
        }
    }
}

async fn compare_and_swap_counts_exactly(bench: TestBench) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for _ in 0..40 {
                swap_one(&bench, "n").await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(number(bench.entry("n").await.as_ref()), 320);
}

async fn increments_count_exactly(bench: TestBench) {
    let mut tasks = JoinSet::new();
    for by in 1..=16 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                bench.commit(vec![Write::Increment { key: key("n"), by }]).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(number(bench.entry("n").await.as_ref()), 20 * (1..=16).sum::<u64>());
}

async fn only_one_of_many_creates(bench: TestBench) {
    for round in 0..10 {
        let name = format!("round {round}");
        let mut tasks = JoinSet::new();
        for n in 0..16 {
            let (bench, name) = (bench.clone(), name.clone());
            tasks.spawn(async move {
                let put = Write::put(key(&name), n.to_string());
                (n, bench.apply(vec![expect(&name, Condition::Absent)], vec![put]).await)
            });
        }
        let outcomes = tasks.join_all().await;
        let won: Vec<_> =
            outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Committed { .. })).map(|o| o.0).collect();
        let stored = bench.entry(&name).await;
        assert_eq!(won.len(), 1, "created by {won:?}");
        assert_eq!(number(stored.as_ref()), won[0]);
        let lost = |outcome: &Outcome| matches!(outcome, Outcome::PreconditionFailed { found, .. } if *found == stored);
        assert_eq!(outcomes.iter().filter(|(_, o)| lost(o)).count(), 15, "the others get the winning entry");
    }
}

async fn no_two_writes_share_a_revision(bench: TestBench) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let mut taken = vec![];
            for n in 0..20 {
                let names = [format!("{task}"), format!("shared {n}")];
                let writes = names.iter().map(|name| Write::put(key(name), "x")).collect();
                let changes = bench.commit(writes).await.1;
                taken.extend(changes.into_iter().map(|change| change.after.unwrap().revision));
            }
            assert!(taken.is_sorted_by(|a, b| a < b), "the order of commits is that of the caller");
            taken
        });
    }
    let taken: Vec<Revision> = tasks.join_all().await.concat();
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 8 * 20 * 2);
    assert_eq!(taken.into_iter().max(), Some(bench.revision().await));
}

async fn a_returned_write_is_visible(bench: TestBench) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let name = format!("task {task}");
            for n in 0..20 {
                let (revision, changes) = bench.commit(vec![Write::put(key(&name), n.to_string())]).await;
                assert_eq!(bench.entry(&name).await, changes[0].after);
                assert!(bench.revision().await >= revision);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn a_dropped_apply_is_done_completely_or_not_at_all(bench: TestBench) {
    for n in 1..=100 {
        let task = {
            let bench = bench.clone();
            tokio::spawn(async move { bench.commit(pair(n)).await })
        };
        // Dropped at once, or after a time that grows from round to round.
        if n % 3 > 0 {
            tokio::time::sleep(Duration::from_micros(20 * n)).await;
        }
        task.abort();
        let _ = task.await;
        let snapshot = bench.store.get(&bench.bucket, &[key("left"), key("right")]).await.unwrap();
        assert_pair(snapshot.entries[0].as_ref(), snapshot.entries[1].as_ref());
    }
    // A dropped one may still be done, as long as it takes a store.
    let mut last = Revision::ZERO;
    while bench.revision().await > last {
        last = bench.revision().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The store still works, and later writes are not undone by the dropped ones.
    bench.commit(pair(1000)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let snapshot = bench.store.get(&bench.bucket, &[key("left"), key("right")]).await.unwrap();
    assert_eq!(assert_pair(snapshot.entries[0].as_ref(), snapshot.entries[1].as_ref()), 1000);
    assert_eq!(bench.revision().await, snapshot.revision);
}
