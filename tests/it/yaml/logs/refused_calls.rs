//! Calls that fail, at each place where they are made, by an error or by a full disk.
//!
//! What always holds: after `Unavailable` the outcome may be either, after any other error nothing was done; and when
//! calls succeed again, appends do too.

use std::io;

use kvs::model::ErrorKind;

use super::kept_elsewhere::torn;
use super::{Deed, append, file, keeping, modelled, text, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::yaml::fixtures::open;

const SEEDS: u64 = 10;

fn failing(disk: &CrashFs) -> FailingFs {
    let lost = disk.clone();
    FailingFs::new(disk.clone(), Failing::on_failed_sync(move |path| lost.lose_unsynced(path, &file())))
}

fn fault(call: Call, after: usize, kind: io::ErrorKind) -> Fault {
    Fault { which: Which(call, ""), after, times: 1, kind, part: 0 }
}

fn begin() -> Deed {
    values(&["one", "two", "three"])
}

/// Does something while these calls fail, and checks the outcome. Returns how many calls have failed.
fn check(is_known: bool, deed: &Deed, faults: Vec<Fault>, case: &str, wrong: &mut Vec<String>) -> usize {
    let disk = CrashFs::default();
    let faulty = failing(&disk);
    let store = open(faulty.clone());
    begin().run(&store).unwrap();
    let store = if is_known { store } else { open(faulty.clone()) };
    faulty.probe.fail(faults);
    let outcome = deed.run(&store);
    let failed = faulty.probe.failed();
    faulty.probe.fail([]);
    let (before, after) = (modelled([&begin()]), modelled([&begin(), deed]));
    let found = view(&open(disk.clone()));
    let mut complain = |text: String| wrong.push(format!("{case}: {deed:?}: {outcome:?}: {text}"));
    let Ok(found) = found else {
        complain(format!("cannot be read: {found:?}\n{}", text(&disk)));
        return failed;
    };
    let is_right = match &outcome {
        Ok(_) => found == after,
        Err(error) if error.kind() == ErrorKind::Unavailable => found == before || found == after,
        Err(_) => found == before,
    };
    if !is_right {
        complain(format!("found {found:?}"));
    }
    if view(&store).ok().as_ref() != Some(&found) {
        complain(format!("found {found:?}, but the same process {:?}", view(&store)));
    }
    for number in 0..SEEDS {
        let later = view(&open(disk.crashed(&mut Seed::new(number))));
        if later.as_ref().ok() != Some(&found) && (found.is_some() || outcome.is_ok()) {
            complain(format!("served {found:?}, then crashed: {later:?}"));
            break;
        }
    }
    let next = append(&store, &["next"]);
    if next.as_ref().ok() != Some(&found.map_or(0, |view| view.next)) {
        complain(format!("cannot go on: {next:?}"));
    }
    failed
}

const CALLS: [Call; 13] = [
    Call::Stat,
    Call::Open,
    Call::Rename,
    Call::Remove,
    Call::MakeFolder,
    Call::SyncFolder,
    Call::FileStat,
    Call::Read,
    Call::Write,
    Call::Truncate,
    Call::Sync,
    Call::Resemble,
    Call::Lock,
];

fn explore(deeds: &[Deed]) {
    let (mut wrong, mut failed) = (vec![], 0);
    for deed in deeds {
        for call in CALLS {
            // Looking at a file needs no room on the disk.
            let needs_room = !matches!(call, Call::Stat | Call::FileStat | Call::Read | Call::Lock);
            let kinds = [io::ErrorKind::Other, io::ErrorKind::StorageFull];
            for kind in kinds.into_iter().take(if needs_room { 2 } else { 1 }) {
                for (after, is_known) in (0..8).flat_map(|after| [(after, true), (after, false)]) {
                    let case = format!("{call:?} number {after} fails with {kind:?}, known: {is_known}");
                    failed += check(is_known, deed, vec![fault(call, after, kind)], &case, &mut wrong);
                }
            }
        }
    }
    assert!(failed > 20, "only {failed} calls have failed");
    assert!(wrong.is_empty(), "{} wrong outcomes: {wrong:#?}", wrong.len());
}

#[test]
fn append_is_not_done_in_part_when_a_call_fails() {
    explore(&[values(&["four"]), values(&["four", "five"])]);
}

#[test]
fn change_of_the_retention_is_not_done_in_part_when_a_call_fails() {
    explore(&[keeping(values(&["four"]), Some(2))]);
}

#[test]
fn removal_is_not_done_in_part_when_a_call_fails() {
    explore(&[Deed::Remove(Some(2)), Deed::Remove(None)]);
}

#[test]
fn full_disk_that_cannot_be_cut_either_leaves_the_outcome_open() {
    let mut wrong = vec![];
    for part in [1, 20, 60, 70, 75, 200] {
        let full = Fault { part, ..fault(Call::Write, 0, io::ErrorKind::StorageFull) };
        let faults = vec![full, fault(Call::Truncate, 0, io::ErrorKind::Other)];
        let case = format!("{part} bytes written, not cut");
        assert_eq!(check(true, &values(&["four"]), faults, &case, &mut wrong), 2);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn append_that_was_refused_does_not_come_back_after_a_power_cut() {
    let disk = CrashFs::default();
    let faulty = failing(&disk);
    let store = open(faulty.clone());
    append(&store, &["one"]).unwrap();
    let full = Fault { part: usize::MAX, ..fault(Call::Write, 0, io::ErrorKind::StorageFull) };
    faulty.probe.fail([full]);
    assert_eq!(append(&store, &["two"]).unwrap_err().kind(), ErrorKind::StorageFull);
    faulty.probe.fail([]);
    let known = view(&store).unwrap();
    for seed in 0..20 {
        assert_eq!(view(&open(disk.crashed(&mut Seed::new(seed)))).unwrap(), known, "{seed}");
    }
}

#[test]
fn torn_append_whose_removal_was_not_synced_does_not_come_back_after_a_power_cut() {
    let mut failed = 0;
    for after in 0..8 {
        let disk = torn();
        let faulty = failing(&disk);
        let store = open(faulty.clone());
        faulty.probe.fail([fault(Call::Sync, after, io::ErrorKind::Other)]);
        let _ = append(&store, &["may fail"]);
        failed += faulty.probe.failed();
        faulty.probe.fail([]);
        let other = open(disk.clone());
        append(&other, &["next"]).unwrap();
        let known = view(&other).unwrap();
        for seed in 0..20 {
            let found = view(&open(disk.crashed(&mut Seed::new(seed))));
            assert_eq!(found.unwrap(), known, "sync {after} has failed, seed {seed}");
        }
    }
    assert!(failed >= 3, "only {failed} syncs have failed");
}

#[test]
fn removal_of_a_torn_log_needs_no_room_on_the_disk() {
    let faulty = failing(&torn());
    let store = open(faulty.clone());
    faulty.probe.fail([Fault { times: usize::MAX, ..fault(Call::Write, 0, io::ErrorKind::StorageFull) }]);
    Deed::Remove(None).run(&store).unwrap();
    assert_eq!((view(&store).unwrap(), super::is_listed(&store)), (None, false));
}

#[test]
fn first_append_on_a_full_disk_leaves_no_log() {
    for part in [0, 30, 97, 104, 113, 170, 200] {
        let disk = CrashFs::default();
        let faulty = failing(&disk);
        let store = open(faulty.clone());
        faulty.probe.fail([Fault { part, ..fault(Call::Write, 0, io::ErrorKind::StorageFull) }]);
        let error = append(&store, &["one"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        faulty.probe.fail([]);
        for store in [&open(disk.clone()), &open(faulty.clone())] {
            assert_eq!((view(store).unwrap(), super::is_listed(store)), (None, false), "{part} bytes");
        }
        assert_eq!(append(&store, &["one"]).unwrap(), 0);
    }
}
