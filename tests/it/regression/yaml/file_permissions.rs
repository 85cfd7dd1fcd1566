//! Permissions of the files, and the errors if the system denies access.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use kvs::model::{Batch, ErrorKind, Write};
use kvs::store::{Store, Task};
use kvs::yaml::{RealFileSystem, WaiterLock, YamlStore};
use parking_lot::Mutex;

use crate::support::disks::{Call, Failing, FailingFs, Fault, Probe, Probed, Which};
use crate::yaml::fixtures::{all, apply, bucket, commit, options, pair, run, upkeep, values};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Checks the mode of every file just before a write to it.
#[derive(Default)]
struct Modes(Mutex<Vec<(String, u32)>>);

impl Probe for Modes {
    fn before(&self, call: Call, path: &Path, _: usize) -> io::Result<()> {
        if call == Call::Write && path.exists() {
            self.0.lock().push((path.file_name().unwrap().to_string_lossy().into_owned(), mode(path)));
        }
        Ok(())
    }
}

#[test]
fn files_next_to_a_private_file_are_private_from_the_start() {
    for (folder_mode, file_mode) in [(0o755, 0o600), (0o700, 0o640), (0o2775, 0o660)] {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), folder_mode);
        let disk = Probed::new(RealFileSystem, Modes::default());
        let store = YamlStore::open(folder.path(), options(disk.clone())).unwrap();
        commit(&store, pair(0, "x"));
        let data = folder.path().join("default.yaml");
        set_mode(&data, file_mode);
        disk.probe.0.lock().clear();
        // After an edit the file is rewritten; a torn tail is set aside; then the file is compacted.
        let draft = store.begin_edit(&bucket()).unwrap();
        run(store.save_edit(&bucket(), &draft, &format!("{}# mine\n", draft.text))).unwrap();
        commit(&store, pair(1, "x"));
        let text = std::fs::read_to_string(&data).unwrap() + "---\na0: {value: torn, upd";
        std::io::Write::write_all(&mut std::fs::File::create(&data).unwrap(), text.as_bytes()).unwrap();
        commit(&store, pair(1, "y"));
        upkeep(&store, Task::Compact).unwrap();
        let seen = std::mem::take(&mut *disk.probe.0.lock());
        for part in [".yaml.new", ".yaml.torn-", ".yaml.compact"] {
            assert!(seen.iter().any(|(name, _)| name.contains(part)), "{part}: {seen:?}");
        }
        let bad: Vec<_> = seen.iter().filter(|(name, mode)| !name.contains(".lock") && *mode != file_mode).collect();
        assert!(bad.is_empty(), "{folder_mode:o}: {bad:?}");
        assert_eq!(mode(&data), file_mode);
    }
}

#[test]
fn new_folder_is_private_and_files_follow_their_folder() {
    let place = tempfile::tempdir().unwrap();
    let cases =
        [(None, 0o700, 0o600), (Some(0o755), 0o755, 0o644), (Some(0o750), 0o750, 0o640), (Some(0o2770), 0o2770, 0o660)];
    for (n, (made, folder_mode, file_mode)) in cases.into_iter().enumerate() {
        let folder = place.path().join(format!("data{n}"));
        if let Some(mode) = made {
            std::fs::create_dir(&folder).unwrap();
            set_mode(&folder, mode);
        }
        let store = YamlStore::open(&folder, options(RealFileSystem)).unwrap();
        commit(&store, pair(0, "x"));
        let _pass = WaiterLock::new(&folder).try_lock(&bucket()).unwrap();
        assert_eq!(mode(&folder), folder_mode);
        for name in ["default.yaml", "default.lock", "default.wait"] {
            assert_eq!(mode(&folder.join(name)), file_mode, "{name} in a folder of mode {folder_mode:o}");
        }
    }
}

#[test]
fn files_get_the_group_of_their_folder() {
    // Any group of this process works; root may use one that it is not in.
    let own = rustix::process::getegid().as_raw();
    let groups = rustix::process::getgroups().unwrap();
    let other = groups.iter().map(|group| group.as_raw()).find(|group| *group != own);
    let group = if rustix::process::geteuid().is_root() { 12_345 } else { other.unwrap_or(own) };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), None, Some(group)).unwrap();
    set_mode(folder.path(), 0o770);
    let store = YamlStore::open(folder.path(), options(RealFileSystem)).unwrap();
    commit(&store, pair(0, "x"));
    upkeep(&store, Task::Compact).unwrap();
    for name in ["default.yaml", "default.lock"] {
        let meta = std::fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o777), (group, 0o660), "{name}");
    }
}

