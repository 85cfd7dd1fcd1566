//! Files that are removed, replaced, changed or made inaccessible while the server runs.

use std::fs;
use std::path::PathBuf;

use fs2::FileExt as _;

use super::machine::{Machine, rename, save, set_mode};
use super::table::{Expected, Fault, NONE, Undo};

/// Changes the mode of a file until the end of the fault.
fn mode(machine: &Machine, file: &str, mode: u32) -> Undo {
    use std::os::unix::fs::PermissionsExt as _;
    let path = machine.data().join(file);
    let before = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    set_mode(&path, mode);
    Box::new(move |_| set_mode(&path, before))
}

/// Renames a file, and renames it back at the end of the fault.
fn away(path: PathBuf) -> Undo {
    let aside = path.with_extension("aside");
    rename(&path, &aside);
    Box::new(move |_| rename(&aside, &path))
}

/// Does something while no other process changes the bucket.
fn quietly<T>(machine: &Machine, what: impl FnOnce() -> T) -> T {
    let lock = fs::File::options().write(true).open(machine.data().join("default.lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let done = what();
    fs2::FileExt::unlock(&lock).unwrap();
    done
}

/// Files that are removed, replaced, changed or made inaccessible.
pub(super) const FILES: [Fault; 14] = [
    Fault {
        name: "a removed data file",
        // A program that is just replacing the file would put it back.
        begin: |machine| quietly(machine, || away(machine.data().join("default.yaml"))),
        puts: Expected::Refused(500),
        large: Expected::Refused(500),
        status: (500, &["default.yaml", "is missing"]),
        log: &["default.yaml", "is missing"],
        ..NONE
    },
    Fault {
        name: "a truncated data file",
        begin: |machine| {
            let path = machine.data().join("default.yaml");
            let whole = quietly(machine, || {
                let whole = fs::read(&path).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_len(whole.len() as u64 - 3).unwrap();
                whole
            });
            Box::new(move |_| save(&path, whole))
        },
        puts: Expected::Refused(500),
        large: Expected::Refused(500),
        status: (500, &["default.yaml"]),
        log: &["default.yaml"],
        ..NONE
    },
    Fault {
        name: "a replaced data file",
        begin: |machine| {
            let path = machine.data().join("default.yaml");
            quietly(machine, || {
                let new = machine.data().join("edited");
                save(&new, fs::read(&path).unwrap());
                give_like(&path, &new);
                rename(&new, &path);
            });
            Box::new(|_| {})
        },
        ..NONE
    },
    Fault {
        name: "a data file that may not be read",
        begin: |machine| mode(machine, "default.yaml", 0),
        puts: Expected::Any,
        large: Expected::Any,
        reads: Expected::Any,
        status: (500, &["default.yaml", "give the folder and the files in it to that user"]),
        ..NONE
    },
    Fault {
        name: "a data file that may not be written",
        begin: |machine| mode(machine, "default.yaml", 0o444),
        puts: Expected::Any,
        large: Expected::Any,
        status: (500, &["default.yaml", "give the folder and the files in it to that user"]),
        ..NONE
    },
    Fault {
        name: "a removed lock file",
        begin: |machine| {
            fs::remove_file(machine.data().join("default.lock")).unwrap();
            Box::new(|_| {})
        },
        ..NONE
    },
    Fault {
        name: "a lock file that may not be written",
        begin: |machine| mode(machine, "default.lock", 0o444),
        puts: Expected::Any,
        large: Expected::Any,
        status: (500, &["default.lock", "give the folder and the files in it to that user"]),
        ..NONE
    },
    Fault {
        name: "a removed copy",
        begin: |machine| {
            fs::remove_file(machine.data().join("default.yaml.last")).unwrap();
            Box::new(|_| {})
        },
        ..NONE
    },
    Fault {
        name: "a damaged log",
        begin: |machine| {
            let path = machine.data().join("default.logs/events.log");
            let lock = fs::File::options().append(true).open(&path).unwrap();
            lock.lock_exclusive().unwrap();
            let length = lock.metadata().unwrap().len();
            std::io::Write::write_all(&mut &lock, b"not an entry\n").unwrap();
            fs2::FileExt::unlock(&lock).unwrap();
            Box::new(move |_| fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap())
        },
        appends: Expected::Refused(500),
        status: (500, &["events.log: line ", "is no entry"]),
        log: &["events.log: line ", "is no entry"],
        ..NONE
    },
    Fault {
        name: "a log that may not be written",
        begin: |machine| mode(machine, "default.logs/events.log", 0),
        appends: Expected::Refused(500),
        status: (500, &["events.log", "give the folder and the files in it to that user"]),
        log: &["events.log", "Permission denied"],
        ..NONE
    },
    Fault {
        name: "a folder of logs that may not be entered",
        begin: |machine| mode(machine, "default.logs", 0),
        appends: Expected::Refused(500),
        status: (500, &["default.logs", "give the folder and the files in it to that user"]),
        log: &["events.log", "Permission denied"],
        ..NONE
    },
    Fault {
        name: "a removed large value",
        begin: |machine| away(kept(machine)),
        status: (500, &["this blob is missing", "restore it from a backup"]),
        ..NONE
    },
    Fault {
        name: "a large value that may not be read",
        begin: |machine| {
            let path = kept(machine);
            set_mode(&path, 0);
            Box::new(move |_| set_mode(&path, 0o600))
        },
        status: (500, &["cannot read ", "give the folder and the files in it to that user"]),
        ..NONE
    },
    Fault {
        name: "a removed folder",
        begin: |machine| quietly(machine, || away(machine.data())),
        puts: Expected::Refused(500),
        appends: Expected::Refused(500),
        large: Expected::Refused(500),
        status: (500, &["the folder data is missing", "is its disk mounted?"]),
        ready: 503,
        log: &["default.yaml", "is missing"],
        ..NONE
    },
];

/// The file of the large value that no client replaces.
fn kept(machine: &Machine) -> PathBuf {
    let value = super::clients::large(1);
    machine.blobs().into_iter().find(|path| fs::read(path).is_ok_and(|bytes| bytes == value)).unwrap()
}

/// Gives a file to the owner of another one, with its mode.
fn give_like(like: &std::path::Path, path: &std::path::Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let meta = fs::metadata(like).unwrap();
    chown(path, Some(meta.uid()), Some(meta.gid())).unwrap();
    set_mode(path, meta.mode() & 0o7777);
}
