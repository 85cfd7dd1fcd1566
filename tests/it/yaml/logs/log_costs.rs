//! The costs of appends and reads do not depend on the length of the log: calls to the file system, and bytes.

use std::collections::BTreeMap;

use kvs::model::{LogAppend, LogQuery, NewLogEntry};
use kvs::store::Logs as _;
use kvs::yaml::YamlStore;

use super::{Deed, NAME, append};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Counting, CountingFs};
use crate::yaml::fixtures::{bucket, key, open, run};

/// Calls by their kind, and all bytes that were read or written.
type Costs = (BTreeMap<Call, u64>, u64);

fn costs(disk: &CountingFs) -> Costs {
    let (mut calls, mut bytes) = (BTreeMap::new(), disk.probe.take_read());
    for ((call, _), (count, length)) in disk.probe.take() {
        *calls.entry(call).or_default() += count;
        bytes += length;
    }
    (calls, bytes)
}

/// A log with this many entries.
fn log(entries: usize) -> (CountingFs, YamlStore) {
    let disk = CountingFs::new(CrashFs::default(), Counting::default());
    let store = open(disk.clone());
    for _ in 0..entries / 20 {
        let entries = (0..20).map(|n| NewLogEntry::new(format!("a value with the number {n}"))).collect();
        Deed::Append(LogAppend { entries, ..LogAppend::default() }).run(&store).unwrap();
    }
    costs(&disk);
    (disk, store)
}

fn read(store: &YamlStore, query: LogQuery) -> usize {
    run(store.read_log(&bucket(), &key(NAME), query)).unwrap().unwrap().entries.len()
}

const SHORT: usize = 1_000;
const LONG: usize = 100_000;

/// The costs of something on a short and on a long log.
fn compare(act: impl Fn(&CountingFs, &YamlStore)) -> (Costs, Costs) {
    let [short, long] = [SHORT, LONG].map(|entries| {
        let (disk, store) = log(entries);
        act(&disk, &store);
        costs(&disk)
    });
    (short, long)
}

/// Indices have two more digits.
const DIGITS: u64 = 100;

#[test]
fn append_costs_the_same_on_a_long_log() {
    let (short, long) = compare(|_, store| assert!(append(store, &["next"]).is_ok()));
    assert_eq!(short.0, long.0);
    assert!(long.1 < short.1 + DIGITS, "{short:?}, {long:?}");
    assert_eq!((long.0[&Call::Write], long.0[&Call::Sync]), (1, 1), "{long:?}");
    assert_eq!(long.0.get(&Call::Read), None, "{long:?}");
}

#[test]
fn append_of_a_new_process_costs_the_same_on_a_long_log() {
    let (short, long) = compare(|disk, _| assert!(append(&open(disk.clone()), &["next"]).is_ok()));
    assert_eq!(short.0, long.0);
    assert!(long.1 < short.1 + DIGITS, "{short:?}, {long:?}");
}

#[test]
fn reading_the_last_entries_costs_the_same_on_a_long_log() {
    let (short, long) = compare(|_, store| assert_eq!(read(store, LogQuery::last(10)), 10));
    assert_eq!(short.0, long.0);
    assert!(long.1 < short.1 + DIGITS, "{short:?}, {long:?}");
}

#[test]
fn reading_from_an_index_takes_few_reads_of_a_long_log() {
    for at in [0, 1, LONG / 3, LONG / 2, LONG - 11] {
        let (short, long) = compare(|_, store| {
            let query = LogQuery { limit: 10, ..LogQuery::from_index(at as u64) };
            read(store, query);
        });
        // It is a hundred times as long, which is seven more steps.
        assert!(long.0[&Call::Read] <= short.0.get(&Call::Read).copied().unwrap_or(0) + 16, "{short:?}, {long:?}");
        assert!(long.1 < 40 * 8_192, "{at}: {long:?}");
    }
}
