//! Each fault of the lists, under writers and readers.

use std::thread::scope;

use super::call_faults::CALLS;
use super::disk_faults::{DISK, DISK_CALLS};
use super::file_faults::FILES;
use super::machine::{Disk, MAY_MOUNT};
use super::other_faults::OTHERS;
use super::scenario::run;
use super::table::{Fault, NONE};

/// Runs faults, some of them at the same time.
fn run_all(faults: &[Fault]) {
    for some in faults.chunks(5) {
        scope(|scope| {
            let runs: Vec<_> = some.iter().filter(|f| can_run(f)).map(|f| (f.name, scope.spawn(|| run(f)))).collect();
            let failed: Vec<&str> = runs.into_iter().filter_map(|(name, run)| run.join().err().map(|_| name)).collect();
            assert!(failed.is_empty(), "{failed:?}");
        });
    }
}

/// Whether this user may do what the fault needs. `DISK_CALLS` are the same faults without a file system of their own.
pub(super) fn can_run(fault: &Fault) -> bool {
    fault.disk == Disk::Shared || *MAY_MOUNT
}

#[test]
fn nothing_fails_without_a_fault() {
    run_all(&[NONE, Fault { name: "nothing on a disk of its own", disk: Disk::Own, ..NONE }]);
}

#[test]
fn disk_that_is_full_or_read_only_loses_nothing() {
    run_all(&[&DISK[..], &DISK_CALLS].concat());
}

#[test]
fn calls_that_fail_lose_nothing() {
    run_all(&CALLS);
}

#[test]
fn files_that_are_removed_or_changed_lose_nothing() {
    run_all(&FILES);
}

#[test]
fn locks_limits_and_clocks_lose_nothing() {
    run_all(&OTHERS);
}
