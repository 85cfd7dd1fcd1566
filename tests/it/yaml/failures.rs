//! Calls that fail: each kind of call, at each place where it is made, once or always, by an error or by a full disk.
//!
//! A failed sync loses the changes that waited for it, as in real systems: the bytes can still be read, but no later
//! sync makes them durable. What always holds: a failed write is not acknowledged; the state that is served afterwards,
//! here or by another process, survives a crash; and when calls succeed again, writes do too.

use std::io;

use kvs::model::{Condition, ErrorKind, Outcome, Write};
use kvs::store::Task;
use kvs::yaml::YamlStore;

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Meddling, MeddlingFs, Which};
use crate::yaml::crash::grouped;
use crate::yaml::fixtures::{
    Values, all, apply, batch, commit, data, delete, expect, model, open, pair, put, upkeep, values,
};

const SEEDS: u64 = 20;

fn failing(disk: &CrashFs) -> FailingFs {
    let lost = disk.clone();
    FailingFs::new(disk.clone(), Failing::on_failed_sync(move |path| lost.lose_unsynced(path, &data())))
}

fn fault(call: Call, ending: &'static str, kind: io::ErrorKind) -> Fault {
    Fault { which: Which(call, ending), after: 0, times: 1, kind, part: 0 }
}

fn prepared() -> (CrashFs, Values) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    let mut known = Values::new();
    for n in 0..3 {
        commit(&store, pair(n, "old"));
        model(&mut known, &pair(n, "old"));
    }
    (disk, known)
}

/// Checks that the served state is one of these, also in a new process, and survives any crash.
fn lasts(disk: &CrashFs, allowed: &[&Values], case: &str) -> Values {
    let reader = open(disk.clone());
    // A reader may get an error while calls fail, but never data that is not durable.
    let served = (0..4).find_map(|_| all(&reader).ok());
    let served = served.unwrap_or_else(|| panic!("{case}: nothing can be read: {:?}", all(&reader)));
    let found = values(&reader);
    assert!(allowed.contains(&&found), "{case}: found {found:?}, not one of {allowed:?}");
    for number in 0..SEEDS {
        let seed = &mut Seed::new(number);
        let later = open(disk.crashed(seed));
        let now = all(&later).unwrap();
        // Entries without a time get a later one if the copy with their times was lost.
        let is_same = |(key, entry): (&String, &kvs::model::Entry)| {
            let was = &served.1[key];
            entry == was || key == "hand" && entry.value == was.value && entry.revision > was.revision
        };
        let is_as_before = now.0 >= served.0 && now.1.len() == served.1.len() && now.1.iter().all(is_same);
        assert!(is_as_before, "{case}: served {served:?}, then crashed, seed {number}: {now:?}");
    }
    found
}

