//! What the commands do with other data, damage and other backups, and what a backup shares with an earlier one.

use std::os::unix::fs::MetadataExt as _;

use kvs::yaml::{FileSystem as _, RealFileSystem};

use crate::cli::Place;
use crate::support::served::{SECRET, Served};

/// A store with an entry, a comment, a log and a large value.
fn filled() -> Place {
    let place = Place::new();
    place.run(&["set", "kitchen/temp", "21.5"]).ok();
    place.run(&["set", "hall", "19", "--bucket", "other"]).ok();
    place.run(&["append", "kitchen/temp", "21.5"]).ok();
    place.with(&["set", "large", "-"], &[], &vec![b'x'; 200_000]).ok();
    let text = String::from_utf8(place.read("data/default.yaml")).unwrap();
    place.file("data/default.yaml", format!("{text}# by hand\nhand: written # why\n"));
    place
}

fn backup(place: &Place, args: &[&str]) -> String {
    place.run(&[&["backup", "backups"], args].concat()).ok().text().trim().to_owned()
}

fn count(place: &Place) -> usize {
    let backups = std::fs::read_dir(place.path("backups")).unwrap().flatten();
    backups.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
}

#[test]
fn a_restored_store_has_the_comments_and_all_revisions() {
    let place = filled();
    let run = place.run(&["backup", "backups"]).ok();
    assert!(run.err.contains("4 entries and 1 log in 2 buckets, as they were at "), "{run:?}");
    place.run(&["set", "kitchen/temp", "later"]).ok();
    RealFileSystem.rename(&place.path("data"), &place.path("old")).unwrap();
    let run = place.run(&["restore", "backups"]).ok();
    assert!(run.err.contains("4 entries in 2 buckets restored from backups/"), "{run:?}");
    let text = String::from_utf8(place.read("data/default.yaml")).unwrap();
    assert!(text.contains("# by hand\nhand: written # why"), "{text}");
    assert_eq!(place.run(&["get", "kitchen/temp"]).ok().text().trim(), "21.5");
    let verified = place.run(&["copy", "yaml:old", "yaml:data", "--verify"]).fails(1, "differ");
    assert!(verified.err.contains("1 entry differs"), "only the later write may differ: {verified:?}");
    place.run(&["check"]).ok();
}

#[test]
fn a_store_with_other_data_is_replaced_only_on_request() {
    let place = filled();
    let one = backup(&place, &[]);
    place.run(&["set", "kitchen/temp", "new"]).ok();
    place.run(&["set", "also", "new"]).ok();
    place.run(&["append", "kitchen/temp", "new"]).ok();
    place.run(&["set", "x", "1", "--bucket", "later"]).ok();
    place.run(&["restore", &one]).fails(1, "nothing was written: the store has other data");
    assert_eq!(place.run(&["get", "kitchen/temp"]).ok().text().trim(), "new");
    let run = place.run(&["restore", &one, "--replace"]).ok();
    assert!(run.err.contains("bucket later is not in the backup and stays as it is"), "{run:?}");
    assert_eq!(place.run(&["get", "kitchen/temp"]).ok().text().trim(), "21.5");
    place.run(&["get", "also"]).fails(1, "");
    let log = place.run(&["log", "kitchen/temp"]).ok();
    assert!(log.text().contains("21.5") && !log.text().contains("new"), "{log:?}");
    place.run(&["copy", &format!("yaml:{one}/data"), "yaml:data", "--verify"]).ok();
}

#[test]
fn one_bucket_can_be_restored() {
    let place = filled();
    backup(&place, &[]);
    place.run(&["set", "kitchen/temp", "new"]).ok();
    place.run(&["set", "hall", "new", "--bucket", "other"]).ok();
    place.run(&["restore", "backups", "--bucket", "other", "--replace"]).ok();
    assert_eq!(place.run(&["get", "hall", "--bucket", "other"]).ok().text().trim(), "19");
    assert_eq!(place.run(&["get", "kitchen/temp"]).ok().text().trim(), "new");
    place.run(&["restore", "backups", "--bucket", "none"]).fails(1, "has no bucket none; it has default, other");
}

