//! A power cut, or a disk that fails, after which kvs knows less of a data file: a changed value has a new revision all
//! the same, an unchanged one keeps its own, and no write that was ruled out comes back.

use std::io;
use std::path::{Path, PathBuf};

use kvs::model::{Entry, Revision, Time, Write};
use kvs::store::Task;
use kvs::yaml::YamlStore;

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::yaml::fixtures::{FOLDER, all, apply, commit, data, delete, key, open, put, upkeep, values};

fn last() -> PathBuf {
    Path::new(FOLDER).join("default.yaml.last")
}

/// Undoes the record in the lock file, as a power cut does if it was never durable.
fn lose_record(disk: &CrashFs) {
    let lock = Path::new(FOLDER).join("default.lock");
    let mut bytes = disk.bytes(&lock).unwrap();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    bytes[..=end].fill(0);
    disk.edit(&lock, &bytes);
}

fn fault(call: Call, ending: &'static str, kind: io::ErrorKind) -> Fault {
    Fault { which: Which(call, ending), after: 0, times: usize::MAX, kind, part: usize::MAX }
}

fn change(disk: &CrashFs, old: &str, new: &str) {
    let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
    assert!(text.contains(old), "{text}");
    disk.edit(&data(), text.replace(old, new).as_bytes());
}

fn revision_of(store: &YamlStore, name: &str) -> Revision {
    all(store).unwrap().1[name].revision
}

#[test]
fn a_value_that_was_changed_by_hand_has_a_new_revision_if_record_and_copy_are_lost() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    commit(&store, vec![put("a", "first"), put("b", "other")]);
    upkeep(&store, Task::Compact).unwrap();
    let old = revision_of(&store, "a");
    change(&disk, "first", "second");
    lose_record(&disk);
    disk.take_away(&last());
    let new = open(disk);
    assert_eq!(all(&new).unwrap().1["a"].value, "second");
    assert!(revision_of(&new, "a") > old);
}

#[test]
fn entries_keep_their_revisions_if_a_compaction_failed_and_then_record_and_copy_are_lost() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(faulty.clone());
    commit(&store, vec![put("a", "1")]);
    commit(&store, vec![put("b", "2")]);
    faulty.probe.fail([
        fault(Call::Rename, ".compact", io::ErrorKind::Other),
        fault(Call::Rename, ".new", io::ErrorKind::Other),
    ]);
    let failed = upkeep(&store, Task::Compact).is_err();
    assert!(failed && faulty.probe.failed() > 0);
    faulty.probe.fail([]);
    commit(&store, vec![put("a", "3")]);
    let known = all(&store).unwrap();
    lose_record(&disk);
    disk.take_away(&last());
    assert_eq!(all(&open(disk)).unwrap(), known);
}

/// Restores an entry of another store, which is a minute older than all others.
fn restore_early(store: &YamlStore, name: &str) {
    let early = Time::from_nanos(all(store).unwrap().0.time().nanos() - 60_000_000_000);
    let entry = Entry {
        value: "2".into(),
        content_type: kvs::model::ContentType::default(),
        revision: Revision::from(early),
        created: early,
        modified: None,
        expires: None,
    };
    commit(store, vec![Write::Restore { key: key(name), entry }]);
}

#[test]
fn an_entry_of_another_store_keeps_its_revision_if_a_power_cut_brings_back_an_old_copy() {
    for was_edited in [false, true] {
        let disk = CrashFs::default();
        let store = open(disk.clone());
        commit(&store, vec![put("a", "1")]);
        if was_edited {
            upkeep(&store, Task::Compact).unwrap();
            change(&disk, "\"1\"", "by hand");
            all(&store).unwrap();
        }
        let old_copy = disk.bytes(&last()).unwrap();
        commit(&store, vec![put("a", "2")]);
        restore_early(&store, "b");
        upkeep(&store, Task::Compact).unwrap();
        commit(&store, vec![put("c", "3")]);
        let known = all(&store).unwrap();
        lose_record(&disk);
        disk.edit(&last(), &old_copy);
        assert_eq!(all(&open(disk)).unwrap(), known, "edited before: {was_edited}");
    }
}

#[test]
fn a_value_that_is_changed_by_hand_again_has_a_new_revision_if_a_power_cut_brings_back_an_old_copy() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    commit(&store, vec![put("a", "1"), put("b", "other")]);
    upkeep(&store, Task::Compact).unwrap();
    change(&disk, "\"1\"", "by hand");
    all(&store).unwrap();
    let old_copy = disk.bytes(&last()).unwrap();
    commit(&store, vec![put("a", "written")]);
    upkeep(&store, Task::Compact).unwrap();
    let old = revision_of(&store, "a");
    let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
    disk.put(&data(), text.replace("written", "by hand again").as_bytes());
    disk.edit(&last(), &old_copy);
    let new = open(disk);
    assert_eq!(all(&new).unwrap().1["a"].value, "by hand again");
    assert!(revision_of(&new, "a") > old);
}

