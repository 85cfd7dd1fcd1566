//! Edits by a person that follow a write which is not in the last copy: an entry that was written by hand has a new
//! revision, whichever process reads it.

use std::path::{Path, PathBuf};

use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{FOLDER, all, commit, data, open, put};

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
