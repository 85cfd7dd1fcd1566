//! Commands that need no store: passcode, completions, man. And a reader that closes standard output early.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::Place;

#[test]
fn passcode_creates_a_private_file_and_never_replaces_one() {
    let place = Place::new();
    let run = place.run(&["passcode"]).ok();
    let lines: Vec<_> = run.text().lines().collect();
    assert!(lines.len() == 2 && lines[0].len() >= 26 && lines[1].starts_with("sha256:"), "{run:?}");
    assert!(!run.err.contains(lines[0]));
    assert!(!place.path("auth.txt").exists());

    // Only root can change the owner of the folder. Without root, folder and file have the same owner anyway.
    let _ = std::os::unix::fs::chown(place.path(""), Some(65534), Some(65534));
    let run = place.run(&["passcode", "--write"]).ok();
    let owner = |name: &str| std::fs::metadata(place.path(name)).unwrap().uid();
    assert_eq!(owner("auth.txt"), owner(""));
    let secret = run.text().trim_end().to_owned();
    assert_eq!(std::fs::metadata(place.path("auth.txt")).unwrap().permissions().mode() & 0o777, 0o600);
    let written = String::from_utf8(place.read("auth.txt")).unwrap();
    assert!(written.contains("sha256:") && !written.contains(&secret));
    let refused = place.run(&["passcode", "--write"]).fails(1, "is not changed");
    assert_eq!(refused.text(), "");
    assert_eq!(place.read("auth.txt"), written.as_bytes());
    place.run(&["passcode", "--rights", "fly"]).fails(2, "--rights");
}

#[test]
fn completions_and_manual_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).ok().text().contains("import"), "{shell}");
    }
    assert!(place.run(&["man"]).ok().text().contains(".TH kvs 1"));
    assert!(place.run(&["man", "import"]).ok().text().contains("kvs\\-import"));
    place.run(&["man", "nothing"]).fails(2, "no command");
    place.run(&["man", "--dir", "missing"]).fails(1, "cannot write all pages to missing");
    place.run(&["man", "--dir", "."]).ok();
    for page in ["kvs.1", "kvs-serve.1", "kvs-edit.1"] {
        assert!(place.path(page).metadata().unwrap().len() > 1000, "{page}");
    }
}

#[test]
fn a_closed_standard_output_is_not_a_failure() {
    let place = Place::new();
    let mut csv = "key,value\n".to_owned();
    for n in 0..20_000 {
        writeln!(csv, "k{n},some value or other").unwrap();
    }
    place.with(&["import", "-", "--format", "csv"], &[], csv.as_bytes()).ok();
    let mut child = place.command(&["list"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((first.as_str(), ended.stderr), ("k0\tsome value or other\n", vec![]));
    assert_eq!(ended.status.code(), Some(0));
}
