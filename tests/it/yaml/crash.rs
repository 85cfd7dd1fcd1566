//! Crashes at every point of everything that writes: append, group commit, first file, rewrite, torn tail, compaction.
//!
//! Each scenario runs once for every call that changes something, and is stopped before that call. The result is
//! checked after many crashes, each with another seed, and after as many kills. What always holds: each acknowledged
//! batch is there; each other batch is there as a whole or not at all; revisions do not go back; what was served once
//! survives the next crash; and writing goes on.

use std::sync::Arc;

use kvs::model::{Batch, Condition, Outcome, Result, Revision, Write};
use kvs::store::{Severity, Store, Task};
use kvs::yaml::YamlStore;
use parking_lot::Mutex;

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Meddling, MeddlingFs, Which};
use crate::yaml::fixtures::{
    Values, all, apply, batch, bucket, commit, data, delete, expect, model, open, pair, put, run, upkeep, values,
};

/// Crashes per point, and as many kills.
const SEEDS: u64 = 200;

/// The acknowledged and the other batches.
#[derive(Clone, Debug, Default)]
struct Ledger {
    acknowledged: Values,
    revision: Revision,
    /// Batches whose outcome is open, in their order.
    open: Vec<Vec<Write>>,
}

impl Ledger {
    /// Applies a batch and records it. Returns false if it failed.
    fn apply(&mut self, store: &YamlStore, writes: Vec<Write>) -> bool {
        let outcome = apply(store, writes.clone());
        self.record(writes, outcome.is_ok());
        if let Ok(Outcome::Committed { revision, .. }) = &outcome {
            assert!(*revision >= self.revision);
            self.revision = *revision;
        }
        outcome.is_ok()
    }

    fn record(&mut self, writes: Vec<Write>, done: bool) {
        if done {
            assert!(self.open.is_empty(), "acknowledged after a failed one");
            model(&mut self.acknowledged, &writes);
        } else {
            self.open.push(writes);
        }
    }

    /// The allowed states: with the open batches up to any one of them.
    fn allowed(&self) -> Vec<Values> {
        let mut all = vec![self.acknowledged.clone()];
        for writes in &self.open {
            let mut next = all.last().unwrap().clone();
            model(&mut next, writes);
            all.push(next);
        }
        all
    }
}

/// Something that writes, from a known state.
struct Scenario {
    name: &'static str,
    begin: fn(&CrashFs) -> Ledger,
    act: fn(&CrashFs, &mut Ledger),
}

impl Scenario {
    /// Runs it, with a stop before each call that changes something.
    fn explore(&self) {
        let start = CrashFs::default();
        let ledger = (self.begin)(&start);
        let mut points = 0;
        loop {
            let disk = start.killed(&mut Seed::new(0));
            disk.stop_before(points);
            let mut ledger = ledger.clone();
            (self.act)(&disk, &mut ledger);
            for number in 0..SEEDS {
                let seed = &mut Seed::new(number + points * 1000);
                let case = format!("{}, stopped before change {points}, seed {number}", self.name);
                examine(&disk.crashed(seed), &ledger, seed, &format!("{case}, power lost"));
                examine(&disk.killed(seed), &ledger, seed, &format!("{case}, killed"));
            }
            if ledger.open.is_empty() {
                break;
            }
            points += 1;
            assert!(points < 200, "{}: never ends: {ledger:?}", self.name);
        }
        assert!(points >= 4, "{}: only {points} points", self.name);
    }
}

/// Checks the state after the stop, and continues.
fn examine(disk: &CrashFs, ledger: &Ledger, seed: &mut Seed, case: &str) {
    let store = open(disk.clone());
    let (revision, entries) = all(&store).unwrap_or_else(|e| panic!("{case}: {e}"));
    let found = values(&store);
    assert!(ledger.allowed().contains(&found), "{case}: found {found:?}, known {ledger:?}");
    assert!(revision >= ledger.revision, "{case}: {revision:?} before {ledger:?}");
    assert_eq!(all(&open(disk.clone())).unwrap(), (revision, entries.clone()), "{case}: opened again");

    // What was served is also served after the next crash.
    let crashed = disk.crashed(seed);
    let later = open(crashed.clone());
    assert_eq!(all(&later).unwrap(), (revision, entries), "{case}: served, then crashed again");

    // Writing goes on, also for a process that had read before, and survives a crash.
    for (n, store) in [store, later].into_iter().enumerate() {
        let outcome = apply(&store, pair(90 + n, "on"));
        let Ok(Outcome::Committed { revision: next, .. }) = outcome else {
            panic!(
                "{case}: cannot continue: {outcome:?}\n{:?}\n{:?}",
                crashed.bytes(&data()).map(|b| String::from_utf8_lossy(&b).into_owned()),
                crashed.bytes(&data().with_extension("lock")).map(|b| String::from_utf8_lossy(&b).into_owned())
            );
        };
        assert!(next > revision, "{case}: {next:?}");
    }
    let mut wanted = found;
    model(&mut wanted, &pair(90, "on"));
    let again = open(disk.crashed(seed));
    assert_eq!(values(&again), wanted, "{case}: continued, then crashed");
    let findings = upkeep(&again, Task::Check).unwrap().findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{case}: {findings:?}");
}

