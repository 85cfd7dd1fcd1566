//! The modes of all files that kvs creates do not depend on the umask of the process: those of the data follow their
//! folder, and those with secrets are for their owner only.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::served::{SECRET, Served};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kvs");

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

/// All files and folders below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect()
}

/// Runs a command of the program with this umask in a folder.
fn run(folder: &Path, umask: &str, args: &[&str], editor: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), PROGRAM]).args(args);
    command.current_dir(folder).env("KVS_HOME", folder).env("EDITOR", editor).stdin(Stdio::null());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn ask(served: &Served, line: &str, body: &str) {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    let answer = served.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert!(answer.starts_with("HTTP/1.1 20"), "{line}: {answer}");
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Makes kvs create a file of every kind.
fn fill(served: &Served, umask: &str) {
    ask(served, "PUT /kv/default/a", "1");
    ask(served, "PUT /kv/default/large", &"x".repeat(100_000));
    ask(served, "POST /log/default/a?keep=2", "1");
    ask(served, "POST /log/default/b", "1");
    let (data, log) = (served.file("default"), served.folder().join("data/default.logs/b.log"));
    // What an interrupted writer leaves is set aside: in the data file, and in a log.
    append(&data, "---\ntorn: {value: x, upd");
    append(&log, "- {index: 1, val");
    ask(served, "PUT /kv/default/b", "1");
    ask(served, "POST /log/default/b", "2");
    for _ in 0..4 {
        ask(served, "POST /log/default/a", "1");
    }
    ask(served, "POST /maintenance/default?task=compact", "");
    // A person removes entries in an editor that kvs does not know, while the file has newer ones.
    ask(served, "PUT /kv/edited/a", "1");
    ask(served, "PUT /kv/edited/b", "2");
    File::create(served.file("edited")).unwrap().write_all(b"a: other\n...\n").unwrap();
    ask(served, "PUT /kv/edited/c", "3");
    // The draft of `kvs edit` has the mode that the editor sees.
    let editor =
        "sh -c 'stat -c %a \"$0\" > drafted; stat -c %a \"$(dirname \"$0\")\" >> drafted; echo \"d: 1\" >> \"$0\"'";
    run(served.folder(), umask, &["edit"], editor);
}

#[test]
fn files_of_the_data_are_private_whatever_the_umask_is() {
    for umask in ["000", "077"] {
        let start = format!("umask {umask}; exec \"$0\" \"$@\"");
        let served = Served::under(&["sh", "-c", &start], &["--tidy-after", "100ms"], |_| {});
        fill(&served, umask);
        let data = served.folder().join("data");
        let names = || below(&data).iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n");
        let deadline = Instant::now() + Duration::from_secs(20);
        let expected =
            [".yaml.last", ".torn-", ".lock", "blobs/default/", "default.logs/a.log", "b.torn-", ".overwritten-"];
        while let Some(missing) = expected.iter().find(|part| !names().contains(**part)) {
            assert!(Instant::now() < deadline, "no {missing} in\n{}", names());
            std::thread::sleep(Duration::from_millis(20));
        }
        for path in below(&data).into_iter().chain([data]) {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "{} with umask {umask}", path.display());
        }
        let drafted = std::fs::read_to_string(served.folder().join("drafted")).unwrap();
        assert_eq!(drafted, "600\n700\n", "the draft and its folder with umask {umask}");
    }
}

#[test]
fn files_with_secrets_are_private_whatever_the_umask_is() {
    for umask in ["000", "077"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for args in [&["passcode", "--write"][..], &["passcode", "--write", "--plain", "--auth", "plain.txt"]] {
            assert!(run(folder.path(), umask, args, "").len() > 20);
        }
        run(folder.path(), umask, &["init", "site"], "");
        for name in ["auth.txt", "plain.txt", "site/auth.txt"] {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name} with umask {umask}");
        }
    }
}

/// A file of the user: a new one gets the mode that the umask allows, as with every program. A private one stays private,
/// also while it is replaced.
#[test]
fn an_export_keeps_the_mode_of_the_file_that_it_replaces() {
    for (umask, new) in [("000", 0o666), ("077", 0o600)] {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), umask, &["set", "a", "1"], "");
        run(folder.path(), umask, &["export", "new.yaml"], "");
        assert_eq!(mode(&folder.path().join("new.yaml")), new);
        for old in [0o600, 0o640] {
            let path = folder.path().join("old.yaml");
            drop(File::create(&path).unwrap());
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(old)).unwrap();
            run(folder.path(), umask, &["export", "old.yaml"], "");
            assert_eq!(mode(&path), old, "with umask {umask}");
        }
        assert!(below(folder.path()).iter().all(|path| path.extension().is_none_or(|ending| ending != "tmp")));
    }
}
