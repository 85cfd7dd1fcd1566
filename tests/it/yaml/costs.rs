//! The costs of reads and writes: calls to the file system, and bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kvs::model::{Batch, Condition, Outcome, Time, Write};
use kvs::store::{Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Counting, CountingFs, Meddling, MeddlingFs};
use crate::yaml::crash::grouped;
use crate::yaml::fixtures::{
    all, apply, batch, bucket, commit, data, delete, expect, key, open, pair, put, run, upkeep, values,
};

fn counting() -> CountingFs {
    CountingFs::new(CrashFs::default(), Counting::default())
}

/// The number of calls of each kind, for all files.
fn calls(disk: &CountingFs) -> BTreeMap<Call, u64> {
    let mut calls = BTreeMap::new();
    for ((call, _), (count, _)) in disk.probe.take() {
        *calls.entry(call).or_default() += count;
    }
    calls
}

#[test]
fn read_is_one_stat_of_the_file() {
    let disk = counting();
    let store = open(disk.clone());
    commit(&store, pair(0, "x"));
    disk.probe.take();
    for _ in 0..10 {
        run(store.get(&bucket(), &[key("a0"), key("b0"), key("c0")])).unwrap();
        assert_eq!(calls(&disk), BTreeMap::from([(Call::Stat, 1)]));
    }
    all(&store).unwrap();
    assert_eq!(calls(&disk), BTreeMap::from([(Call::Stat, 1)]));
}

#[test]
fn read_after_an_append_by_others_reads_only_the_append() {
    let disk = counting();
    let (writer, reader) = (open(disk.clone()), open(disk.clone()));
    commit(&writer, (0..1000).map(|n| put(&format!("key {n}"), "value ".repeat(10))).collect());
    all(&reader).unwrap();
    for n in 0..5 {
        commit(&writer, pair(n, "x"));
        disk.probe.take();
        assert_eq!(all(&reader).unwrap().1["a0"].value, "x");
        let calls = calls(&disk);
        assert_eq!(calls.get(&Call::Sync), None, "{calls:?}");
        // The record of the lock file, and the tail.
        assert_eq!(calls.get(&Call::Read), Some(&2), "{calls:?}");
    }
}

#[test]
fn a_write_is_one_append_and_one_sync() {
    let disk = counting();
    let store = open(disk.clone());
    commit(&store, pair(0, "first"));
    for _ in 0..5 {
        disk.probe.take();
        commit(&store, pair(0, "next"));
        let counts = disk.probe.take();
        let count = |call: Call| counts.iter().filter(|((c, _), _)| *c == call).map(|(_, (n, _))| n).sum::<u64>();
        assert_eq!(count(Call::Sync), 1, "{counts:?}");
        // The document, the same in the copy, and the record in the lock file.
        assert_eq!(count(Call::Write), 3, "{counts:?}");
        // The record: another process may have found that a sync failed.
        assert_eq!(count(Call::Read), 1, "{counts:?}");
        assert_eq!(count(Call::SyncFolder) + count(Call::Rename) + count(Call::Open), 0);
    }
}

#[test]
fn a_group_is_one_append_and_one_sync() {
    let counted = counting();
    let disk = MeddlingFs::new(counted.clone(), Meddling::default());
    let store = open(disk.clone());
    commit(&store, pair(0, "first"));
    drop(store);
    let store = open(disk.clone());
    all(&store).unwrap();
    counted.probe.take();
    let others = (0..50).map(|n| batch(pair(n, "of the group"))).collect();
    let outcomes = grouped(&disk, &store, pair(99, "alone"), others);
    assert!(outcomes.iter().all(Result::is_ok));
    let counts = calls(&counted);
    assert_eq!((counts[&Call::Sync], counts[&Call::Write]), (2, 6), "one alone and one group: {counts:?}");
    assert_eq!(values(&store).len(), 102);
}

#[test]
fn refused_or_empty_batches_are_neither_written_nor_synced() {
    let disk = counting();
    let store = open(disk.clone());
    commit(&store, pair(0, "x"));
    disk.probe.take();
    let refused = Batch::new(pair(0, "y")).with_expectations(vec![expect("a0", Condition::Absent)]);
    assert!(matches!(run(store.apply(&bucket(), refused)).unwrap(), Outcome::PreconditionFailed { index: 0, .. }));
    commit(&store, vec![delete("missing"), Write::Touch { key: key("missing"), expires: None }]);
    commit(&store, vec![]);
    assert!(apply(&store, vec![Write::Increment { key: key("a0"), by: 1 }]).is_err());
    let counts = calls(&disk);
    for call in [Call::Sync, Call::Write, Call::Truncate, Call::Rename, Call::SyncFolder] {
        assert_eq!(counts.get(&call), None, "{counts:?}");
    }
}