#[test]
fn permission_errors_are_reported_and_nothing_is_stored() {
    let denied = [(io::ErrorKind::PermissionDenied, "give "), (io::ErrorKind::ReadOnlyFilesystem, "can be written")];
    for (kind, says) in denied {
        for (call, ending) in
            [(Call::MakeFolder, ""), (Call::Open, ".lock"), (Call::Open, ".yaml"), (Call::Write, ".yaml")]
        {
            let folder = tempfile::tempdir().unwrap();
            let disk = FailingFs::new(RealFileSystem, Failing::default());
            let store = YamlStore::open(folder.path(), options(disk.clone())).unwrap();
            commit(&YamlStore::open(folder.path(), options(RealFileSystem)).unwrap(), pair(0, "old"));
            // A file that cannot be opened for writing can still be read: the second open succeeds.
            let times = if ending == ".yaml" && call == Call::Open { 1 } else { usize::MAX };
            disk.probe.fail((0..3).map(|_| Fault { which: Which(call, ending), after: 0, times, kind, part: 0 }));
            let before = std::fs::read(folder.path().join("default.yaml")).unwrap();
            let error = apply(&store, pair(0, "new")).unwrap_err();
            let case = format!("{kind:?}, {call:?} {ending}: {error}");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{case}");
            assert!(!error.is_outcome_unknown() && error.to_string().contains(says), "{case}");
            assert_eq!(std::fs::read(folder.path().join("default.yaml")).unwrap(), before, "{case}");
            disk.probe.fail([]);
            commit(&store, pair(0, "new"));
            assert_eq!(values(&store)["a0"], "new", "{case}");
        }
    }
}

#[test]
fn file_mounted_by_itself_is_not_a_failed_write() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FailingFs::new(RealFileSystem, Failing::default());
    let store = YamlStore::open(folder.path(), options(disk.clone())).unwrap();
    commit(&store, pair(0, "old"));
    let busy = Fault {
        which: Which(Call::Rename, ""),
        after: 0,
        times: usize::MAX,
        kind: io::ErrorKind::ResourceBusy,
        part: 0,
    };
    disk.probe.fail([busy]);
    let error = upkeep(&store, Task::Compact).unwrap_err();
    assert!(error.kind() == ErrorKind::PermissionDenied && error.to_string().contains("mount its folder"), "{error}");
    // Writes continue, and a check reports what to repair.
    commit(&store, pair(0, "new"));
    assert_eq!(run(store.apply(&bucket(), Batch::default())).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(!folder.path().join("default.yaml.compact").exists());
}

/// The task of another process, of a user without rights; not set in the tests themselves.
const FOLDER: &str = "KVS_TEST_FOLDER_OF_ANOTHER";

#[test]
fn user_without_rights_reads_and_the_error_names_the_owner() {
    if let Ok(folder) = std::env::var(FOLDER) {
        let store = YamlStore::open(folder, kvs::yaml::YamlOptions::default()).unwrap();
        assert_eq!(all(&store).unwrap().1["a0"].value, "x");
        for batch in [
            Batch::default(),
            Batch::new(pair(0, "new")),
            Batch::new(vec![Write::Delete { key: crate::yaml::fixtures::key("a0") }]),
        ] {
            let error = run(store.apply(&bucket(), batch)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let user = format!("kvs runs as user {};", rustix::process::geteuid().as_raw());
            assert!(error.to_string().contains(&user), "{error}");
        }
        assert_eq!(upkeep(&store, Task::Status).unwrap_err().kind(), ErrorKind::PermissionDenied);
        // Also if there is no file yet.
        let other = kvs::model::Bucket::new("other").unwrap();
        for batch in [Batch::default(), Batch::new(pair(0, "new"))] {
            assert_eq!(run(store.apply(&other, batch)).unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    commit(&YamlStore::open(folder.path(), options(RealFileSystem)).unwrap(), pair(0, "x"));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        set_mode(&entry.unwrap().path(), 0o444);
    }
    set_mode(folder.path(), 0o555);
    // Root may do everything, so the process becomes another user; the program must be where that user can run it.
    let reachable = tempfile::tempdir().unwrap();
    set_mode(reachable.path(), 0o755);
    let program = reachable.path().join("it");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    command.args([
        "--exact",
        "regression::yaml::file_permissions::user_without_rights_reads_and_the_error_names_the_owner",
    ]);
    let output = command.env(FOLDER, folder.path()).output().unwrap();
    set_mode(folder.path(), 0o755);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