fn some_pairs(disk: &CrashFs) -> Ledger {
    let (store, mut ledger) = (open(disk.clone()), Ledger::default());
    for n in 0..3 {
        assert!(ledger.apply(&store, pair(n, "a value of some length, so that it spans some pages of the disk")));
    }
    ledger
}

#[test]
fn crash_during_an_append_leaves_all_or_none_of_it() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let store = open(disk.clone());
        let _ = ledger.apply(&store, pair(0, &"changed ".repeat(40)))
            && ledger.apply(&store, vec![delete("a1"), delete("b1")])
            && ledger.apply(&store, pair(3, "new"));
    };
    Scenario { name: "append", begin: some_pairs, act }.explore();
}

#[test]
fn crash_during_the_first_write_leaves_all_or_none_of_it() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let store = open(disk.clone());
        let _ = ledger.apply(&store, pair(0, "first")) && ledger.apply(&store, pair(1, "second"));
    };
    Scenario { name: "first write", begin: |_| Ledger::default(), act }.explore();
}

/// Applies batches as one group: while the first is written, the others come.
pub(crate) fn grouped(
    disk: &MeddlingFs,
    store: &YamlStore,
    first: Vec<Write>,
    others: Vec<Batch>,
) -> Vec<Result<Outcome>> {
    type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;
    let waiting: Arc<Mutex<Vec<Waiting>>> = Arc::default();
    let (later, second) = (Arc::clone(&waiting), store.clone());
    disk.probe.next(Which(Call::Write, ".yaml"), move || {
        for batch in others {
            let store = second.clone();
            let mut future: Waiting = Box::pin(async move { store.apply(&bucket(), batch).await });
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending(), "it waits for the first");
            later.lock().push(future);
        }
    });
    let mut outcomes = vec![apply(store, first)];
    let waiting = std::mem::take(&mut *waiting.lock());
    outcomes.extend(waiting.into_iter().map(run));
    outcomes
}

#[test]
fn crash_during_a_group_commit_leaves_whole_batches_in_order() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let disk = MeddlingFs::new(disk.clone(), Meddling::default());
        let store = open(disk.clone());
        let others: Vec<_> = (0..4).map(|n| pair(n, &format!("of the group {}", "x".repeat(n * 50)))).collect();
        let outcomes = grouped(&disk, &store, pair(7, "alone"), others.iter().cloned().map(batch).collect());
        for (writes, outcome) in std::iter::once(pair(7, "alone")).chain(others).zip(outcomes) {
            ledger.record(writes, outcome.is_ok());
        }
    };
    Scenario { name: "group", begin: some_pairs, act }.explore();
}

#[test]
fn crash_while_an_edited_file_is_rewritten_loses_nothing() {
    let begin = |disk: &CrashFs| {
        let mut ledger = some_pairs(disk);
        let mut bytes = disk.bytes(&data()).unwrap();
        bytes.extend_from_slice(b"hand: written\nother: 'by hand'\n");
        disk.put(&data(), &bytes);
        model(&mut ledger.acknowledged, &[put("hand", "written"), put("other", "by hand")]);
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let store = open(disk.clone());
        let _ = ledger.apply(&store, pair(0, "after")) && ledger.apply(&store, pair(4, "after"));
    };
    Scenario { name: "rewrite", begin, act }.explore();
}

#[test]
fn crash_while_a_torn_tail_is_set_aside_loses_nothing() {
    let begin = |disk: &CrashFs| {
        let ledger = some_pairs(disk);
        let mut bytes = disk.bytes(&data()).unwrap();
        bytes.extend_from_slice(b"---\na0: {value: torn, updated: 2027-01-15T08:00:00Z}\nb0: {val");
        disk.put(&data(), &bytes);
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let store = open(disk.clone());
        let _ = ledger.apply(&store, pair(0, "after")) && ledger.apply(&store, pair(4, "after"));
        if ledger.open.is_empty() {
            let kept = disk.names().into_iter().find(|name| name.to_string_lossy().contains(".torn-")).unwrap();
            assert!(disk.bytes(&kept).unwrap().ends_with(b"b0: {val"));
        }
    };
    Scenario { name: "torn tail", begin, act }.explore();
}

