//! Removed lock files, and data files with two names: each acknowledged write is stored once and visible to all.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvs::model::{ErrorKind, Write};
use kvs::store::Task;
use kvs::yaml::{RealFileSystem, YamlOptions, YamlStore};

use crate::support::disks::{Call, Freezing, FreezingFs, Which};
use crate::yaml::fixtures::{all, apply, commit, key, options, pair, put, upkeep, values};

fn real(folder: &Path) -> YamlStore {
    // Frequent compaction, so that the data file is replaced often.
    let options = YamlOptions { min_log_bytes: 1000, lock_timeout: Duration::from_secs(10), ..YamlOptions::default() };
    YamlStore::open(folder, options).unwrap()
}

fn count() -> Vec<Write> {
    vec![Write::Increment { key: key("n"), by: 1 }]
}

/// Increments in these folders, from several threads, each with its own store. Returns the number of acknowledgements.
fn count_in(folders: &[&Path], each: usize, meanwhile: impl Fn()) -> u64 {
    let acknowledged = AtomicU64::new(0);
    let left = AtomicU64::new(folders.len() as u64);
    thread::scope(|scope| {
        for folder in folders {
            scope.spawn(|| {
                let store = real(folder);
                for _ in 0..each {
                    match apply(&store, count()) {
                        Ok(_) => acknowledged.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
                            0
                        }
                    };
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while left.load(Ordering::SeqCst) > 0 {
            meanwhile();
        }
    });
    acknowledged.into_inner()
}

#[test]
fn removed_lock_file_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    commit(&real(folder.path()), count());
    let (lock, other) = (folder.path().join("default.lock"), folder.path().join("other"));
    let turn = AtomicBool::new(false);
    let acknowledged = count_in(&[folder.path(); 4], 150, || {
        if turn.fetch_xor(true, Ordering::SeqCst) {
            let _ = std::fs::remove_file(&lock);
        } else {
            // Or replaced, as when a backup is restored.
            std::fs::File::create(&other).unwrap();
            std::fs::hard_link(&other, folder.path().join("default.lock")).unwrap_or_default();
            std::fs::remove_file(&other).unwrap();
        }
        thread::sleep(Duration::from_micros(300));
    });
    assert!(acknowledged > 300, "{acknowledged}");
    assert_eq!(values(&real(folder.path()))["n"], (acknowledged + 1).to_string());
}

#[test]
fn new_lock_file_waits_for_the_holder_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = FreezingFs::new(RealFileSystem, Freezing::default());
    let at = |disk: FreezingFs| YamlStore::open(folder.path(), options(disk)).unwrap();
    let (first, second) = (at(frozen.clone()), YamlStore::open(folder.path(), options(RealFileSystem)).unwrap());
    commit(&first, pair(0, "x"));
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let writing = thread::spawn(move || apply(&first, pair(1, "first")).is_ok());
    gate.reached();
    std::fs::remove_file(folder.path().join("default.lock")).unwrap();
    assert_eq!(apply(&second, pair(2, "second")).unwrap_err().kind(), ErrorKind::Busy);
    // Data that is not durable is not read.
    assert_eq!(all(&second).unwrap_err().kind(), ErrorKind::Busy);
    gate.open();
    assert!(writing.join().unwrap());
    commit(&second, pair(2, "second"));
    let found = values(&second);
    assert_eq!((found["a0"].as_str(), found["a1"].as_str(), found["a2"].as_str()), ("x", "first", "second"));
}

#[test]
fn folders_with_a_linked_data_file_are_one_store() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    commit(&real(one.path()), count());
    let link = two.path().join("default.yaml");
    std::os::unix::fs::symlink(one.path().join("default.yaml"), &link).unwrap();
    let acknowledged = count_in(&[one.path(), two.path(), one.path(), two.path()], 100, || {
        thread::sleep(Duration::from_millis(2));
    });
    assert_eq!(acknowledged, 400);
    let (first, second) = (real(one.path()), real(two.path()));
    upkeep(&second, Task::Compact).unwrap();
    commit(&second, vec![put("by", "the link")]);
    assert!(link.symlink_metadata().unwrap().is_symlink(), "compaction has replaced the link");
    for store in [&first, &second] {
        assert_eq!((values(store)["n"].as_str(), values(store)["by"].as_str()), ("401", "the link"));
    }
    let names: Vec<_> = std::fs::read_dir(two.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["default.yaml"], "lock and leftovers belong next to the file itself");
}

