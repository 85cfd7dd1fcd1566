//! Something else in the place of a data file, such as a folder: an error at once, for that bucket only, and it is not
//! changed. Requests that store nothing create no file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kvs::model::{Batch, Bucket, Condition, ErrorKind, Write};
use kvs::store::{Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::yaml::fixtures::{all, apply, batch, commit, delete, expect, key, pair, put, run, upkeep, values};

fn real(folder: &Path) -> YamlStore {
    YamlStore::open(folder, YamlOptions::default()).unwrap()
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

fn folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

fn huge(path: &Path) {
    std::fs::File::create(path).unwrap().set_len(200 << 30).unwrap();
}

/// The exit code and all output of `kvs check` of the default bucket.
fn check(folder: &Path) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvs"));
    child.args(["check", "--bucket", "default", "--store"]).arg(format!("yaml:{}", folder.display())).env_clear();
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("kvs check hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn invalid_data_file_is_an_error_of_its_bucket_only() {
    let says = ["a FIFO", "a folder", "too many for the memory"];
    for ((name, make), says) in
        [("FIFO", fifo as fn(&Path)), ("folder", folder), ("200 GiB", huge)].into_iter().zip(says)
    {
        let place = tempfile::tempdir().unwrap();
        let store = real(place.path());
        make(&place.path().join("default.yaml"));
        for answer in
            [all(&store).map(drop), apply(&store, pair(0, "x")).map(drop), upkeep(&store, Task::Check).map(drop)]
        {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
            assert!(error.to_string().contains(says), "{name}: {error}");
        }
        assert!(store.begin_edit(&Bucket::default()).is_err(), "{name}");
        let other = Bucket::new("other").unwrap();
        run(store.apply(&other, batch(pair(0, "x")))).unwrap();
        assert!(run(store.get(&other, &[key("a0")])).unwrap().entries[0].is_some(), "{name}");
        let (code, text) = check(place.path());
        assert!(code == Some(1) && text.contains(says), "{name}: {code:?}, {text}");
    }
}

#[test]
fn invalid_lock_file_is_an_error_of_check() {
    for (name, make) in [("FIFO", fifo as fn(&Path)), ("folder", folder)] {
        let place = tempfile::tempdir().unwrap();
        commit(&real(place.path()), pair(0, "x"));
        let lock = place.path().join("default.lock");
        std::fs::remove_file(&lock).unwrap();
        make(&lock);
        let error = apply(&real(place.path()), pair(0, "y")).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("default.lock"), "{name}: {error}");
        let (code, text) = check(place.path());
        assert!(code == Some(1) && text.contains("default.lock"), "{name}: {code:?}, {text}");
    }
}

#[test]
fn request_that_stores_nothing_creates_no_file() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let store = real(&data);
    let touch = Write::Touch { key: key("a"), expires: None };
    let refused = Batch::new(vec![put("a", "x")]).with_expectations(vec![expect("a", Condition::Present)]);
    for batch in [batch(vec![delete("a")]), batch(vec![touch]), refused, Batch::default()] {
        run(store.apply(&Bucket::default(), batch)).unwrap();
    }
    assert!(apply(&store, vec![put("a", "x".repeat(2 << 20))]).is_err(), "too large");
    assert!(values(&store).is_empty() && !data.exists());
    commit(&store, pair(0, "x"));
    std::fs::remove_file(data.join("default.lock")).unwrap();
    assert_eq!(values(&store)["a0"], "x");
}
