//! A person appends to the data file with a shell, at the worst moment of a write. These tests use a real file system,
//! because the system orders the appends of two writers.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use kvs::model::{Bucket, Revision};
use kvs::store::{Store as _, Task};
use kvs::yaml::{FileSystem as _, RealFileSystem, YamlOptions, YamlStore};

use crate::support::disks::{Call, Meddling, MeddlingFs, Which};
use crate::yaml::fixtures::{commit, options, pair, put, upkeep, values};

/// Like `echo 'hand: edited' >> default.yaml`.
fn echo(folder: &Path) {
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.join("default.yaml")).unwrap();
    file.write_all(b"hand: edited\n").unwrap();
}

/// Like an editor that writes in place.
fn save(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn open(folder: &Path, disk: impl kvs::yaml::FileSystem) -> YamlStore {
    YamlStore::open(folder, options(disk)).unwrap()
}

#[test]
fn addition_by_a_person_during_an_append_is_kept() {
    for call in [Call::Write, Call::Sync, Call::FileStat] {
        for write in ["x", "longer than what the person adds, so that it would not be seen below it"] {
            let folder = tempfile::tempdir().unwrap();
            let disk = MeddlingFs::new(RealFileSystem, Meddling::default());
            let store = open(folder.path(), disk.clone());
            commit(&store, pair(0, "first"));
            commit(&open(folder.path(), RealFileSystem), pair(1, "of another"));
            commit(&store, pair(0, "second"));
            let path = folder.path().to_owned();
            disk.probe.next(Which(call, ".yaml"), move || echo(&path));
            commit(&store, pair(2, write));
            let case = format!("{call:?}, {write}");
            for store in [&store, &open(folder.path(), RealFileSystem)] {
                assert_eq!(values(store)["hand"], "edited", "{case}");
                assert_eq!(values(store)["b2"], write, "{case}");
            }
            commit(&store, pair(3, "later"));
            let found = values(&open(folder.path(), RealFileSystem));
            assert_eq!(found, values(&store), "{case}");
            assert_eq!((found["hand"].as_str(), found["b2"].as_str(), found.len()), ("edited", write, 9), "{case}");
        }
    }
}

#[test]
fn addition_by_a_person_during_a_rewrite_is_kept() {
    // While the new file is synced, while it is announced, and between the rename and the check of its result.
    let moments = [Which(Call::Sync, "new file"), Which(Call::Sync, ".lock"), Which(Call::SyncFolder, "")];
    for Which(call, ending) in moments {
        // What kvs edit puts in place is not announced.
        for compacts in if ending == ".lock" { &[true][..] } else { &[true, false] } {
            let folder = tempfile::tempdir().unwrap();
            let disk = MeddlingFs::new(RealFileSystem, Meddling::default());
            let store = open(folder.path(), disk.clone());
            commit(&store, pair(0, "first"));
            let ending = match (ending, compacts) {
                ("new file", true) => ".compact",
                ("new file", false) => ".new",
                _ => ending,
            };
            let draft = store.begin_edit(&Bucket::default()).unwrap();
            let path = folder.path().to_owned();
            disk.probe.next(Which(call, ending), move || echo(&path));
            let done = if *compacts { upkeep(&store, Task::Compact).map(drop) } else { comment(&store, &draft) };
            let case = format!("{call:?} {ending}, compacts: {compacts}: {done:?}");
            assert_eq!(values(&store)["hand"], "edited", "{case}");
            write(&store).unwrap();
            assert_eq!(values(&store).len(), 4, "{case}");
            assert_eq!(values(&open(folder.path(), RealFileSystem)), values(&store), "{case}");
        }
    }
}

/// Like `kvs edit` by a person who adds a comment: it rewrites the file.
fn comment(store: &YamlStore, draft: &kvs::yaml::EditSession) -> kvs::model::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.save_edit(&Bucket::default(), draft, &format!("{}# mine\n", draft.text))).map(drop)
}

fn write(store: &YamlStore) -> kvs::model::Result<()> {
    crate::yaml::fixtures::apply(store, vec![put("new", "x")]).map(drop)
}

