//! A full disk: no leftovers use more space, handwritten files can still be appended to, and deletions and compaction
//! free space.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvs::model::{Batch, ErrorKind};
use kvs::store::{Store, Task};
use kvs::yaml::{RealFileSystem, YamlStore};

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Probe, Probed, Which};
use crate::yaml::fixtures::{
    Values, all, apply, bucket, commit, data, delete, key, model, open, options, pair, put, run, upkeep, values,
};

const ALWAYS: usize = usize::MAX;

fn full(call: Call, ending: &'static str) -> Fault {
    Fault { which: Which(call, ending), after: 0, times: ALWAYS, kind: io::ErrorKind::StorageFull, part: 20 }
}

fn names(disk: &CrashFs, part: &str) -> usize {
    disk.names().iter().filter(|name| name.to_string_lossy().contains(part)).count()
}

/// Texts that a person may have saved. None is in the format of kvs.
const BY_HAND: [&str; 5] =
    ["hand: written\nother: 2\n", "hand: written", "hand: written\n...\n", "", "a0: {value: x}\n---\nhand: |\n  two\n"];

#[test]
fn handwritten_file_is_appended_to_if_a_rewrite_does_not_fit() {
    for text in BY_HAND {
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ResourceBusy,
        ] {
            let disk = CrashFs::default();
            disk.put(&data(), text.as_bytes());
            let mut known = values(&open(disk.clone()));
            // Only the copy would have the time of the write.
            let _ = kvs::yaml::FileSystem::remove(&disk, &data().with_extension("yaml.last"));
            let faulty = FailingFs::new(disk.clone(), Failing::default());
            let store = open(faulty.clone());
            let call = if kind == io::ErrorKind::ResourceBusy { Call::Rename } else { Call::Write };
            faulty.probe.fail([Fault { kind, ..full(call, ".new") }]);
            for n in 0..3 {
                commit(&store, pair(n, "new"));
                model(&mut known, &pair(n, "new"));
                let case = format!("{text:?}, {kind:?}");
                assert_eq!(values(&store), known, "{case}");
                assert_eq!(all(&store).unwrap(), all(&open(disk.clone())).unwrap(), "{case}: another process");
                assert_eq!(names(&disk, ".new"), 0, "{case}");
                assert!(disk.bytes(&data()).unwrap().starts_with(text.as_bytes()), "{case}: the old text stays");
            }
            assert!(upkeep(&open(disk.clone()), Task::Check).unwrap().findings.is_empty(), "{text:?}");
            // An empty batch, which asks whether writes work, reports the problem until it is solved.
            let outcome = run(store.apply(&bucket(), Batch::default()));
            assert!(
                outcome.is_err_and(|e| [ErrorKind::StorageFull, ErrorKind::PermissionDenied].contains(&e.kind())),
                "{text:?}, {kind:?}"
            );
            match upkeep(&store, Task::Status) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::StorageFull, "{text:?}, {kind:?}"),
                Ok(report) => assert!(!report.findings.is_empty(), "{text:?}, {kind:?}"),
            }
            faulty.probe.fail([]);
            upkeep(&store, Task::Compact).unwrap();
            assert_eq!(upkeep(&store, Task::Status).unwrap().findings, []);
            run(store.apply(&bucket(), Batch::default())).unwrap();
            assert_eq!(values(&open(disk)), known);
        }
    }
}

