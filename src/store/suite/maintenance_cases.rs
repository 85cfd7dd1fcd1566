//! Maintenance tasks: readers see no difference.

use super::cases::cases;
use super::store_under_test::{TestBench, expect, key, put_all, put_until};
use crate::model::{Condition, Outcome, Revision, Time, Write};
use crate::store::contract::{Report, Severity, Task};

cases![
    no_task_changes_what_readers_see,
    expired_entries_are_removed,
    tasks_count_the_entries,
    removing_again_removes_nothing,
    revisions_survive_a_task,
    writes_work_during_a_task,
    a_missing_bucket_needs_no_maintenance,
];

const TASKS: [Task; 5] = [Task::Compact, Task::RemoveExpired, Task::RemoveLeftovers, Task::Check, Task::Status];

async fn maintain(bench: &TestBench, task: Task) -> Report {
    let report = bench.store.maintain(&bench.bucket, task).await.unwrap();
    let broken: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
    assert!(broken.is_empty(), "{task:?}: {broken:?}");
    report
}

/// Three entries of different kinds, two expired ones, and a deleted one.
async fn mixed(bench: &TestBench) {
    bench.commit(vec![Write::put(key("b"), "1"), Write::put(key("x"), "gone"), Write::put(key("e"), "2")]).await;
    for name in ["a", "d"] {
        bench.write(put_until(name, "expired", bench.secs_ahead(1))).await;
    }
    bench.write(put_all("c", "{}", Some(bench.secs_ahead(3600)), Some(Time::from_secs(9)))).await;
    bench.advance(1);
    bench.write(Write::Increment { key: key("b"), by: 1 }).await;
    bench.write(Write::Touch { key: key("e"), expires: Some(bench.secs_ahead(7200)) }).await;
    bench.write(Write::Delete { key: key("x") }).await;
}

async fn no_task_changes_what_readers_see(bench: TestBench) {
    mixed(&bench).await;
    let before = bench.seen().await;
    assert_eq!(before.entries.len(), 3);
    for task in TASKS.into_iter().chain(TASKS) {
        maintain(&bench, task).await;
        assert_eq!(bench.seen().await, before, "{task:?}");
        for (name, entry) in &before.entries {
            assert_eq!(&bench.entry(name.as_str()).await, entry, "{task:?}");
        }
    }
}

async fn expired_entries_are_removed(bench: TestBench) {
    mixed(&bench).await;
    let report = maintain(&bench, Task::RemoveExpired).await;
    assert_eq!((report.removed, report.entries), (2, 3));
    assert!(report.bytes_after < report.bytes_before, "{report:?}");
}

async fn tasks_count_the_entries(bench: TestBench) {
    mixed(&bench).await;
    for task in [Task::Check, Task::Compact, Task::RemoveExpired, Task::Check] {
        assert_eq!(maintain(&bench, task).await.entries, 3, "{task:?}");
    }
    bench.commit(["b", "c", "e"].map(|name| Write::Delete { key: key(name) }).into()).await;
    assert_eq!(maintain(&bench, Task::Check).await.entries, 0);
}

async fn removing_again_removes_nothing(bench: TestBench) {
    mixed(&bench).await;
    maintain(&bench, Task::RemoveExpired).await;
    assert_eq!(maintain(&bench, Task::RemoveExpired).await.removed, 0);
    bench.expired("f", "1").await;
    assert_eq!(maintain(&bench, Task::RemoveExpired).await.removed, 1);
}

async fn revisions_survive_a_task(bench: TestBench) {
    // The last write was a delete, so no entry has the revision of the bucket. It must be kept nevertheless.
    for task in TASKS {
        let entry = bench.put("a", "1").await;
        let (revision, _) = bench.commit(vec![Write::put(key("b"), "1"), Write::Delete { key: key("b") }]).await;
        maintain(&bench, task).await;
        assert_eq!(bench.revision().await, revision, "{task:?}");
        let is = expect("a", Condition::RevisionIn(vec![entry.revision]));
        assert!(matches!(bench.apply(vec![is], vec![]).await, Outcome::Committed { .. }), "{task:?}");
        assert!(bench.put("c", "1").await.revision > revision, "{task:?}");
    }
    bench.commit(["a", "c"].map(|name| Write::Delete { key: key(name) }).into()).await;
    let revision = bench.revision().await;
    maintain(&bench, Task::Compact).await;
    assert_eq!(bench.revision().await, revision, "of an emptied bucket too");
    assert_eq!(bench.store.buckets().await.unwrap().as_slice(), [bench.bucket]);
}

async fn writes_work_during_a_task(bench: TestBench) {
    mixed(&bench).await;
    let writer = {
        let bench = bench.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                let name = format!("n{n}");
                bench
                    .commit(vec![Write::put(key(&name), name.clone()), Write::Increment { key: key("n"), by: 1 }])
                    .await;
                tokio::task::yield_now().await;
            }
        })
    };
    while !writer.is_finished() {
        for task in TASKS {
            maintain(&bench, task).await;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(bench.value("n").await.unwrap(), "100");
    for n in 0..100 {
        let name = format!("n{n}");
        assert_eq!(bench.value(&name).await.unwrap(), name);
    }
}

async fn a_missing_bucket_needs_no_maintenance(bench: TestBench) {
    for task in TASKS {
        assert_eq!(maintain(&bench, task).await, Report::default(), "{task:?}");
    }
    assert_eq!(bench.revision().await, Revision::ZERO);
    assert_eq!(bench.store.buckets().await.unwrap(), []);
}