#[test]
fn torn_tail_is_durable_elsewhere_before_it_is_cut_off() {
    let disk = CrashFs::default();
    some_pairs(&disk);
    let tail = format!("---\na0: {{value: {}", "torn ".repeat(40));
    disk.put(&data(), &[&disk.bytes(&data()).unwrap(), tail.as_bytes()].concat());
    for stop in 0.. {
        let running = disk.killed(&mut Seed::new(0));
        running.stop_before(stop);
        let done = apply(&open(running.clone()), pair(0, "after")).is_ok();
        for number in 0..SEEDS {
            let left = running.crashed(&mut Seed::new(number));
            let files = left.names().into_iter().filter(|name| !name.to_string_lossy().ends_with(".lock"));
            let holds = |bytes: Vec<u8>| bytes.windows(tail.len()).any(|part| part == tail.as_bytes());
            let kept = files.filter_map(|name| left.bytes(&name)).any(holds);
            assert!(kept, "stopped before change {stop}, seed {number}: the torn tail is lost");
        }
        if done {
            return;
        }
    }
}

#[test]
fn crash_during_compaction_leaves_the_same_state() {
    let begin = |disk: &CrashFs| {
        let mut ledger = some_pairs(disk);
        let store = open(disk.clone());
        for n in 0..12 {
            assert!(ledger.apply(&store, pair(n % 5, &format!("value {n}"))));
        }
        assert!(ledger.apply(&store, vec![delete("a4"), delete("b4")]));
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let store = open(disk.clone());
        if upkeep(&store, Task::Compact).is_err() {
            ledger.open.push(vec![]);
            return;
        }
        let _ = ledger.apply(&store, pair(0, "after")) && ledger.apply(&store, vec![delete("a1"), delete("b1")]);
    };
    Scenario { name: "compaction", begin, act }.explore();
}

#[test]
fn crash_during_compaction_with_writers_loses_nothing() {
    let begin = |disk: &CrashFs| {
        let mut ledger = some_pairs(disk);
        let store = open(disk.clone());
        for n in 0..4 {
            assert!(ledger.apply(&store, pair(n, &format!("value {n}"))));
        }
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        // A second process writes while the first has half of its snapshot.
        let compacting = MeddlingFs::new(disk.clone(), Meddling::default());
        let shared = Arc::new(Mutex::new(ledger.clone()));
        let (recorded, other) = (Arc::clone(&shared), open(disk.clone()));
        compacting.probe.next(Which(Call::Sync, ".compact"), move || {
            let mut ledger = recorded.lock();
            let _ =
                ledger.apply(&other, pair(1, "meanwhile")) && ledger.apply(&other, vec![delete("a2"), delete("b2")]);
        });
        let done = upkeep(&open(compacting), Task::Compact);
        *ledger = shared.lock().clone();
        if done.is_err() {
            ledger.open.push(vec![]);
        }
    };
    Scenario { name: "compaction during writes", begin, act }.explore();
}

#[test]
fn crash_keeps_the_revision_of_a_deletion() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    commit(&store, pair(0, "x"));
    let last = commit(&store, vec![delete("a0"), delete("b0")]);
    let seed = &mut Seed::new(1);
    assert_eq!(all(&open(disk.crashed(seed))).unwrap().0, last);
    upkeep(&store, Task::Compact).unwrap();
    assert_eq!(all(&open(disk.crashed(seed))).unwrap().0, last);
    let condition = vec![expect("a0", Condition::Absent)];
    let again = Batch::new(pair(0, "y")).with_expectations(condition);
    assert!(
        matches!(run(open(disk.crashed(seed)).apply(&bucket(), again)), Ok(Outcome::Committed { revision, .. }) if revision > last)
    );
}

#[test]
fn overwritten_entries_are_kept_wherever_the_process_is_killed() {
    let initial = CrashFs::default();
    commit(&open(initial.clone()), pair(0, "seen"));
    let seen = initial.bytes(&data()).unwrap();
    commit(&open(initial.clone()), pair(1, "not seen"));
    commit(&open(initial.clone()), pair(0, "changed"));
    let mut stops = 0;
    loop {
        let disk = initial.killed(&mut Seed::new(0));
        disk.put(&data(), &seen);
        disk.stop_before(stops);
        let before = disk.changes();
        let _ = all(&open(disk.clone()));
        let _ = apply(&open(disk.clone()), pair(2, "later"));
        let is_over = disk.changes() - before < stops;
        for number in 0..SEEDS {
            let later = disk.killed(&mut Seed::new(number + stops * 1000));
            let found = values(&open(later.clone()));
            let aside = later.names().into_iter().filter(|name| name.to_string_lossy().contains(".overwritten-"));
            let texts: String = aside.map(|name| String::from_utf8(later.bytes(&name).unwrap()).unwrap()).collect();
            for (key, value) in [("a0", "changed"), ("b0", "changed"), ("a1", "not seen"), ("b1", "not seen")] {
                let line = format!("{key}: {{value: {value}, ");
                let is_served = found.get(key).is_some_and(|found| found == value);
                assert!(
                    is_served || texts.contains(&line),
                    "stopped before {stops}, seed {number}: {key}: {found:?}\n{texts}"
                );
            }
        }
        if is_over {
            break;
        }
        stops += 1;
    }
    assert!(stops > 8, "only {stops} points");
}