#[test]
fn changed_symbolic_link_is_followed() {
    let (one, two, links) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    commit(&real(one.path()), pair(0, "one"));
    commit(&real(two.path()), pair(0, "two"));
    let link = links.path().join("default.yaml");
    let turn = |folder: &Path| {
        std::os::unix::fs::symlink(folder.join("default.yaml"), link.with_extension("next")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a person does this")]
        std::fs::rename(link.with_extension("next"), &link).unwrap();
    };
    turn(one.path());
    let store = real(links.path());
    assert_eq!(values(&store)["a0"], "one");
    turn(two.path());
    assert_eq!(values(&store)["a0"], "two");
    commit(&store, pair(1, "through the link"));
    assert_eq!(values(&real(two.path()))["a1"], "through the link");
    assert!(!values(&real(one.path())).contains_key("a1"));
}

#[test]
fn dangling_symbolic_link_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("default.yaml");
    std::os::unix::fs::symlink(folder.path().join("missing"), &link).unwrap();
    let store = real(folder.path());
    let error = apply(&store, pair(0, "x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("symbolic link that leads to no file"), "{error}");
    assert!(link.symlink_metadata().unwrap().is_symlink() && !folder.path().join("missing").exists());
}

#[test]
fn data_file_with_two_names_is_read_but_not_written() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, other) = (folder.path().join("default.yaml"), backup.path().join("default.yaml"));
    let store = real(folder.path());
    commit(&store, pair(0, "before"));
    std::fs::hard_link(&data, &other).unwrap();
    let before = std::fs::read(&other).unwrap();
    for store in [&store, &real(folder.path()), &real(backup.path())] {
        let error = apply(store, pair(0, "after")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(
            error.to_string().contains("hard links") && error.to_string().contains("nothing was stored"),
            "{error}"
        );
        assert_eq!(values(store)["a0"], "before");
        let found = upkeep(store, Task::Status).unwrap().findings;
        assert!(found.iter().any(|finding| finding.text.contains("hard links")), "{found:?}");
    }
    assert_eq!(std::fs::read(&other).unwrap(), before);
    // Compaction, which a person starts, gives the bucket a separate file.
    upkeep(&store, Task::Compact).unwrap();
    commit(&store, pair(0, "after"));
    assert_eq!((values(&store)["a0"].as_str(), std::fs::read(&other).unwrap()), ("after", before));
    commit(&real(backup.path()), pair(0, "on its own"));
    assert_eq!(values(&store)["a0"], "after");
    assert_ne!(std::fs::metadata(&data).unwrap().ino(), std::fs::metadata(&other).unwrap().ino());
}

#[test]
fn append_to_a_moved_file_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = FreezingFs::new(RealFileSystem, Freezing::default());
    let store = YamlStore::open(folder.path(), options(frozen.clone())).unwrap();
    commit(&store, pair(0, "x"));
    let data = folder.path().join("default.yaml");
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let writing = thread::spawn(move || apply(&store, pair(1, "late")));
    gate.reached();
    let saved =
        std::fs::read_to_string(&data).unwrap().split_inclusive("...\n").take(2).collect::<String>() + "hand: saved\n";
    std::fs::remove_file(&data).unwrap();
    std::io::Write::write_all(&mut std::fs::File::create(&data).unwrap(), saved.as_bytes()).unwrap();
    gate.open();
    assert_eq!(writing.join().unwrap().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(values(&real(folder.path())).keys().collect::<Vec<_>>(), ["a0", "b0", "hand"]);
}

#[test]
fn concurrent_first_writes_to_a_bucket_are_all_stored() {
    for _ in 0..5 {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let start = Instant::now();
        let threads: Vec<_> = (0..6)
            .map(|n| {
                let folder = Arc::clone(&folder);
                thread::spawn(move || commit(&real(folder.path()), pair(n, "x")))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(values(&real(folder.path())).len(), 12, "after {:?}", start.elapsed());
    }
}
