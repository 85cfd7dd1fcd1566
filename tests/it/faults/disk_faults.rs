//! Faults of the disk as a whole.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::machine::Disk;
use super::table::{Expected, Fault, NONE, calls};

/// Faults of the disk as a whole.
pub(super) const DISK: [Fault; 3] = [
    Fault {
        name: "a full disk",
        disk: Disk::Own,
        begin: |machine| {
            let (filler, stop) = (machine.data().join("filler"), Arc::new(AtomicBool::new(false)));
            let filling = std::thread::spawn({
                let (filler, stop) = (filler.clone(), Arc::clone(&stop));
                move || fill(&filler, &stop)
            });
            Box::new(move |_| {
                stop.store(true, Ordering::Relaxed);
                filling.join().unwrap();
                fs::remove_file(filler).unwrap();
            })
        },
        // A compaction, or a large value that is replaced, frees some room for others.
        puts: Expected::IfThereIsRoom,
        appends: Expected::IfThereIsRoom,
        large: Expected::IfThereIsRoom,
        status: (507, &["the disk is full: ", "free some space"]),
        log: &["default.yaml", "No space left"],
        ..NONE
    },
    Fault {
        name: "a limit of the length of files",
        begin: |machine| {
            machine.limit("fsize", Some(1));
            Box::new(|machine| machine.limit("fsize", None))
        },
        puts: Expected::Refused(507),
        appends: Expected::Refused(507),
        large: Expected::Refused(507),
        // Which of the files is named first depends on the order of the writes.
        status: (507, &["the disk is full: ", "File too large", "raise its limit of the length of files"]),
        // The log is a file too.
        log: &[],
        ..NONE
    },
    Fault {
        name: "a file system that has become read-only",
        disk: Disk::Own,
        begin: |machine| {
            let data = machine.served.folder().join("data").display().to_string();
            let aside = machine.served.folder().join("read-only").display().to_string();
            fs::create_dir(&aside).unwrap();
            machine.inside(&["mount", "--bind", &data, &aside]);
            machine.inside(&["mount", "-o", "remount,bind,ro", &aside]);
            // No file can be opened for writing there in between.
            machine.inside(&["mount", "--no-mtab", "--move", &aside, &data]);
            // Files that are open do not notice the mount.
            machine.fail("write 30 /data/\ntruncate 30 /data/\n");
            Box::new(move |machine| {
                // The server may have opened files there.
                machine.inside(&["umount", "-l", &data]);
                machine.mend();
            })
        },
        puts: Expected::Fails,
        appends: Expected::Refused(500),
        large: Expected::Refused(500),
        status: (500, &["mount its file system so that it can be written", "the folder data"]),
        ready: 503,
        log: &["default.yaml", "mount its file system", "Read-only file system"],
        ..NONE
    },
];

/// The same for the calls only, where nothing can be mounted.
pub(super) const DISK_CALLS: [Fault; 2] = [
    Fault {
        name: "a full disk, for calls",
        disk: Disk::Shared,
        begin: |machine| calls(machine, "write 28 /data/\ncreate 28 /data/\n"),
        puts: Expected::Refused(507),
        appends: Expected::Refused(507),
        large: Expected::Refused(507),
        ..DISK[0]
    },
    Fault {
        name: "a file system that has become read-only, for calls",
        disk: Disk::Shared,
        // A sync succeeds there. If it failed right after a write that had just succeeded, nobody could read.
        begin: |machine| {
            let changes = ["write", "truncate", "create", "modify", "rename", "remove"];
            calls(machine, &changes.map(|call| format!("{call} 30 /data/\n")).concat())
        },
        status: (500, &["default.yaml", "mount its file system so that it can be written"]),
        // The check asks the system for its rights to the folder, without these calls.
        ready: 0,
        ..DISK[2]
    },
];

/// Fills the file system to the last byte, again and again.
fn fill(path: &Path, stop: &AtomicBool) {
    let mut file = fs::File::create(path).unwrap();
    while !stop.load(Ordering::Relaxed) {
        for length in [64 << 10, 4096, 1] {
            while file.write_all(&vec![b'x'; length]).is_ok() {}
        }
        sleep(Duration::from_millis(1));
    }
}
