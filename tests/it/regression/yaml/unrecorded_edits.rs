//! Edits by a person that kvs cannot record, or that follow a write which is not in the last copy: an entry that was
//! written by hand has a new revision, whichever process reads it.

use std::io;
use std::path::{Path, PathBuf};

use kvs::model::Revision;
use kvs::store::Task;

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::yaml::fixtures::{FOLDER, all, commit, data, open, put, upkeep};

fn last() -> PathBuf {
    Path::new(FOLDER).join("default.yaml.last")
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
    let full = Fault {
        which: Which(Call::Write, ".last.new"),
        after: 0,
        times: usize::MAX,
        kind: io::ErrorKind::StorageFull,
        part: 0,
    };
    faulty.probe.fail([full]);
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