#[test]
fn write_cost_is_independent_of_stored_data() {
    // Files with a copy, and files that are too long for one.
    for sizes in [[10, 1000, 5000], [15_000, 20_000, 30_000]] {
        costs_the_same(&sizes);
    }
}

fn costs_the_same(sizes: &[usize]) {
    let mut costs = vec![];
    for &size in sizes {
        let disk = counting();
        let store = open(disk.clone());
        let value = "some text of the usual length";
        commit(&store, (0..size).map(|n| put(&format!("key {n:06}"), value)).collect());
        let other = open(disk.clone());
        all(&other).unwrap();
        disk.probe.take();
        // Two processes in turn, so that each must read the appends of the other.
        for n in 0..20 {
            commit(if n % 2 == 0 { &store } else { &other }, vec![put(&format!("key {:06}", n % 10), "new")]);
        }
        let counts = disk.probe.take();
        let written: u64 = counts.values().map(|(_, bytes)| bytes).sum();
        costs.push((counts.values().map(|(calls, _)| calls).sum::<u64>(), written));
    }
    // Times are written with as many digits as they have, so the bytes may differ a little.
    let same = |cost: &(u64, u64)| cost.0 == costs[0].0 && cost.1.abs_diff(costs[0].1) < 20 * 10;
    assert!(costs.iter().all(same) && costs[0].1 < 20 * 600, "calls and bytes for 20 writes: {costs:?}");
}

#[test]
fn extreme_times_do_not_make_writing_slower() {
    let disk = counting();
    let (store, other) = (open(disk.clone()), open(disk.clone()));
    commit(&store, (0..1000).map(|n| put(&format!("key {n:06}"), "x")).collect());
    all(&other).unwrap();
    for end in [Time::from_nanos(i64::MAX), Time::default().plus(Duration::from_secs(u64::MAX))] {
        for modified in [None, Some(Time::from_nanos(i64::MIN)), Some(Time::from_secs(-86_400))] {
            disk.probe.take();
            for (n, store) in [&store, &other, &store, &other].into_iter().enumerate() {
                let name = key(&format!("for good {n}"));
                let kind = kvs::model::ContentType::default();
                let write =
                    Write::Put { key: name, value: "x".into(), content_type: kind, expires: Some(end), modified };
                commit(store, vec![write]);
            }
            let counts = disk.probe.take();
            let written: u64 = counts.values().map(|(_, bytes)| bytes).sum();
            assert!(written < 3000, "{end} {modified:?}: {written} bytes for 4 small writes: {counts:?}");
            let found = all(&open(disk.clone())).unwrap().1;
            assert_eq!((found["for good 1"].expires, found["for good 1"].modified), (Some(end), modified));
        }
    }
}

#[test]
fn compaction_shrinks_the_file_and_keeps_its_entries() {
    let disk = counting();
    let store = open(disk.clone());
    for n in 0..200 {
        commit(&store, pair(n % 3, &format!("value {n}")));
    }
    let (revision, entries) = all(&store).unwrap();
    let report = upkeep(&store, Task::Compact).unwrap();
    assert!(report.bytes_after < report.bytes_before / 10, "{report:?}");
    assert_eq!(report.entries, 6);
    assert_eq!(all(&open(disk.clone())).unwrap(), (revision, entries));
    disk.probe.take();
    run(store.get(&bucket(), &[key("a0")])).unwrap();
    assert_eq!(calls(&disk), BTreeMap::from([(Call::Stat, 1)]), "compacting does not make this process read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_compacted_before_it_outgrows_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let store = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
    let value = "x".repeat(1000);
    for n in 0..600 {
        store.apply(&bucket(), batch(vec![put(&format!("key {}", n % 10), value.clone())])).await.unwrap();
    }
    // 600 KB were written, of which 10 KB are live. The last compaction may still be running, or come when it is quiet.
    let file = folder.path().join(data().file_name().unwrap());
    let mut len = u64::MAX;
    for _ in 0..1000 {
        len = std::fs::metadata(&file).unwrap().len();
        if len < 150_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(len < 150_000, "{len} bytes");
    assert_eq!(values(&store).len(), 10);
    drop(Arc::new(store));
}