#[test]
fn after_a_failed_sync_the_next_write_follows_durable_data() {
    let (disk, old) = prepared();
    let faulty = failing(&disk);
    let store = open(faulty.clone());
    commit(&store, pair(0, "old"));
    faulty.probe.fail([fault(Call::Sync, ".yaml", io::ErrorKind::Other)]);
    assert_eq!(apply(&store, pair(0, "lost")).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(values(&store), old);
    lasts(&disk, &[&old], "after a failed sync");
    commit(&store, pair(1, "next"));
    let mut next = old;
    model(&mut next, &pair(1, "next"));
    assert_eq!(values(&store), next);
    lasts(&disk, &[&next], "after the next write");
}

#[test]
fn nothing_is_acknowledged_or_lost_while_syncs_fail() {
    let (disk, old) = prepared();
    let faulty = failing(&disk);
    let store = open(faulty.clone());
    commit(&store, pair(0, "old"));
    for ending in [".yaml", ".new", ""] {
        faulty.probe.fail([Fault { times: usize::MAX, ..fault(Call::Sync, ending, io::ErrorKind::Other) }]);
        for n in 0..3 {
            let answer = apply(&store, pair(n, "lost"));
            assert!(ending == ".new" || answer.is_err(), "{ending}: {answer:?}");
            if answer.is_ok() {
                apply(&store, pair(n, "old")).unwrap();
            }
            if let Ok((_, entries)) = all(&store) {
                assert!(entries.values().all(|entry| entry.value == "old"), "{ending}: {entries:?}");
            }
        }
    }
    faulty.probe.fail([]);
    lasts(&disk, &[&old], "after syncs failed for long");
    commit(&store, pair(1, "next"));
}

#[test]
fn full_disk_keeps_the_old_state_and_is_reported() {
    for part in [0, 1, 3, 4, 5, 30, 60, 75, 200] {
        for times in [1, usize::MAX] {
            let (disk, old) = prepared();
            let faulty = failing(&disk);
            let store = open(faulty.clone());
            commit(&store, pair(0, "old"));
            faulty.probe.fail([Fault { times, part, ..fault(Call::Write, ".yaml", io::ErrorKind::StorageFull) }]);
            let case = format!("{part} bytes written, {times} times");
            for _ in 0..times.min(3) {
                let error = apply(&store, pair(0, "new")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{case}: {error}");
                assert_eq!(values(&store), old, "{case}");
                assert_eq!(values(&open(disk.clone())), old, "{case}: another process");
            }
            faulty.probe.fail([]);
            lasts(&disk, &[&old], &case);
            commit(&store, pair(0, "new"));
            assert_eq!(values(&open(disk.clone()))["b0"], "new");
            let names = disk.names();
            assert!(names.iter().all(|name| !name.to_string_lossy().contains("torn")), "{case}: {names:?}");
        }
    }
}

#[test]
fn full_disk_without_truncation_keeps_the_old_state() {
    for part in [1, 30, 200] {
        let (disk, old) = prepared();
        let faulty = failing(&disk);
        let store = open(faulty.clone());
        commit(&store, pair(0, "old"));
        let full = Fault { part, ..fault(Call::Write, ".yaml", io::ErrorKind::StorageFull) };
        faulty.probe.fail([full, fault(Call::Truncate, ".yaml", io::ErrorKind::Other)]);
        assert_eq!(apply(&store, pair(0, "new")).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(faulty.probe.failed(), 2);
        assert_eq!(values(&store), old);
        lasts(&disk, &[&old], "not cut back");
        commit(&store, pair(0, "new"));
    }
}

/// A way to write, with what it changes.
type Walk = fn(&YamlStore) -> kvs::model::Result<Vec<Write>>;

const WALKS: [(&str, Walk); 3] = [
    ("append", |store| apply(store, pair(0, "new")).map(|_| pair(0, "new"))),
    ("compaction", |store| upkeep(store, Task::Compact).map(|_| vec![])),
    ("sweep", |store| upkeep(store, Task::RemoveLeftovers).map(|_| vec![])),
];

/// A name, what is appended to the file, and the entry in it.
type Beginning = (&'static str, &'static str, Option<(&'static str, &'static str)>);

/// The file before: as written, edited by hand, with a torn tail.
const BEGINNINGS: [Beginning; 3] = [
    ("as written", "", None),
    ("edited", "hand: written\n", Some(("hand", "written"))),
    ("torn", "---\na0: {value: torn, upd", None),
];

#[test]
fn single_failing_call_does_no_harm() {
    use Call::{
        FileStat, List, Lock, MakeFolder, Open, Read, Remove, Rename, Resemble, Stat, Sync, SyncFolder, Truncate,
    };
    let mut failures = 0;
    for (walk_name, walk) in WALKS {
        for (beginning, tail, adds) in BEGINNINGS {
            for call in [
                Stat,
                Open,
                Rename,
                Remove,
                MakeFolder,
                SyncFolder,
                List,
                FileStat,
                Read,
                Call::Write,
                Truncate,
                Sync,
                Resemble,
                Lock,
            ] {
                for after in 0..20 {
                    let (disk, mut old) = prepared();
                    disk.put(&data(), &[&disk.bytes(&data()).unwrap(), tail.as_bytes()].concat());
                    if let Some((key, value)) = adds {
                        model(&mut old, &[put(key, value)]);
                    }
                    let case = format!("{walk_name}, {beginning}: {call:?} fails after {after} that succeed");
                    let faulty = failing(&disk);
                    faulty.probe.fail([Fault { after, part: 40, ..fault(call, "", io::ErrorKind::Other) }]);
                    let store = open(faulty.clone());
                    let answer = walk(&store);
                    if faulty.probe.failed() == 0 {
                        assert!(answer.is_ok(), "{case}: {answer:?}");
                        break;
                    }
                    failures += 1;
                    let mut new = old.clone();
                    model(&mut new, &pair(0, "new"));
                    let allowed = match (&answer, walk_name) {
                        (Ok(_), "append") => vec![&new],
                        (Err(_), "append") => vec![&old, &new],
                        _ => vec![&old],
                    };
                    let mut found = lasts(&disk, &allowed, &case);
                    assert_eq!(values(&store), found, "{case}: this process and another differ");
                    commit(&store, pair(5, "on"));
                    model(&mut found, &pair(5, "on"));
                    lasts(&disk, &[&found], &format!("{case}, continued"));
                }
            }
        }
    }
    assert!(failures > 100, "only {failures}");
}

#[test]
fn sync_failure_during_another_processes_refresh_is_remembered() {
    // A process is killed between its append and its sync, so the next reader has to sync, and cannot.
    let (disk, old) = prepared();
    let killed = MeddlingFs::new(disk.clone(), Meddling::default());
    let point = disk.changes();
    let store = open(killed.clone());
    let dying = disk.clone();
    killed.probe.next(Which(Call::Sync, ".yaml"), move || dying.stop_before(0));
    assert!(apply(&store, pair(0, "new")).is_err());
    assert!(disk.changes() > point);
    let disk = disk.killed(&mut Seed::new(0));
    let mut new = old.clone();
    model(&mut new, &pair(0, "new"));
    assert!(String::from_utf8(disk.bytes(&data()).unwrap()).unwrap().contains("new"), "written, not synced");

    let faulty = failing(&disk);
    let reader = open(faulty.clone());
    faulty.probe.fail([fault(Call::Sync, ".yaml", io::ErrorKind::Other)]);
    assert_eq!(all(&reader).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(faulty.probe.failed(), 1);
    lasts(&disk, &[&old, &new], "another reader");
    let served = all(&reader).unwrap();
    for number in 0..SEEDS {
        let later = open(disk.crashed(&mut Seed::new(number)));
        assert_eq!(all(&later).unwrap(), served, "the same reader again, then a crash");
    }
}

#[test]
fn batches_after_a_failed_one_in_a_group_fail_too() {
    let absent = |name: &str| batch(vec![put(name, "mine")]).with_expectations(vec![expect(name, Condition::Absent)]);
    let (disk, old) = prepared();
    let faulty = failing(&disk);
    let meddling = MeddlingFs::new(faulty.clone(), Meddling::default());
    let store = open(meddling.clone());
    // The append of the first batch succeeds, that of the next group fails.
    faulty.probe.fail([Fault { after: 1, ..fault(Call::Write, ".yaml", io::ErrorKind::Other) }]);
    let others = vec![absent("new"), absent("new"), batch(vec![delete("a1")]), batch(vec![delete("a1")])];
    let outcomes = grouped(&meddling, &store, pair(0, "old"), others);
    assert!(outcomes[0].is_ok() && faulty.probe.failed() == 1);
    assert_eq!(values(&store), old);
    // `new` is absent and `a1` is present: no outcome may differ.
    assert!(outcomes[1].is_err() && outcomes[3].is_err());
    assert!(
        !matches!(&outcomes[2], Ok(Outcome::PreconditionFailed { .. })),
        "refused because of an entry that is not stored: {:?}",
        outcomes[2]
    );
    assert!(!matches!(&outcomes[4], Ok(Outcome::Committed { .. })), "reports that a1 is missing: {:?}", outcomes[4]);
}

#[test]
fn sync_failure_on_an_edited_file_truncates_nothing() {
    for by_rename in [false, true] {
        let (disk, mut known) = prepared();
        let faulty = failing(&disk);
        let store = open(faulty.clone());
        commit(&store, pair(6, "last"));
        model(&mut known, &pair(6, "last"));
        // A person adds a line at the top, so that everything below moves.
        let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
        let text =
            format!("# An entry by hand, and a long comment before it: {}\nhand: edited\n---\n{text}", "x".repeat(90));
        model(&mut known, &[put("hand", "edited")]);
        if by_rename {
            disk.put(&data(), text.as_bytes());
        } else {
            disk.edit(&data(), text.as_bytes());
        }
        faulty.probe.fail([fault(Call::Sync, ".yaml", io::ErrorKind::Other)]);
        let reader = open(faulty.clone());
        let _ = all(&reader);
        assert_eq!(faulty.probe.failed(), 1);
        for store in [&reader, &store, &open(disk.clone())] {
            assert_eq!(values(store), known, "by rename: {by_rename}");
        }
        commit(&store, pair(1, "next"));
        model(&mut known, &pair(1, "next"));
        assert_eq!(values(&open(disk.clone())), known, "by rename: {by_rename}");
    }
}

#[test]
fn failed_compaction_leaves_no_file_and_is_retried_rarely() {
    let disk = CrashFs::default();
    let failing = failing(&disk);
    let options = kvs::yaml::YamlOptions { min_log_bytes: 2000, ..crate::yaml::fixtures::options(failing.clone()) };
    let store = kvs::yaml::YamlStore::open(crate::yaml::fixtures::FOLDER, options).unwrap();
    commit(&store, pair(0, "first"));
    failing.probe.fail([Fault { times: usize::MAX, ..fault(Call::Write, ".compact", io::ErrorKind::StorageFull) }]);
    for n in 0..100 {
        commit(&store, pair(0, &format!("{n}")));
        // So that a running compaction ends before the next write.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let tries = failing.probe.failed();
    assert!((1..=10).contains(&tries), "{tries} attempts for {} bytes", disk.bytes(&data()).unwrap().len());
    assert!(disk.names().iter().all(|name| !name.to_string_lossy().ends_with(".compact")));
}
