//! Appends that arrive together and share one write and one sync.

use std::pin::Pin;
use std::sync::Arc;

use kvs::model::{AppendOutcome, LogAppend, Result};
use kvs::store::Logs as _;
use kvs::yaml::YamlStore;
use parking_lot::Mutex;

use super::power_cuts::Scenario;
use super::{Deed, Ledger, append, file, keeping, modelled, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Meddling, MeddlingFs, Which};
use crate::yaml::fixtures::{bucket, key, open, run};

fn of(deed: &Deed) -> LogAppend {
    let Deed::Append(append) = deed else { panic!("no append: {deed:?}") };
    append.clone()
}

type Waiting = Pin<Box<dyn Future<Output = Result<AppendOutcome>> + Send>>;

/// Appends as one group: while the first is written, the others come.
fn grouped(disk: &MeddlingFs, store: &YamlStore, deeds: &[Deed]) -> Vec<Result<Option<u64>>> {
    let waiting: Arc<Mutex<Vec<Waiting>>> = Arc::default();
    let (later, second) = (Arc::clone(&waiting), store.clone());
    let others: Vec<LogAppend> = deeds[1..].iter().map(of).collect();
    disk.probe.next(Which(Call::Write, ".log"), move || {
        for append in others {
            let store = second.clone();
            let mut future: Waiting = Box::pin(async move { store.append(&bucket(), &key(super::NAME), append).await });
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending(), "it waits for the first");
            later.lock().push(future);
        }
    });
    let mut outcomes = vec![deeds[0].run(store)];
    let waiting = std::mem::take(&mut *waiting.lock());
    let index = |outcome| match outcome {
        AppendOutcome::Appended { index } => Some(index),
        AppendOutcome::IndexTaken { .. } => None,
    };
    outcomes.extend(waiting.into_iter().map(|future| run(future).map(index)));
    outcomes
}

fn one_entry(disk: &CrashFs) -> Ledger {
    let (store, mut ledger) = (open(disk.clone()), Ledger::default());
    assert!(ledger.run(&store, values(&["one"])));
    ledger
}

fn run_grouped(disk: &CrashFs, ledger: &mut Ledger, deeds: &[Deed]) {
    let disk = MeddlingFs::new(disk.clone(), Meddling::default());
    let store = open(disk.clone());
    let outcomes = grouped(&disk, &store, deeds);
    for (number, deed) in deeds.iter().enumerate() {
        // Those that never came were not done.
        if let Some(outcome) = outcomes.get(number) {
            ledger.record(deed.clone(), outcome);
        }
    }
}

#[test]
fn appends_of_a_group_are_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let more: Vec<Deed> = (0..4).map(|n| values(&[&format!("{n}"), &"x".repeat(n * 50)])).collect();
        run_grouped(disk, ledger, &[&[values(&["alone"])], &more[..]].concat());
    };
    Scenario { name: "group", begin: one_entry, act }.explore();
}

#[test]
fn appends_of_a_large_group_are_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let more: Vec<Deed> = (0..12).map(|n| values(&[&format!("{n} {}", "x".repeat(3_000))])).collect();
        run_grouped(disk, ledger, &[&[values(&["alone"])], &more[..]].concat());
    };
    Scenario { name: "large group", begin: one_entry, act }.explore();
}

#[test]
fn zeros_early_in_a_large_group_are_set_aside() {
    let disk = CrashFs::default();
    let meddling = MeddlingFs::new(disk.clone(), Meddling::default());
    let store = open(meddling.clone());
    append(&store, &["one"]).unwrap();
    let more = (0..12).map(|n| values(&[&format!("{n} {}", "x".repeat(3_000))]));
    for outcome in grouped(&meddling, &store, &[values(&["alone"])].into_iter().chain(more).collect::<Vec<_>>()) {
        outcome.unwrap();
    }
    // The power was cut before the sync of the group, and one page of it never reached the disk.
    let mut bytes = disk.bytes(&file()).unwrap();
    let page = bytes.windows(6).position(|part| part == b"\"1 xxx").unwrap() + 50;
    bytes[page..page + 4_096].fill(0);
    disk.put(&file(), &bytes);
    let store = open(disk.clone());
    let found = view(&store).unwrap().unwrap();
    assert!(found.entries.len() <= 3, "{} entries", found.entries.len());
    assert_eq!(append(&store, &["next"]).unwrap(), found.next);
    assert_eq!(view(&open(disk)).unwrap().unwrap().entries.len(), found.entries.len() + 1);
}

#[test]
fn retention_that_is_set_and_lifted_in_one_group_is_the_same_for_all_processes() {
    let disk = MeddlingFs::new(CrashFs::default(), Meddling::default());
    let store = open(disk.clone());
    append(&store, &["one", "two", "three"]).unwrap();
    let deeds = [values(&["four"]), keeping(values(&["five"]), Some(1)), keeping(values(&["six"]), None)];
    for outcome in grouped(&disk, &store, &deeds) {
        outcome.unwrap();
    }
    let here = view(&store).unwrap();
    assert_eq!(view(&open(disk)).unwrap(), here, "another process");
    assert_eq!(here, modelled([&values(&["one", "two", "three"])].into_iter().chain(&deeds)), "the model");
}
