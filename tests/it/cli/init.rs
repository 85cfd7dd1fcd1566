//! `kvs init`: the folder that it makes, and what it leaves alone.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Place;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_folder_is_complete_and_only_the_owner_reads_the_secrets() {
    let place = Place::new();
    // No setting matters.
    place.file("config.yaml", "no such setting: 1\n");
    let kvs = env!("CARGO_BIN_EXE_kvs");
    for umask in ["000", "022", "077"] {
        let dir = format!("site {umask}/kvs");
        let mut command = Command::new("sh");
        command.args(["-c", "umask $0; exec \"$1\" init \"$2\"", umask, kvs, &dir]).current_dir(place.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let secret = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        let (dir, notes) = (place.path(&dir), String::from_utf8(output.stderr).unwrap());
        assert!(secret.len() == 32 && !notes.contains(&secret) && notes.contains("not shown again"), "{notes}");
        let modes =
            [("kvs.fcgi", 0o755), (".htaccess", 0o644), ("README.txt", 0o644), ("auth.txt", 0o600), ("data", 0o700)];
        assert_eq!(format!("{:o}", mode(&dir)), "755", "umask {umask}");
        for (name, expected) in modes {
            assert_eq!(format!("{:o}", mode(&dir.join(name))), format!("{expected:o}"), "{name}, umask {umask}");
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), modes.len());
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read("kvs.fcgi"), std::fs::read(kvs).unwrap());
        assert_eq!(read(".htaccess"), include_bytes!("../../../.htaccess"));
        let auth = String::from_utf8(read("auth.txt")).unwrap();
        assert!(auth.contains("sha256:") && !auth.contains(&secret), "{auth}");
        let readme = String::from_utf8(read("README.txt")).unwrap();
        assert!(readme.contains("curl -d") && readme.lines().all(|line| line.len() <= 120), "{readme}");
        assert_eq!(readme.lines().count(), 10);
    }
}

#[test]
fn existing_files_are_not_replaced() {
    let place = Place::new();
    place.run(&["init", "kvs"]).ok();
    let auth = place.read("kvs/auth.txt");
    let refused = place.run(&["init", "kvs"]).fails(1, "kvs/.htaccess exists; nothing was written");
    assert_eq!((refused.text(), place.read("kvs/auth.txt")), ("", auth));
    // Data that is there already belongs to the new site.
    std::fs::create_dir_all(place.path("old/data")).unwrap();
    place.file("old/data/default.yaml", "a: 1\n");
    place.run(&["init", "old", "--quiet"]).ok();
    assert_eq!(place.read("old/data/default.yaml"), b"a: 1\n");
    // Also a name that leads nowhere is a name of somebody else.
    std::fs::create_dir(place.path("linked")).unwrap();
    symlink("/nowhere/auth.txt", place.path("linked/auth.txt")).unwrap();
    place.run(&["init", "linked"]).fails(1, "linked/auth.txt exists");
    assert_eq!(std::fs::read_dir(place.path("linked")).unwrap().count(), 1);
}

#[test]
fn errors_leave_no_files() {
    let place = Place::new();
    let script = place.file("script", "#!/bin/sh\n");
    place.run(&["init", "a", "--program", &script]).fails(2, "script is not a program for Linux");
    place.run(&["init", "a", "--program", "missing"]).fails(1, "cannot read missing");
    assert!(!place.path("a").exists());
    place.run(&["init"]).fails(2, "DIR");
    place.file("taken", "");
    place.run(&["init", "taken"]).fails(1, "cannot create taken");
    // A disk that is full: the program does not fit below this limit of the length of a file.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" init full", env!("CARGO_BIN_EXE_kvs")]);
    let output = command.current_dir(place.path("")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("cannot write full/kvs.fcgi"), "{output:?}");
    assert!(output.stdout.is_empty());
    let left: Vec<_> = std::fs::read_dir(place.path("full")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["data"]);
}

#[test]
fn another_program_is_uploaded_if_it_is_named() {
    let place = Place::new();
    let program = place.file("kvs-for-the-host", b"\x7fELF and so on");
    place.run(&["init", "site", "--program", &program]).ok();
    assert_eq!(place.read("site/kvs.fcgi"), b"\x7fELF and so on");
}

#[test]
fn a_secret_that_cannot_be_printed_leaves_no_files() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["init", "site"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be printed"), "{output:?}");
    let left: Vec<_> = std::fs::read_dir(place.path("site")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["data"]);
    place.run(&["init", "site"]).ok();
}

#[test]
fn all_files_belong_to_the_owner_of_the_folder() {
    let place = Place::new();
    std::fs::create_dir(place.path("home")).unwrap();
    // Only root can change an owner. Without root, folder and files have the same owner anyway.
    let _ = std::os::unix::fs::chown(place.path("home"), Some(65534), Some(65534));
    place.run(&["init", "home/kvs"]).ok();
    let owner = |path: &str| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.path(path)).unwrap());
    for name in ["", "/kvs.fcgi", "/.htaccess", "/README.txt", "/auth.txt", "/data"] {
        assert_eq!(owner(&format!("home/kvs{name}")), owner("home"), "{name}");
    }
}
