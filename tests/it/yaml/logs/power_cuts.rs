//! The power is cut, or the process is killed, before each call that changes something, while a log is appended to,
//! trimmed or removed.
//!
//! What always holds: each acknowledged append is there; each other append is there as a whole or not at all; what was
//! served once survives the next crash; and the log can be appended to.

use kvs::model::{AppendOutcome, LogAppend, NewLogEntry};
use kvs::store::Logs as _;

use super::{Deed, Ledger, file, keeping, modelled, text, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{bucket, key, open, run};

/// Crashes per point, and as many kills.
const SEEDS: u64 = 100;

/// Something that writes, from a known state.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) begin: fn(&CrashFs) -> Ledger,
    pub(super) act: fn(&CrashFs, &mut Ledger),
}

impl Scenario {
    /// Runs it, with a stop before each call that changes something.
    pub(super) fn explore(&self) {
        let start = CrashFs::default();
        let ledger = (self.begin)(&start);
        for point in 0..300 {
            let disk = start.killed(&mut Seed::new(0));
            disk.stop_before(point);
            let mut ledger = ledger.clone();
            (self.act)(&disk, &mut ledger);
            let allowed = ledger.allowed();
            for number in 0..SEEDS {
                let seed = &mut Seed::new(number + point * 1000);
                let case = format!("{}, stopped before change {point}, seed {number}", self.name);
                Examined { ledger: &ledger, allowed: &allowed, case: format!("{case}, power lost") }
                    .examine(&disk.crashed(seed), seed);
                Examined { ledger: &ledger, allowed: &allowed, case: format!("{case}, killed") }
                    .examine(&disk.killed(seed), seed);
            }
            if ledger.open.is_empty() {
                assert!(point >= 4, "{}: only {point} points", self.name);
                return;
            }
        }
        panic!("{}: never ends", self.name);
    }
}

/// A state after the stop.
struct Examined<'a> {
    ledger: &'a Ledger,
    allowed: &'a [Option<super::View>],
    case: String,
}

impl Examined<'_> {
    /// Checks the state, and continues.
    fn examine(&self, disk: &CrashFs, seed: &mut Seed) {
        let case = &self.case;
        let store = open(disk.clone());
        let found = view(&store).unwrap_or_else(|e| panic!("{case}: {e}\n{}", text(disk)));
        let at = self.allowed.iter().position(|allowed| *allowed == found);
        let at = at.unwrap_or_else(|| {
            panic!("{case}: found {found:?}, not one of {:?}\n{}", self.allowed, text(disk));
        });
        assert_eq!(view(&open(disk.clone())).unwrap(), found, "{case}: opened again");

        // What was served is also served after the next crash.
        let later_disk = disk.crashed(seed);
        let later = open(later_disk.clone());
        let served = view(&later).unwrap();
        // Other tests show what becomes of a removal that is not durable.
        let is_removal_lost = found.is_none() && self.allowed.contains(&served);
        assert!(
            is_removal_lost || served == found,
            "{case}: served {found:?}, then {served:?}\n{}\n{}",
            text(disk),
            text(&later_disk)
        );

        // Appending goes on, also for a process that had read before, and survives a crash.
        let on = values(&["on", "and on"]);
        let deeds = self.ledger.done.iter().chain(&self.ledger.open[..at]).chain([&on]);
        let wanted = modelled(deeds);
        let later = (served == found).then_some((&later_disk, later));
        for (disk, store) in [(disk, store)].into_iter().chain(later) {
            let before = text(disk);
            let index = on.run(&store).unwrap_or_else(|e| panic!("{case}: cannot go on: {e}\n{before}"));
            assert_eq!(index, Some(found.as_ref().map_or(0, |view| view.next)), "{case}\n{before}");
            let crashed = disk.crashed(seed);
            let again = view(&open(crashed.clone()));
            let again = again.unwrap_or_else(|e| panic!("{case}: went on, then crashed: {e}\n{before}"));
            assert_eq!(again, wanted, "{case}: went on, then crashed\n{before}\n{}", text(&crashed));
        }
    }
}

fn long(begin: &str) -> String {
    format!("{begin} {}", "a text of some length ".repeat(8))
}

fn some_entries(disk: &CrashFs) -> Ledger {
    let (store, mut ledger) = (open(disk.clone()), Ledger::default());
    assert!(ledger.run(&store, values(&["one", &long("two")])));
    assert!(ledger.run(&store, values(&["three"])));
    ledger
}

/// The folder of the logs exists, but not the log.
fn only_the_folder(disk: &CrashFs) -> Ledger {
    let other = run(open(disk.clone()).append(
        &bucket(),
        &key("b"),
        LogAppend { entries: vec![NewLogEntry::new("x")], ..LogAppend::default() },
    ));
    assert_eq!(other.unwrap(), AppendOutcome::Appended { index: 0 });
    Ledger::default()
}