#[test]
fn a_changed_backup_is_not_restored() {
    let place = filled();
    let one = backup(&place, &[]);
    let restore = || place.run(&["restore", &one, "--store", "yaml:new"]);
    let change = |name: &str, content: &str, expected: &str| {
        let before = place.read(name);
        place.file(name, content);
        restore().fails(1, &format!("{name} {expected}"));
        place.file(name, before);
    };
    let data = format!("{one}/data/default.yaml");
    change(&data, "kitchen/temp: 99\n", "has been changed");
    change(&format!("{one}/data/default.logs/kitchen%2Ftemp.log"), "", "has been changed");
    change(&format!("{one}/backup.yaml"), "", "has been changed");
    let added = place.file(&format!("{one}/data/more.yaml"), "a: 1\n");
    restore().fails(1, "more.yaml has been added");
    std::fs::remove_file(added).unwrap();
    let removed = place.path(&data);
    RealFileSystem.rename(&removed, &place.path("kept")).unwrap();
    restore().fails(1, "default.yaml has been removed");
    RealFileSystem.rename(&place.path("kept"), &removed).unwrap();
    assert!(!place.path("new").exists(), "something was restored");
    restore().ok();
    place.run(&["restore", "nowhere"]).fails(1, "nowhere");
    place.run(&["restore", "data"]).fails(1, "is not a backup and contains none");
}

#[test]
fn a_damaged_store_is_not_backed_up() {
    let place = filled();
    backup(&place, &[]);
    let text = String::from_utf8(place.read("data/default.yaml")).unwrap();
    place.file("data/default.yaml", format!("{text}k: [\n"));
    place.run(&["backup", "backups", "--keep", "1"]).fails(1, "default.yaml, line ");
    assert_eq!(count(&place), 1, "the good backup was removed, or a bad one was kept");
    place.file("data/default.yaml", text);
    let blobs = place.path("data/blobs/default");
    let blob = std::fs::read_dir(&blobs).unwrap().flatten().find(|file| file.file_name() != "lock").unwrap();
    // A new file, as the first backup has its own.
    std::fs::remove_file(blob.path()).unwrap();
    place.file(blob.path().to_str().unwrap(), "short");
    let fresh = place.run(&["backup", "others"]).fails(1, "is damaged, so it was not kept");
    assert!(fresh.err.contains("the blob of \"large\" was changed"), "{fresh:?}");
    place.run(&["backup", "backups", "--store", "yaml:none"]).fails(1, "there is no folder none");
    place.run(&["backup", "backups", "--bucket", "other"]).fails(2, "a backup has all buckets");
    place.run(&["backup", "backups", "--store", "memory:"]).fails(2, "memory: cannot be backed up");
}

#[test]
fn backups_share_blobs_and_old_ones_are_removed_on_request() {
    let place = filled();
    let blob = |backup: &str| {
        let folder = place.path(backup).join("data/blobs/default");
        let file = std::fs::read_dir(folder).unwrap().flatten().find(|file| file.file_name() != "lock").unwrap();
        file.metadata().unwrap().ino()
    };
    let first = backup(&place, &[]);
    let second = backup(&place, &[]);
    assert_eq!(blob(&first), blob(&second));
    place.run(&["delete", "large"]).ok();
    let third = backup(&place, &["--keep", "2"]);
    assert!(!place.path(&first).exists() && place.path(&second).exists() && place.path(&third).exists());
    assert!(
        std::fs::read_dir(place.path(&third).join("data/blobs/default"))
            .into_iter()
            .flatten()
            .flatten()
            .all(|file| file.file_name() == "lock")
    );
    place.run(&["restore", &second, "--store", "yaml:new"]).ok();
    assert_eq!(place.run(&["get", "large", "--store", "yaml:new"]).ok().out.len(), 200_000);
    // Somebody else is making a backup.
    let lock = std::fs::File::open(place.path("backups/.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    place.run(&["backup", "backups"]).fails(1, "another backup to backups is running");
}

#[test]
fn a_server_is_backed_up_over_http() {
    let served = Served::start(&[]);
    served.put("/kv/default/kitchen/temp", "21.5");
    let place = Place::new();
    let url = format!("http://{}/", served.address);
    let backup = || place.with(&["backup", "backups"], &[("KVS_STORE", &url), ("KVS_SECRET", SECRET)], b"").ok();
    let run = backup();
    assert!(run.err.contains("1 entry and 0 logs in 1 bucket, each of its own moment"), "{run:?}");
    served.put("/kv/default/kitchen/temp", "22");
    let second = backup();
    let get = |backup: &str| {
        let store = format!("yaml:{backup}/data");
        place.run(&["get", "kitchen/temp", "--store", &store]).ok().text().trim().to_owned()
    };
    assert_eq!([run, second].map(|run| get(run.text().trim())), ["21.5", "22"]);
}