#[test]
fn a_copy_that_cannot_be_read_for_a_moment_changes_no_revision() {
    for call in [Call::Stat, Call::Open, Call::Read] {
        let disk = CrashFs::default();
        let store = open(disk.clone());
        commit(&store, vec![put("a", "first"), put("b", "other")]);
        upkeep(&store, Task::Compact).unwrap();
        let old = revision_of(&store, "b");
        change(&disk, "first", "second");
        let faulty = FailingFs::new(disk, Failing::default());
        let new = open(faulty.clone());
        faulty.probe.fail([fault(call, ".last", io::ErrorKind::Other)]);
        let error = all(&new).unwrap_err();
        assert!(error.to_string().contains(".last"), "{error}");
        faulty.probe.fail([]);
        assert_eq!(revision_of(&new, "b"), old, "{call:?}");
    }
}

/// A disk with a write that failed: neither it nor the record could be synced, and it could not be cut off. With
/// `drops`, the system never writes what it could not sync of the lock file.
fn with_ruled_out_write(drops: bool) -> CrashFs {
    let disk = CrashFs::default();
    let dropping = disk.clone();
    let failing = Failing::on_failed_sync(move |path| {
        if drops && path.ends_with("default.lock") {
            dropping.lose_unsynced(path, path);
        }
    });
    let faulty = FailingFs::new(disk.clone(), failing);
    let store = open(faulty.clone());
    commit(&store, vec![put("a", "1")]);
    let other = io::ErrorKind::Other;
    let of_lock = fault(Call::Sync, ".lock", other);
    faulty.probe.fail([fault(Call::Sync, ".yaml", other), fault(Call::Truncate, ".yaml", other), of_lock]);
    assert!(apply(&store, vec![put("a", "2")]).is_err());
    disk
}

#[test]
fn a_write_that_was_ruled_out_does_not_come_back_if_its_record_can_be_written_again_only_in_part() {
    for part in 0..120 {
        let disk = with_ruled_out_write(false);
        let known = values(&open(disk.clone()));
        let faulty = FailingFs::new(disk.clone(), Failing::default());
        let reader = open(faulty.clone());
        let full = Fault { part, ..fault(Call::Write, ".lock", io::ErrorKind::StorageFull) };
        faulty.probe.fail([fault(Call::Sync, ".yaml", io::ErrorKind::Other), full]);
        assert!(all(&reader).is_err() && faulty.probe.failed() > 1);
        assert_eq!(values(&open(disk)), known, "{part} bytes");
    }
}

#[test]
fn a_write_that_was_ruled_out_does_not_come_back_after_a_power_cut() {
    for (seed, drops) in (0..50).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = with_ruled_out_write(drops);
        let known = values(&open(disk.clone()));
        let crashed = disk.crashed(&mut Seed::new(seed));
        assert_eq!(values(&open(crashed)), known, "seed {seed}, dropped: {drops}");
    }
}

#[test]
fn a_write_after_one_that_could_not_be_undone_is_not_ruled_out_with_it() {
    let other = io::ErrorKind::Other;
    for after in 0..4 {
        let disk = CrashFs::default();
        let [first, second] = [(); 2].map(|()| FailingFs::new(disk.clone(), Failing::default()));
        let (store, later) = (open(first.clone()), open(second.clone()));
        commit(&store, vec![put("a", "1")]);
        all(&later).unwrap();
        // Nothing is written of it, so the file is as the other process knows it.
        let write = Fault { part: 0, ..fault(Call::Write, ".yaml", other) };
        first.probe.fail([write, fault(Call::Truncate, ".yaml", other)]);
        assert!(apply(&store, vec![put("a", "2")]).is_err());
        second.probe.fail([Fault { after, part: 0, ..fault(Call::Write, ".lock", other) }]);
        let is_stored = apply(&later, vec![put("a", "3")]).is_ok();
        second.probe.fail([]);
        let found = values(&open(disk));
        assert!(found["a"] == "3" || !is_stored && found["a"] == "1", "after {after}: {found:?}");
        commit(&later, vec![put("a", "4")]);
    }
}

#[test]
fn an_acknowledged_write_stays_if_its_record_is_lost_and_a_sync_fails_then() {
    for calls in [&[Call::Sync][..], &[Call::Sync, Call::Write]] {
        let disk = CrashFs::default();
        let store = open(disk.clone());
        commit(&store, vec![put("a", "1")]);
        let lock = Path::new(FOLDER).join("default.lock");
        let record = disk.bytes(&lock).unwrap();
        commit(&store, vec![put("a", "2")]);
        // A power cut has undone the record.
        disk.edit(&lock, &record);
        let faulty = FailingFs::new(disk.clone(), Failing::default());
        let later = open(faulty.clone());
        faulty.probe.fail(calls.iter().map(|call| fault(*call, ".yaml", io::ErrorKind::Other)));
        let error = all(&later).unwrap_err();
        assert!(error.to_string().contains("cannot sync"), "{error}");
        faulty.probe.fail([]);
        assert_eq!(values(&later)["a"], "2", "{calls:?}");
        commit(&later, vec![put("b", "3")]);
        assert_eq!(values(&open(disk.crashed(&mut Seed::new(7))))["a"], "2", "{calls:?}");
    }
}

