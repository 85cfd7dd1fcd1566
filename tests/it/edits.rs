//! A person adds to the data file with a shell, at the worst moment of a write: on a real file system, since it is the
//! system that puts what two write at the end of a file one behind the other.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use kvs::model::{Bucket, Revision};
use kvs::store::{Store as _, Task};
use kvs::yaml::{Disk as _, Options, RealDisk, YamlStore};

use crate::bench::{commit, options, pair, put, upkeep, values};
use crate::disks::{Call, Meddling, MeddlingDisk, Which};

/// As `echo 'hand: edited' >> default.yaml` does.
fn echo(folder: &Path) {
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.join("default.yaml")).unwrap();
    file.write_all(b"hand: edited\n").unwrap();
}

/// As an editor that writes in place does.
fn save(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn open(folder: &Path, disk: impl kvs::yaml::Disk) -> YamlStore {
    YamlStore::open(folder, options(disk)).unwrap()
}

#[test]
fn what_a_person_adds_while_kvs_appends_is_served_and_kept() {
    for call in [Call::Write, Call::Sync, Call::FileStat] {
        for write in ["x", "longer than what the person adds, so that it would not be seen below it"] {
            let folder = tempfile::tempdir().unwrap();
            let disk = MeddlingDisk::new(RealDisk, Meddling::default());
            let store = open(folder.path(), disk.clone());
            commit(&store, pair(0, "first"));
            commit(&open(folder.path(), RealDisk), pair(1, "of another"));
            commit(&store, pair(0, "second"));
            let path = folder.path().to_owned();
            disk.probe.next(Which(call, ".yaml"), move || echo(&path));
            commit(&store, pair(2, write));
            let case = format!("{call:?}, {write}");
            for store in [&store, &open(folder.path(), RealDisk)] {
                assert_eq!(values(store)["hand"], "edited", "{case}");
                assert_eq!(values(store)["b2"], write, "{case}");
            }
            commit(&store, pair(3, "later"));
            let found = values(&open(folder.path(), RealDisk));
            assert_eq!(found, values(&store), "{case}");
            assert_eq!((found["hand"].as_str(), found["b2"].as_str(), found.len()), ("edited", write, 9), "{case}");
        }
    }
}

#[test]
fn what_a_person_adds_while_kvs_writes_the_file_anew_is_kept() {
    // While the new file is synced, and between the rename and the look at what it led to.
    for call in [Call::Sync, Call::SyncFolder] {
        for compacts in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let disk = MeddlingDisk::new(RealDisk, Meddling::default());
            let store = open(folder.path(), disk.clone());
            commit(&store, pair(0, "first"));
            let ending = match (call, compacts) {
                (Call::SyncFolder, _) => "",
                (_, true) => ".compact",
                (_, false) => ".new",
            };
            let draft = store.draft(&Bucket::default()).unwrap();
            let path = folder.path().to_owned();
            disk.probe.next(Which(call, ending), move || echo(&path));
            let done = if compacts { upkeep(&store, Task::Compact).map(drop) } else { comment(&store, &draft) };
            let case = format!("{call:?}, compacts: {compacts}: {done:?}");
            assert_eq!(values(&store)["hand"], "edited", "{case}");
            write(&store).unwrap();
            assert_eq!(values(&store).len(), 4, "{case}");
            assert_eq!(values(&open(folder.path(), RealDisk)), values(&store), "{case}");
        }
    }
}

/// As `kvs edit` does, for a person who adds a comment: the file is written anew with it.
fn comment(store: &YamlStore, draft: &kvs::yaml::Draft) -> kvs::model::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.replace(&Bucket::default(), draft, &format!("{}# mine\n", draft.text))).map(drop)
}

fn write(store: &YamlStore) -> kvs::model::Result<()> {
    crate::bench::apply(store, vec![put("new", "x")]).map(drop)
}

#[test]
fn a_file_that_is_taken_away_and_put_back_is_the_same_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), RealDisk);
    commit(&store, pair(0, "first"));
    let (path, aside) = (folder.path().join("default.yaml"), folder.path().join("aside"));
    let first = revision(&store);
    for (from, to) in [(&path, &aside), (&aside, &path), (&path, &aside), (&aside, &path)] {
        RealDisk.rename(from, to).unwrap();
        assert_eq!((revision(&store), values(&store).len()), (first, 2));
    }
    commit(&store, pair(0, "second"));
    assert_eq!(values(&open(folder.path(), RealDisk))["a0"], "second");
}

fn revision(store: &YamlStore) -> Revision {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.get(&Bucket::default(), &[])).unwrap().revision
}

#[test]
fn a_data_file_that_may_not_be_written_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.yaml");
    save(&path, "");
    let disk = Arc::new(Guarded);
    let store = YamlStore::open(folder.path(), Options { disk, ..options(RealDisk) }).unwrap();
    commit(&open(folder.path(), RealDisk), pair(0, "first"));
    let before = std::fs::read(&path).unwrap();
    for _ in 0..3 {
        let error = write(&store).unwrap_err().to_string();
        assert!(error.contains("cannot write to") && error.contains("denied"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(values(&store)["a0"], "first");
}

/// A disk whose data file may only be read, for root as well.
struct Guarded;

impl kvs::yaml::Disk for Guarded {
    fn open(&self, path: &Path, how: kvs::yaml::disk::Open) -> std::io::Result<Box<dyn kvs::yaml::disk::File>> {
        if how == kvs::yaml::disk::Open::Append && path.ends_with("default.yaml") {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        RealDisk.open(path, how)
    }
    fn stat(&self, path: &Path) -> std::io::Result<Option<kvs::yaml::disk::Stat>> {
        RealDisk.stat(path)
    }
    fn resolve(&self, path: &Path) -> std::io::Result<Option<std::path::PathBuf>> {
        RealDisk.resolve(path)
    }
    fn may_write(&self, folder: &Path) -> std::io::Result<()> {
        RealDisk.may_write(folder)
    }
    fn reserve(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.reserve(path)
    }
    fn release(&self, path: &Path) -> std::io::Result<bool> {
        RealDisk.release(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }
    fn make_folder(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.make_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.sync_folder(path)
    }
    fn list(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        RealDisk.list(folder)
    }
}
