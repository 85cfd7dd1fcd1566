//! Locks that others hold, limits of the process, and wrong clocks.

use std::fs;

use fs2::FileExt as _;

use super::table::{Expected, Fault, NONE, NOT_CHECKED, calls};

/// Others that hold what the server needs, and limits of the process.
pub(super) const OTHERS: [Fault; 6] = [
    Fault {
        name: "a lock that another program holds",
        begin: |machine| {
            let lock = fs::File::options().write(true).open(machine.data().join("default.lock")).unwrap();
            lock.lock_exclusive().unwrap();
            Box::new(move |_| fs2::FileExt::unlock(&lock).unwrap())
        },
        puts: Expected::Refused(503),
        large: Expected::Refused(503),
        status: (500, &["default.yaml: others have held its lock", "lslocks"]),
        log: &["default", "lock"],
        ..NONE
    },
    Fault {
        name: "a log that another program holds",
        begin: |machine| {
            let path = machine.data().join("default.logs/events.log");
            let lock = fs::File::options().append(true).open(path).unwrap();
            lock.lock_exclusive().unwrap();
            Box::new(move |_| fs2::FileExt::unlock(&lock).unwrap())
        },
        appends: Expected::Refused(503),
        log: &["events", "locked by others"],
        ..NONE
    },
    Fault {
        name: "no free descriptor",
        begin: |machine| {
            machine.limit("nofile", Some(4));
            Box::new(|machine| machine.limit("nofile", None))
        },
        puts: Expected::Any,
        appends: Expected::Fails,
        large: Expected::Fails,
        reads: Expected::Any,
        // A connection that is closed is not replaced.
        requests: 1,
        status: (500, &["see the log of the server"]),
        ready: 503,
        log: &["Too many open files"],
        ..NONE
    },
    Fault {
        // What needs a thread ends with 500, also `/status`; nothing waits for ever.
        name: "no more threads",
        begin: |machine| {
            machine.limit("nproc", Some(1));
            Box::new(|machine| machine.limit("nproc", None))
        },
        puts: Expected::Any,
        appends: Expected::Any,
        large: Expected::Any,
        reads: Expected::Any,
        status: NOT_CHECKED,
        ..NONE
    },
    Fault { name: "a clock an hour behind", begin: |machine| calls(machine, "clock 0 -3600\n"), ..NONE },
    Fault { name: "a clock an hour ahead", begin: |machine| calls(machine, "clock 0 3600\n"), ..NONE },
];
