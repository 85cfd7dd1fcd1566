//! Calls of the system that fail, as they do on a failing disk.

use super::table::{Expected, Fault, NONE, calls};

/// Calls that fail: EIO is 5, EACCES 13, ENOSPC 28.
pub(super) const CALLS: [Fault; 9] = [
    Fault {
        name: "a sync of the data file",
        begin: |machine| calls(machine, "sync 5 /default.yaml\n"),
        puts: Expected::Fails,
        large: Expected::Fails,
        // A read shows nothing that may not be durable.
        reads: Expected::Any,
        status: (500, &["default.yaml", "Input/output error"]),
        ready: 0,
        log: &["default.yaml", "Input/output error"],
        ..NONE
    },
    Fault {
        name: "a write of the data file",
        begin: |machine| calls(machine, "write 5 /default.yaml\n"),
        puts: Expected::Fails,
        large: Expected::Fails,
        status: (500, &["default.yaml", "Input/output error"]),
        log: &["default.yaml", "Input/output error"],
        ..NONE
    },
    Fault {
        name: "no room for the data file",
        begin: |machine| calls(machine, "write 28 /default.yaml\n"),
        puts: Expected::Refused(507),
        large: Expected::Refused(507),
        status: (507, &["default.yaml"]),
        log: &["default.yaml", "No space left"],
        ..NONE
    },
    Fault {
        name: "a sync of a log",
        begin: |machine| calls(machine, "sync 5 /default.logs/\n"),
        appends: Expected::Fails,
        status: (500, &["events.log", "Input/output error"]),
        log: &["events.log", "Input/output error"],
        ..NONE
    },
    Fault {
        name: "no room for a log",
        begin: |machine| calls(machine, "write 28 /default.logs/\n"),
        appends: Expected::Refused(507),
        status: (507, &["events.log"]),
        log: &["events.log", "No space left"],
        ..NONE
    },
    Fault {
        name: "a log that cannot be opened",
        begin: |machine| calls(machine, "open 5 /events.log\n"),
        appends: Expected::Fails,
        status: (500, &["events.log", "Input/output error"]),
        log: &["events.log", "Input/output error"],
        ..NONE
    },
    Fault {
        name: "a sync of large values",
        begin: |machine| calls(machine, "sync 5 /blobs/\n"),
        large: Expected::Fails,
        status: (500, &["cannot sync", "Input/output error"]),
        log: &["/blobs/", "Input/output error"],
        ..NONE
    },
    Fault {
        name: "a rename of large values",
        begin: |machine| calls(machine, "rename 5 /blobs/\n"),
        large: Expected::Fails,
        status: (500, &["cannot rename", "Input/output error"]),
        log: &["/blobs/", "Input/output error"],
        ..NONE
    },
    Fault {
        // It is only an aid: without a record the next reader reads the whole file.
        name: "a write of the lock file",
        begin: |machine| calls(machine, "write 5 /default.lock\n"),
        ..NONE
    },
];