fn run_all(disk: &CrashFs, ledger: &mut Ledger, deeds: &[Deed]) {
    let store = open(disk.clone());
    let _ = deeds.iter().all(|deed| ledger.run(&store, deed.clone()));
}

#[test]
fn appends_are_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let many: Vec<String> = (0..5).map(|n| long(&n.to_string())).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        run_all(disk, ledger, &[values(&["four"]), values(&many), values(&[&long("five")])]);
    };
    Scenario { name: "append", begin: some_entries, act }.explore();
}

#[test]
fn first_append_is_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[values(&["one", &long("two"), "three"]), values(&["four"])]);
    };
    Scenario { name: "first append", begin: only_the_folder, act }.explore();
}

#[test]
fn first_append_with_a_retention_is_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[keeping(values(&["one", &long("two"), "three"]), Some(100_000)), values(&["four"])]);
    };
    Scenario { name: "first append with a retention", begin: only_the_folder, act }.explore();
}

#[test]
fn changes_of_the_retention_are_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let four = keeping(values(&["four", &long("five")]), Some(3));
        run_all(disk, ledger, &[four, keeping(values(&[]), Some(2)), keeping(values(&["six"]), None)]);
    };
    Scenario { name: "retention", begin: some_entries, act }.explore();
}

#[test]
fn trims_lose_nothing_when_the_power_is_cut() {
    let begin = |disk: &CrashFs| {
        let (store, mut ledger) = (open(disk.clone()), Ledger::default());
        for n in 0..68 {
            assert!(ledger.run(&store, keeping(values(&[&n.to_string()]), Some(2))));
        }
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        let before = disk.bytes(&file()).unwrap().len();
        run_all(disk, ledger, &[values(&["x"]), values(&["y", "z"]), values(&["w"])]);
        if ledger.open.is_empty() {
            assert!(disk.bytes(&file()).unwrap().len() < before / 2, "it was not trimmed: {}", text(disk));
        }
    };
    Scenario { name: "trim", begin, act }.explore();
}

#[test]
fn removal_of_the_first_entries_is_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[Deed::Remove(Some(2)), values(&["four"]), Deed::Remove(Some(9)), values(&["five"])]);
    };
    Scenario { name: "removal of entries", begin: some_entries, act }.explore();
}

#[test]
fn removal_of_a_log_is_whole_or_absent_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[Deed::Remove(None), values(&[&long("new")]), Deed::Remove(None), values(&["newer"])]);
    };
    Scenario { name: "removal of a log", begin: some_entries, act }.explore();
}

/// A log whose last writer was killed within an append of three entries.
fn torn(disk: &CrashFs) -> Ledger {
    let ledger = some_entries(disk);
    let mut bytes = disk.bytes(&file()).unwrap();
    for index in 3..5 {
        let line = format!(
            "- {{index: {index}, continues: true, value: \"{}\", updated: 2027-01-15T08:00:01Z}}\n",
            long("torn")
        );
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.extend_from_slice(b"- {index: 5, value: tor");
    disk.put(&file(), &bytes);
    ledger
}

#[test]
fn torn_append_is_set_aside_safely_when_the_power_is_cut() {
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[values(&[&long("four")]), values(&["five"])]);
    };
    Scenario { name: "torn append", begin: torn, act }.explore();
}

#[test]
fn last_entry_without_a_line_feed_survives_when_the_power_is_cut() {
    let begin = |disk: &CrashFs| {
        let ledger = some_entries(disk);
        let bytes = disk.bytes(&file()).unwrap();
        disk.put(&file(), bytes.strip_suffix(b"\n").unwrap());
        ledger
    };
    let act = |disk: &CrashFs, ledger: &mut Ledger| {
        run_all(disk, ledger, &[values(&[&long("four")]), values(&["five"])]);
    };
    Scenario { name: "no line feed", begin, act }.explore();
}

#[test]
fn acknowledged_entries_survive_if_the_process_that_made_the_folder_was_killed() {
    for point in 0..4 {
        for number in 0..SEEDS {
            let seed = &mut Seed::new(number);
            let disk = CrashFs::default();
            disk.stop_before(point);
            assert!(values(&["never acknowledged"]).run(&open(disk.clone())).is_err());
            let disk = disk.killed(seed);
            values(&["acknowledged"]).run(&open(disk.clone())).unwrap();
            let found = super::texts(&open(disk.crashed(seed)));
            assert_eq!(found, ["acknowledged"], "killed before change {point}, seed {number}");
        }
    }
}