#[test]
fn append_to_a_handwritten_file_is_all_or_nothing() {
    for text in BY_HAND {
        for stop in 0.. {
            let disk = CrashFs::default();
            disk.put(&data(), text.as_bytes());
            let old = values(&open(disk.clone()));
            let mut new = old.clone();
            model(&mut new, &pair(0, "new"));
            let faulty = FailingFs::new(disk.clone(), Failing::default());
            faulty.probe.fail([full(Call::Write, ".new")]);
            disk.stop_before(stop);
            let answer = apply(&open(faulty), pair(0, "new"));
            for seed in 0..12 {
                let seed = &mut Seed::new(seed);
                for later in [disk.crashed(seed), disk.killed(seed)] {
                    let found = values(&open(later.clone()));
                    let allowed: &[&Values] = if answer.is_ok() { &[&new] } else { &[&old, &new] };
                    assert!(allowed.contains(&&found), "{text:?}, stopped before {stop}: {found:?}");
                    commit(&open(later.clone()), pair(1, "next"));
                }
            }
            if answer.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn rejected_write_leaves_no_file_and_no_torn_tail() {
    let disk = CrashFs::default();
    commit(&open(disk.clone()), pair(0, "old"));
    let text = disk.bytes(&data()).unwrap();
    disk.edit(&data(), &[&text[..], b"---\na0: {value: torn, upd"].concat());
    let faulty = FailingFs::new(disk.clone(), Failing::default());
    let store = open(faulty.clone());
    for call in [Call::Write, Call::Sync] {
        faulty.probe.fail([".new", ".yaml"].map(|ending| full(call, ending)).into_iter().chain([full(call, "")]));
        for n in 0..5 {
            assert_eq!(apply(&store, pair(n, "new")).unwrap_err().kind(), ErrorKind::StorageFull);
        }
        assert_eq!((names(&disk, "torn"), names(&disk, ".new")), (0, 0), "{call:?}");
    }
    faulty.probe.fail([]);
    commit(&store, pair(0, "new"));
    assert_eq!(names(&disk, "torn"), 1);
}

/// A folder whose files have at most this many bytes together.
struct Tight {
    folder: PathBuf,
    room: AtomicU64,
}

impl Tight {
    fn used(&self) -> u64 {
        std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len()))
            .sum()
    }
}

impl Probe for Tight {
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<()> {
        // The record of a lock file is overwritten.
        let grows = match call {
            Call::Write if path.extension().is_none_or(|ending| ending != "lock") => len as u64,
            Call::Reserve if std::fs::metadata(path).map_or(0, |meta| meta.len()) == 0 => 1 << 20,
            _ => 0,
        };
        if grows > 0 && self.used() + grows > self.room.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn tight(folder: &Path, min_log_bytes: u64) -> (Probed<Tight>, YamlStore) {
    // Without copies of handwritten files: their removal would free space.
    let probe = Tight { folder: folder.to_owned(), room: AtomicU64::new(u64::MAX) };
    let disk = Probed::new(RealFileSystem, probe);
    let store =
        YamlStore::open(folder, kvs::yaml::YamlOptions { min_log_bytes, tidy_up_to: 0, ..options(disk.clone()) })
            .unwrap();
    (disk, store)
}

/// Fills the disk with values until no other fits. Returns how many there are.
fn fill(disk: &Probed<Tight>, store: &YamlStore, size: usize) -> usize {
    disk.probe.room.store(disk.probe.used() + 300_000, Ordering::SeqCst);
    for n in 0.. {
        if let Err(error) = apply(store, vec![put(&format!("k{n:04}"), "x".repeat(size))]) {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            // To the last byte, as other programs do.
            disk.probe.room.store(disk.probe.used(), Ordering::SeqCst);
            return n;
        }
    }
    unreachable!()
}

#[test]
fn deletions_make_a_full_disk_writable_again() {
    for one_by_one in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (disk, store) = tight(folder.path(), u64::MAX);
        commit(&store, vec![put("first", "x")]);
        let count = fill(&disk, &store, 5000);
        assert!(apply(&store, vec![put("more", "x")]).is_err_and(|e| e.kind() == ErrorKind::StorageFull));
        let names: Vec<String> = (0..count - 3).map(|n| format!("k{n:04}")).collect();
        if one_by_one {
            for name in &names {
                commit(&store, vec![delete(name)]);
            }
        } else {
            commit(&store, names.iter().map(|name| delete(name)).collect());
        }
        // Compaction follows automatically.
        let end = Instant::now() + Duration::from_secs(20);
        while apply(&store, vec![put("again", "x".repeat(20_000))]).is_err() {
            assert!(Instant::now() < end, "one by one: {one_by_one}: no room, {} bytes used", disk.probe.used());
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = values(&YamlStore::open(folder.path(), options(RealFileSystem)).unwrap());
        assert_eq!(found.len(), 5, "one by one: {one_by_one}");
        assert!(found.contains_key("again") && found.contains_key("first"));
    }
}

#[test]
fn deletion_among_other_writes_works_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, store) = tight(folder.path(), u64::MAX);
    commit(&store, vec![put("first", "x"), put("second", "x")]);
    fill(&disk, &store, 30_000);
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let store = store.clone();
            std::thread::spawn(move || match n {
                3 => apply(&store, vec![delete("first")]),
                _ => apply(&store, vec![put(&format!("n{n}"), "x".repeat(400_000))]),
            })
        })
        .collect();
    for (n, writer) in writers.into_iter().enumerate() {
        // Other writes may have used the space that the deletion freed.
        match writer.join().unwrap() {
            Ok(_) if n == 3 => assert!(!values(&store).contains_key("first")),
            Ok(_) => assert!(values(&store).contains_key(&format!("n{n}"))),
            Err(error) => assert!(n != 3 && error.kind() == ErrorKind::StorageFull, "{n}: {error}"),
        }
    }
}

#[test]
fn compaction_uses_reserved_space_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, store) = tight(folder.path(), u64::MAX);
    for n in 0..50 {
        commit(&store, vec![put("a", "x".repeat(1000 + n))]);
    }
    disk.probe.room.store(disk.probe.used(), Ordering::SeqCst);
    let report = upkeep(&store, Task::Compact).unwrap();
    assert!(report.bytes_after < 2000 && report.bytes_before > 50_000, "{report:?}");
    assert!(run(store.get(&bucket(), &[key("a")])).unwrap().entries[0].is_some());
    // The space is reserved again.
    commit(&store, vec![put("b", "x")]);
    assert!(std::fs::metadata(folder.path().join("_kvs.reserve")).unwrap().len() > 0);
}
