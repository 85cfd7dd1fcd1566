//! Edits by a person that kvs cannot record, or that follow a write which is not in the last copy: an entry that was
//! written by hand has a new revision, whichever process reads it.

use std::io;
use std::path::{Path, PathBuf};

use kvs::model::Revision;
use kvs::store::Task;

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::yaml::fixtures::{FOLDER, all, apply, commit, data, open, put, upkeep};

fn last() -> PathBuf {
    Path::new(FOLDER).join("default.yaml.last")
}

fn full(ending: &'static str) -> Fault {
    Fault { which: Which(Call::Write, ending), after: 0, times: usize::MAX, kind: io::ErrorKind::StorageFull, part: 0 }
}

#[test]
fn a_line_that_was_added_after_a_lost_append_to_the_copy_has_a_revision() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    commit(&store, vec![put("a", "1")]);
    let copy = disk.bytes(&last()).unwrap();
    let revision = commit(&store, vec![put("b", "2")]);
    // The writer was killed before it appended to the copy, or a power cut has undone this.
    disk.edit(&last(), &copy);
    disk.edit(&data(), &[&disk.bytes(&data()).unwrap()[..], b"c: by hand\n"].concat());
    let (now, entries) = all(&open(disk)).unwrap();
    let added = entries["c"].revision;
    assert!(added > revision && now >= added, "{added:?} after {revision:?}, bucket {now:?}");
    assert_eq!(entries["b"].revision, revision);
}

#[test]
fn a_changed_value_has_a_new_revision_for_other_processes_if_the_edit_cannot_be_recorded() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(disk.clone());
    commit(&store, vec![put("a", "first"), put("b", "other")]);
    upkeep(&store, Task::Compact).unwrap();
    let old = all(&store).unwrap().1;
    let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
    disk.edit(&data(), text.replace("first", "second").as_bytes());
    faulty.probe.fail([full(".last.new")]);
    let revision_of_a = |disk: FailingFs| -> Revision {
        let entries = all(&open(disk)).unwrap().1;
        assert_eq!(entries["a"].value, "second");
        assert_eq!(entries["b"], old["b"], "nobody has changed it");
        entries["a"].revision
    };
    let noticed = revision_of_a(faulty.clone());
    assert!(noticed > old["a"].revision && faulty.probe.failed() > 0);
    assert_eq!(revision_of_a(faulty.clone()), noticed, "another process on the full disk");
    faulty.probe.fail([]);
    assert_eq!(revision_of_a(faulty), noticed, "another process, when there is room again");
}

/// A process appends to the copy only what follows what is already there.
#[test]
fn an_entry_that_was_written_by_hand_keeps_its_revision_after_a_failed_append_to_the_copy_by_another_process() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let (one, other) = (open(disk.clone()), open(faulty.clone()));
    commit(&one, vec![put("a", "1")]);
    upkeep(&one, Task::Compact).unwrap();
    disk.edit(&data(), &[&disk.bytes(&data()).unwrap()[..], b"b: by hand\n"].concat());
    commit(&one, vec![put("c", "2")]);
    upkeep(&one, Task::Compact).unwrap();
    faulty.probe.fail([Fault { times: 1, kind: io::ErrorKind::Other, ..full(".last") }]);
    commit(&other, vec![put("d", "3")]);
    assert_eq!(faulty.probe.failed(), 1);
    commit(&one, vec![put("e", "4")]);
    let known = all(&one).unwrap();
    assert_eq!(all(&open(disk)).unwrap(), known);
}

#[test]
fn a_line_that_was_removed_is_a_change_for_every_process_also_if_a_full_disk_was_compacted_since() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(faulty.clone());
    commit(&store, vec![put("a", "1")]);
    upkeep(&store, Task::Compact).unwrap();
    let text = disk.bytes(&data()).unwrap();
    disk.edit(&data(), &[&text[..], b"b: by hand\n"].concat());
    let before = all(&store).unwrap().0;
    disk.put(&data(), &text);
    faulty.probe.fail([full(".last.new"), full(".compact"), full(".new")]);
    let _ = upkeep(&store, Task::Compact);
    faulty.probe.fail([]);
    let (revision, entries) = all(&open(disk)).unwrap();
    assert!(!entries.contains_key("b"));
    assert!(revision > before, "{revision:?} after {before:?}");
}

#[test]
fn a_line_that_was_removed_is_a_change_for_every_process_also_if_an_append_to_a_full_disk_was_not_undone() {
    let disk = CrashFs::default();
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(faulty.clone());
    commit(&store, vec![put("a", "1"), put("b", "2")]);
    upkeep(&store, Task::Compact).unwrap();
    let before = all(&store).unwrap().0;
    let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
    let without: String = text.split_inclusive('\n').filter(|line| !line.starts_with("b:")).collect();
    disk.put(&data(), without.as_bytes());
    let cut = Fault { which: Which(Call::Truncate, ".yaml"), ..full("") };
    faulty.probe.fail([full(".last.new"), Fault { part: 60, ..full(".yaml") }, cut]);
    assert!(apply(&store, vec![put("c", "3")]).is_err());
    faulty.probe.fail([]);
    let (revision, entries) = all(&open(disk)).unwrap();
    assert_eq!(entries.keys().map(String::as_str).collect::<Vec<_>>(), ["a"]);
    assert!(revision > before, "{revision:?} after {before:?}");
}

/// Each process finds the edit by itself.
#[test]
fn a_value_that_was_changed_after_a_failed_sync_has_a_new_revision_for_every_process() {
    for (new, cut_fails) in [("other", false), ("longer", false), ("other", true), ("longer", true)] {
        let disk = CrashFs::default();
        let faulty = FailingFs::new(disk.clone(), Failing::default());
        let store = open(faulty.clone());
        commit(&store, vec![put("a", "first"), put("b", "2")]);
        upkeep(&store, Task::Compact).unwrap();
        let old = all(&store).unwrap().1;
        let fails = |call| Fault { which: Which(call, ".yaml"), kind: io::ErrorKind::Other, ..full("") };
        let cut = cut_fails.then(|| fails(Call::Truncate));
        faulty.probe.fail([fails(Call::Sync)].into_iter().chain(cut));
        assert!(apply(&store, vec![put("c", "3")]).is_err());
        faulty.probe.fail([]);
        let other = open(disk.clone());
        assert_eq!(all(&other).unwrap().1, old, "before the edit");
        let text = String::from_utf8(disk.bytes(&data()).unwrap()).unwrap();
        disk.edit(&data(), text.replace("first", new).as_bytes());
        let noticed = all(&store).unwrap();
        assert_eq!(noticed.1["a"].value, new);
        assert!(noticed.0 > old["a"].revision && noticed.1["a"].revision > old["a"].revision, "{new}, {cut_fails}");
        assert_eq!(noticed.1["b"], old["b"], "nobody has changed it");
        for (who, reader) in [("another", other), ("a new one", open(disk.clone()))] {
            assert_eq!(all(&reader).unwrap(), noticed, "{who}");
        }
        commit(&store, vec![put("d", "4")]);
        assert_eq!(all(&open(disk)).unwrap().1["a"], noticed.1["a"]);
    }
}