#[test]
fn a_torn_tail_whose_cut_was_not_synced_does_not_come_back_after_a_power_cut() {
    let mut failed = 0;
    for (after, seed) in (0..4).flat_map(|after| (0..20).map(move |seed| (after, seed))) {
        let disk = CrashFs::default();
        commit(&open(disk.clone()), vec![put("a", "1")]);
        let torn = format!("---\nb: {{value: {}, upd", "torn ".repeat(100));
        disk.put(&data(), &[disk.bytes(&data()).unwrap(), torn.into_bytes()].concat());
        let dropping = disk.clone();
        let failing = Failing::on_failed_sync(move |path| dropping.lose_unsynced(path, path));
        let faulty = FailingFs::new(disk.clone(), failing);
        let store = open(faulty.clone());
        faulty.probe.fail([Fault { after, times: 1, ..fault(Call::Sync, ".yaml", io::ErrorKind::Other) }]);
        let _ = apply(&store, vec![put("b", "2")]);
        failed += faulty.probe.failed();
        commit(&open(disk.clone()), vec![put("c", "3")]);
        let known = all(&open(disk.clone())).unwrap();
        let crashed = disk.crashed(&mut Seed::new(seed));
        assert_eq!(all(&open(crashed)).unwrap(), known, "sync {after}, seed {seed}");
    }
    assert!(failed >= 40, "only {failed} syncs have failed");
}

#[test]
fn what_a_person_wrote_keeps_its_revision_if_a_new_copy_does_not_fit() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(disk.clone());
    commit(&store, vec![put("a", "first")]);
    upkeep(&store, Task::Compact).unwrap();
    change(&disk, "first", "second");
    commit(&store, vec![put("b", "2")]);
    let revision = revision_of(&store, "a");
    let copy = disk.bytes(&last()).unwrap();
    commit(&store, vec![put("b", "3")]);
    // A power cut has undone what was appended to the copy.
    disk.edit(&last(), &copy);
    lose_record(&disk);
    faulty.probe.fail([fault(Call::Write, ".last.new", io::ErrorKind::StorageFull)]);
    commit(&open(faulty.clone()), vec![delete("b")]);
    assert!(faulty.probe.failed() > 0);
    lose_record(&disk);
    assert_eq!(revision_of(&open(disk), "a"), revision);
}

#[test]
fn the_revision_of_the_bucket_does_not_go_back_after_an_edit_that_removed_a_line() {
    for seed in 0..50 {
        let disk = CrashFs::default();
        let store = open(disk.clone());
        commit(&store, vec![put("a", "1"), put("b", "2")]);
        upkeep(&store, Task::Compact).unwrap();
        let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("b:")).collect();
        disk.put(&data(), (kept.join("\n") + "\n").as_bytes());
        // This takes the exclusive lock, so it records the edit.
        upkeep(&store, Task::Compact).unwrap();
        let (revision, entries) = all(&store).unwrap();
        assert!(!entries.contains_key("b"));
        let (after, _) = all(&open(disk.crashed(&mut Seed::new(seed)))).unwrap();
        assert!(after >= revision, "seed {seed}: {after:?} after {revision:?}");
    }
}

#[test]
fn a_value_that_was_changed_by_hand_has_a_new_revision_if_it_could_not_be_synced() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let (store, other) = (open(disk.clone()), open(faulty.clone()));
    commit(&store, vec![put("a", "first"), put("b", "other")]);
    upkeep(&store, Task::Compact).unwrap();
    let old = all(&store).unwrap().1;
    assert_eq!(all(&other).unwrap().1, old);
    change(&disk, "first", "second");
    faulty.probe.fail([Call::Sync, Call::Write].map(|call| fault(call, ".yaml", io::ErrorKind::Other)));
    assert!(all(&other).is_err());
    faulty.probe.fail([]);
    let revision = revision_of(&store, "a");
    assert!(revision > old["a"].revision);
    for store in [other, open(disk)] {
        let now = all(&store).unwrap().1;
        assert_eq!((&now["a"].value[..], now["a"].revision), (&b"second"[..], revision));
        assert_eq!(now["b"], old["b"]);
    }
}

#[test]
fn a_torn_tail_that_could_not_be_synced_is_no_damage() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    commit(&open(disk.clone()), vec![put("a", "1")]);
    let known = all(&open(disk.clone())).unwrap();
    // A power cut has left zeros in its place, but not at its end.
    let torn = [&[0; 23][..], b"updated: 2026-09-21T14:13:20.128Z}\n...\n"].concat();
    disk.edit(&data(), &[disk.bytes(&data()).unwrap(), torn].concat());
    faulty.probe.fail([Call::Sync, Call::Write].map(|call| fault(call, ".yaml", io::ErrorKind::Other)));
    assert!(all(&open(faulty)).is_err());
    let store = open(disk.clone());
    assert_eq!(all(&store).unwrap(), known);
    commit(&store, vec![put("b", "2")]);
    assert_eq!(values(&open(disk.crashed(&mut Seed::new(7))))["b"], "2");
}
