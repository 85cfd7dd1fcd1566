//! The same host from a laptop: its data is edited, imported, backed up and restored over HTTP. The host allows requests
//! of 128 KiB, which is the default of `mod_fcgid`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::curl;
use crate::servers::{Server, Way};
use crate::site::Site;

/// A laptop with the program and the secret.
struct Laptop {
    folder: TempDir,
    address: String,
    secret: String,
}

impl Laptop {
    /// Runs a command on the store of the host. Returns what it prints, the messages first.
    fn kvs(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.folder.path()).args(arguments);
        command.env("KVS_STORE", &self.address).env("KVS_SECRET", &self.secret).env("EDITOR", "./editor");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }
}

#[test]
fn a_host_without_a_shell_is_worked_on_from_a_laptop() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let (site, secret) = Site::of_init();
        if way == Way::ModCgid {
            fs::rename(site.root().join("kvs.fcgi"), site.root().join("kvs.cgi")).unwrap();
        }
        let server = Server::start_as_shared_host(site, way);
        let address = format!("http://127.0.0.1:{}/", server.port);
        let laptop = Laptop { folder: tempfile::tempdir().unwrap(), address, secret };
        let editor = laptop.folder.path().join("editor");
        fs::write(&editor, "#!/bin/sh\nsed -i 's/^door:.*/door: shut/' \"$1\"\n").unwrap();
        fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();

        curl(&server, "/", &["--data", &format!("door=open&auth={}", laptop.secret)]);
        assert!(laptop.kvs(&["edit"]).contains("1 written"), "{way:?}");
        assert_eq!(curl(&server, "/?k=door", &[]).0, "shut", "{way:?}");
        // More than one request may have, and it takes several.
        let lines: String = (0..500).map(|n| format!("key/{n}: {}\n", "v".repeat(400))).collect();
        fs::write(laptop.folder.path().join("many.yaml"), lines).unwrap();
        assert!(laptop.kvs(&["import", "many.yaml"]).contains("500 keys stored"), "{way:?}");
        laptop.kvs(&["append", "kitchen/temp", "21.5"]);
        let copied = laptop.kvs(&["copy", &laptop.address, "yaml:backup"]);
        assert!(copied.contains("502 copied") && copied.contains("both stores are equal"), "{way:?}: {copied}");

        // Something goes wrong on the host, and the backup repairs it.
        for arguments in [&["set", "door", "broken"][..], &["delete", "key/7"]] {
            laptop.kvs(arguments);
        }
        laptop.kvs(&["copy", "--replace", "yaml:backup", &laptop.address]);
        assert_eq!(curl(&server, "/?k=door", &[]).0, "shut", "{way:?}");
        assert_eq!(curl(&server, "/?k=key/7", &[]).0.len(), 400, "{way:?}");
        assert!(laptop.kvs(&["check"]).contains("default"), "{way:?}");
        assert!(!server.site.logs().contains(&laptop.secret), "{way:?}");
    }
}