#[test]
fn rights_that_a_person_sets_during_a_compaction_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    for (call, ending) in [(Call::Sync, ".compact"), (Call::Sync, ".lock")] {
        let folder = tempfile::tempdir().unwrap();
        let disk = MeddlingFs::new(RealFileSystem, Meddling::default());
        let store = open(folder.path(), disk.clone());
        commit(&store, pair(0, "first"));
        let path = folder.path().join("default.yaml");
        let file = path.clone();
        let private = std::fs::Permissions::from_mode(0o600);
        let set = private.clone();
        disk.probe.next(Which(call, ending), move || std::fs::set_permissions(&file, set).unwrap());
        let done = upkeep(&store, Task::Compact);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, private.mode(), "{call:?} {ending}: {done:?}");
        upkeep(&store, Task::Compact).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, private.mode());
    }
}

#[test]
fn file_that_is_removed_and_restored_is_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), RealFileSystem);
    commit(&store, pair(0, "first"));
    let (path, aside) = (folder.path().join("default.yaml"), folder.path().join("aside"));
    let first = revision(&store);
    for (from, to) in [(&path, &aside), (&aside, &path), (&path, &aside), (&aside, &path)] {
        RealFileSystem.rename(from, to).unwrap();
        assert_eq!((revision(&store), values(&store).len()), (first, 2));
    }
    commit(&store, pair(0, "second"));
    assert_eq!(values(&open(folder.path(), RealFileSystem))["a0"], "second");
}

fn revision(store: &YamlStore) -> Revision {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.get(&Bucket::default(), &[])).unwrap().revision
}

#[test]
fn read_only_data_file_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.yaml");
    save(&path, "");
    let disk = Arc::new(Guarded);
    let store = YamlStore::open(folder.path(), YamlOptions { file_system: disk, ..options(RealFileSystem) }).unwrap();
    commit(&open(folder.path(), RealFileSystem), pair(0, "first"));
    let before = std::fs::read(&path).unwrap();
    for _ in 0..3 {
        let error = write(&store).unwrap_err().to_string();
        assert!(error.contains("cannot write to") && error.contains("denied"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(values(&store)["a0"], "first");
}

/// A file system whose data file is read-only, for root too.
struct Guarded;

impl kvs::yaml::FileSystem for Guarded {
    fn open(&self, path: &Path, how: kvs::yaml::fs::OpenMode) -> std::io::Result<Box<dyn kvs::yaml::fs::File>> {
        if how == kvs::yaml::fs::OpenMode::Append && path.ends_with("default.yaml") {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        RealFileSystem.open(path, how)
    }
    fn stat(&self, path: &Path) -> std::io::Result<Option<kvs::yaml::fs::Stat>> {
        RealFileSystem.stat(path)
    }
    fn resolve(&self, path: &Path) -> std::io::Result<Option<std::path::PathBuf>> {
        RealFileSystem.resolve(path)
    }
    fn may_write(&self, folder: &Path) -> std::io::Result<()> {
        RealFileSystem.may_write(folder)
    }
    fn reserve(&self, path: &Path) -> std::io::Result<()> {
        RealFileSystem.reserve(path)
    }
    fn release(&self, path: &Path) -> std::io::Result<bool> {
        RealFileSystem.release(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealFileSystem.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealFileSystem.remove(path)
    }
    fn make_folder(&self, path: &Path) -> std::io::Result<()> {
        RealFileSystem.make_folder(path)
    }

    fn make_subfolder(&self, path: &Path) -> std::io::Result<()> {
        RealFileSystem.make_subfolder(path)
    }
    fn sync_folder(&self, path: &Path) -> std::io::Result<()> {
        RealFileSystem.sync_folder(path)
    }
    fn list(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        RealFileSystem.list(folder)
    }
}

/// A compaction may end between the listing of unfinished files and the look at each.
#[test]
fn leftover_that_its_owner_finishes_meanwhile_is_not_an_error() {
    for call in [Call::Open, Call::Remove] {
        let folder = tempfile::tempdir().unwrap();
        let disk = MeddlingFs::new(RealFileSystem, Meddling::default());
        let store = open(folder.path(), disk.clone());
        commit(&store, pair(0, "first"));
        let (own, other) = (folder.path().join("default.yaml.compact"), folder.path().join("default.yaml.new"));
        save(&own, "");
        save(&other, "");
        disk.probe.next(Which(call, ".compact"), move || std::fs::remove_file(&own).unwrap());
        assert_eq!(upkeep(&store, Task::RemoveLeftovers).unwrap().removed, 1, "{call:?}");
        assert!(!other.exists(), "{call:?}");
    }
}
