//! Durable data is never taken for the rest of an interrupted write, and a missing file is not taken for an empty one.

use std::path::Path;

use kvs::model::ErrorKind;
use kvs::store::{Severity, Task};
use kvs::yaml::{FileSystem as _, RealFileSystem, YamlStore};

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Meddling, MeddlingFs, Which};
use crate::yaml::fixtures::{Values, all, apply, commit, data, open, options, put, upkeep, values};

const TRANSACTIONS: usize = 200;

fn written() -> (CrashFs, YamlStore, Vec<u8>) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    for n in 0..TRANSACTIONS {
        commit(&store, vec![put(&format!("key{n}"), format!("value {n}"))]);
    }
    let bytes = disk.bytes(&data()).unwrap();
    (disk, store, bytes)
}

fn line_at(bytes: &[u8], at: usize) -> u64 {
    String::from_utf8_lossy(&bytes[..at]).lines().count().max(1) as u64
}

fn find(bytes: &[u8], part: &str) -> usize {
    bytes.windows(part.len()).position(|window| window == part.as_bytes()).unwrap()
}

/// The file is not changed or moved, the error has its line, and no write is acknowledged.
fn is_damage(disk: &CrashFs, stores: &[&YamlStore], line: u64) {
    let bytes = disk.bytes(&data()).unwrap();
    for store in stores {
        let error = apply(store, vec![put("new", "x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let place =
            error.to_string().split("default.yaml, line ").nth(1).unwrap().split(':').next().unwrap().to_owned();
        let reported: u64 = place.parse().unwrap();
        assert!(reported.abs_diff(line) <= 1, "{error}; wanted line {line}");
        let findings = upkeep(store, Task::Check).unwrap().findings;
        assert!(findings.iter().any(|f| f.severity == Severity::Damage && f.line == Some(reported)), "{findings:?}");
        assert_eq!(upkeep(store, Task::Compact).unwrap_err().kind(), ErrorKind::Corrupt);
        let _ = upkeep(store, Task::RemoveLeftovers);
        let _ = all(store);
    }
    assert_eq!(disk.bytes(&data()).unwrap(), bytes, "not a byte is changed");
    assert!(disk.names().iter().all(|name| !name.to_string_lossy().contains("torn")), "{:?}", disk.names());
}

#[test]
fn corrupt_byte_in_durable_data_is_damage_and_never_moved() {
    for transaction in [6, 100, TRANSACTIONS - 1] {
        let (disk, store, mut bytes) = written();
        let known = values(&store);
        let at = find(&bytes, &format!("value {transaction},"));
        bytes[at] = 0;
        disk.edit(&data(), &bytes);
        is_damage(&disk, &[&store, &open(disk.clone())], line_at(&bytes, at));
        assert_eq!(values(&store), known, "the last good state is served");
        assert_eq!(values(&open(disk.clone())), known, "by a new process too");
        let copy = disk.bytes(&data().with_extension("yaml.last")).unwrap();
        disk.remove(&data().with_extension("yaml.last")).unwrap();
        assert_eq!(values(&open(disk.clone())).len(), transaction, "without a copy what comes before the damage");
        disk.put(&data().with_extension("yaml.last"), &copy);
        bytes[at] = b'v';
        disk.edit(&data(), &bytes);
        commit(&store, vec![put("after", "x")]);
        assert_eq!(values(&open(disk)).len(), TRANSACTIONS + 1);
    }
}

#[test]
fn missing_last_end_mark_is_damage() {
    for mark in ["..x\n", "..", "\n", ""] {
        let (disk, store, mut bytes) = written();
        bytes.truncate(bytes.len() - "...\n".len());
        let last =
            bytes.len() - bytes.rsplitn(3, |b| *b == b'\n').take(2).map(|line| line.len() + 1).sum::<usize>() + 1;
        bytes.extend_from_slice(mark.as_bytes());
        disk.edit(&data(), &bytes);
        let error = apply(&store, vec![put("new", "x")]).unwrap_err();
        let line: u64 = error.to_string().split("line ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(line.abs_diff(line_at(&bytes, last)) <= 3, "{mark:?}: {error}");
        is_damage(&disk, &[&store, &open(disk.clone())], line);
    }
}

#[test]
fn truncated_transaction_is_damage() {
    let (disk, store, bytes) = written();
    let at = find(&bytes, "value 150,") + 3;
    disk.edit(&data(), &bytes[..at]);
    let error = apply(&store, vec![put("new", "x")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    is_damage(&disk, &[&store, &open(disk.clone())], line_at(&bytes, at));
}

#[test]
fn torn_tail_after_durable_data_is_set_aside() {
    for tail in ["---\nnew: {value: x", "---\nn\0\0\0\0"] {
        let (disk, store, bytes) = written();
        disk.edit(&data(), &[&bytes, tail.as_bytes()].concat());
        commit(&store, vec![put("after", "x")]);
        assert_eq!(values(&open(disk.clone())).len(), TRANSACTIONS + 1);
        assert!(disk.names().iter().any(|name| name.to_string_lossy().contains("torn")));
    }
}

#[test]
fn emptied_or_removed_file_is_not_an_empty_bucket() {
    for empty in [true, false] {
        let (disk, store, bytes) = written();
        let known = values(&store);
        let lose = || if empty { disk.edit(&data(), b"") } else { disk.take_away(&data()) };
        lose();
        assert_eq!(values(&store), known, "the last good state is served");
        for store in [&store, &open(disk.clone())] {
            for _ in 0..2 {
                let error = apply(store, vec![put("new", "x")]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                let wanted = if empty { "is empty" } else { "is missing" };
                assert!(
                    error.to_string().contains(wanted) && error.to_string().contains("restore the file"),
                    "{error}"
                );
            }
        }
        assert_eq!(disk.bytes(&data()).unwrap_or_default(), b"", "nothing is written in its place");
        disk.put(&data(), &bytes);
        assert_eq!(values(&store), known);
        commit(&store, vec![put("after", "x")]);
        // A person can confirm it.
        lose();
        disk.put(&data(), b"---\n");
        assert_eq!(values(&store), Values::new());
        commit(&store, vec![put("anew", "x")]);
        assert_eq!(values(&open(disk.clone())).len(), 1);
    }
}

#[test]
fn removed_folder_is_not_recreated() {
    let folder = tempfile::tempdir().unwrap();
    let (data, aside) = (folder.path().join("data"), folder.path().join("unmounted"));
    let store = YamlStore::open(&data, crate::yaml::fixtures::options(kvs::yaml::RealFileSystem)).unwrap();
    commit(&store, vec![put("a", "1")]);
    let rename = |from, to| kvs::yaml::FileSystem::rename(&kvs::yaml::RealFileSystem, from, to).unwrap();
    for (is_mount_point, value) in [(false, "1"), (true, "3")] {
        rename(&data, &aside);
        if is_mount_point {
            kvs::yaml::FileSystem::make_folder(&kvs::yaml::RealFileSystem, &data).unwrap();
        }
        assert_eq!(values(&store)["a"], value);
        for _ in 0..3 {
            let error = apply(&store, vec![put("a", "2")]).unwrap_err();
            assert!(error.to_string().contains("missing"), "{error}");
        }
        assert_eq!(data.exists(), is_mount_point);
        assert!(!data.join("default.yaml").exists());
        if is_mount_point {
            std::fs::remove_file(data.join("default.lock")).unwrap_or_default();
            std::fs::remove_dir(&data).unwrap();
        }
        rename(&aside, &data);
        commit(&store, vec![put("a", "3")]);
    }
}

#[test]
fn folder_that_is_removed_during_a_write_is_not_recreated() {
    let folder = tempfile::tempdir().unwrap();
    let (data, aside) = (folder.path().join("data"), folder.path().join("unmounted"));
    let rename = |from: &Path, to: &Path| RealFileSystem.rename(from, to).unwrap();
    for (call, ending) in [(Call::Stat, "default.yaml"), (Call::Write, "default.yaml"), (Call::Sync, "default.yaml")] {
        let disk = MeddlingFs::new(RealFileSystem, Meddling::default());
        let store = YamlStore::open(&data, options(disk.clone())).unwrap();
        commit(&store, vec![put("a", "1")]);
        let (from, to) = (data.clone(), aside.clone());
        disk.probe.next(Which(call, ending), move || RealFileSystem.rename(&from, &to).unwrap());
        for _ in 0..4 {
            apply(&store, vec![put("a", "2")]).unwrap_err();
        }
        assert!(!data.exists(), "made again after {call:?}");
        rename(&aside, &data);
        assert_eq!(values(&store)["a"], "1", "{call:?}");
        commit(&store, vec![put("a", "3")]);
    }
}
