//! Data that the user of the web server may read but not write, as after a copy by root: reads work, writes fail with
//! the reason in the log, and when the permissions are restored writes work again without a restart.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::script::form;
use crate::servers::{Server, Way};
use crate::site::{am_root, give_to_server};

const NAMES: [&str; 3] = ["", "default.yaml", "default.lock"];

fn deny_writes(data: &Path) {
    for name in NAMES {
        if am_root() {
            chown(data.join(name), Some(0), Some(0)).unwrap();
        }
        set_permissions(data.join(name), Permissions::from_mode(if name.is_empty() { 0o555 } else { 0o444 })).unwrap();
    }
}

fn allow_writes(data: &Path) {
    for name in NAMES {
        set_permissions(data.join(name), Permissions::from_mode(if name.is_empty() { 0o755 } else { 0o644 })).unwrap();
        give_to_server(&data.join(name));
    }
}

#[test]
fn writes_work_again_once_the_permissions_are_restored() {
    let server = Server::start(Way::ModFcgid);
    assert_eq!(server.send(&form("a=1")).status, 200);
    let data = server.site.root().join("data");
    deny_writes(&data);
    // The next process has never been able to write.
    for (id, _) in server.site.programs() {
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
    let read = || server.send(b"GET /?k=a HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n");
    while read().status != 200 {}
    for _ in 0..2 {
        let answer = server.send(&form("a=2"));
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert_eq!(read().body, b"1");
    }
    let logs = server.site.logs();
    assert!(logs.contains("Permission denied") && !logs.contains("Bad file descriptor"), "{logs}");
    allow_writes(&data);
    for n in 3..6 {
        assert_eq!(server.send(&form(&format!("a={n}"))).status, 200, "{}", server.site.logs());
        assert_eq!(read().text(), n.to_string());
    }
}
