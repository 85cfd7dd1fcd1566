//! What `/status` and `/readyz` know: every file of a store, every problem at once, and the store as a whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use kvs::model::{Bucket, ErrorKind, LogAppend, NewLogEntry};
use kvs::store::{Logs as _, Store, Task};
use kvs::yaml::{FileSystem as _, RealFileSystem, YamlOptions, YamlStore};

use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::support::served::{SECRET, Served};
use crate::support::wait_until::wait_until;
use crate::yaml::fixtures::{batch, bucket, commit, key, options, put, run, upkeep};

fn real(folder: &Path) -> (FailingFs, YamlStore) {
    let disk = FailingFs::new(RealFileSystem, Failing::default());
    let store = YamlStore::open(folder, options(disk.clone())).unwrap();
    (disk, store)
}

fn always(call: Call, ending: &'static str, kind: io::ErrorKind) -> Fault {
    Fault { which: Which(call, ending), after: 0, times: usize::MAX, kind, part: 0 }
}

fn append(store: &YamlStore, name: &str) -> Result<(), ErrorKind> {
    let append = LogAppend { entries: vec![NewLogEntry::new("1")], ..LogAppend::default() };
    run(store.append(&bucket(), &key(name), append)).map(drop).map_err(|error| error.kind())
}

/// The problems of the bucket, or the error of the check.
fn problems(store: &YamlStore) -> Result<Vec<String>, ErrorKind> {
    let report = upkeep(store, Task::Status).map_err(|error| error.kind())?;
    Ok(report.findings.into_iter().map(|finding| finding.text).collect())
}

fn add(path: &Path, text: &str) {
    File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn failed_append_to_a_log_is_reported_until_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, store) = real(folder.path());
    append(&store, "a").unwrap();
    assert_eq!(problems(&store), Ok(vec![]));
    disk.probe.fail([always(Call::Sync, "a.log", io::ErrorKind::Other)]);
    assert_eq!(append(&store, "a"), Err(ErrorKind::Unavailable));
    let found = problems(&store).unwrap();
    assert!(found.len() == 1 && found[0].contains("a.log"), "{found:?}");
    disk.probe.fail([always(Call::Write, "a.log", io::ErrorKind::StorageFull)]);
    assert_eq!(append(&store, "a"), Err(ErrorKind::StorageFull));
    assert_eq!(problems(&store), Err(ErrorKind::StorageFull));
    disk.probe.fail([]);
    append(&store, "a").unwrap();
    assert_eq!(problems(&store), Ok(vec![]));
}

#[test]
fn damaged_log_is_reported_by_every_process() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = real(folder.path());
    append(&store, "a").unwrap();
    let file = folder.path().join("default.logs/a.log");
    let whole = std::fs::read(&file).unwrap();
    add(&file, "not an entry\n");
    for store in [&store, &real(folder.path()).1] {
        for _ in 0..2 {
            let found = problems(store).unwrap();
            assert!(found.len() == 1 && found[0].contains("a.log: line 5 is no entry"), "{found:?}");
        }
    }
    File::create(&file).unwrap().write_all(&whole).unwrap();
    assert_eq!(problems(&store), Ok(vec![]));
}

#[test]
fn limit_of_the_length_of_files_is_named_with_the_data_file_first() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, store) = real(folder.path());
    commit(&store, vec![put("a", "1")]);
    append(&store, "a").unwrap();
    let no_longer = |ending| always(Call::Write, ending, io::ErrorKind::FileTooLarge);
    disk.probe.fail([no_longer("a.log"), no_longer("default.yaml")]);
    assert_eq!(append(&store, "a"), Err(ErrorKind::StorageFull));
    run(store.apply(&bucket(), batch(vec![put("a", "2")]))).unwrap_err();
    // While the bucket is busy, only the log is known.
    wait_until(|| {
        let error = upkeep(&store, Task::Status).unwrap_err().to_string();
        error.contains("default.yaml: ") && error.contains("raise its limit of the length of files")
    });
    disk.probe.fail([]);
    append(&store, "a").unwrap();
    commit(&store, vec![put("a", "2")]);
    assert_eq!(problems(&store), Ok(vec![]));
}

#[test]
fn failed_rewrite_of_a_quiet_file_is_forgotten_when_its_cause_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FailingFs::new(RealFileSystem, Failing::default());
    let tidy_after = Duration::from_millis(20);
    let store = YamlStore::open(folder.path(), YamlOptions { tidy_after, ..options(disk.clone()) }).unwrap();
    commit(&store, vec![put("a", "1")]);
    disk.probe.fail([always(Call::Rename, "", io::ErrorKind::Other)]);
    // It is appended; only the rewrite that follows renames a file.
    commit(&store, vec![put("a", "2")]);
    wait_until(|| !problems(&store).unwrap().is_empty());
    disk.probe.fail([]);
    wait_until(|| problems(&store).unwrap().is_empty());
}

#[test]
fn full_disk_does_not_hide_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, store) = real(folder.path());
    commit(&store, vec![put("a", "1")]);
    disk.probe.fail([always(Call::MayWrite, "", io::ErrorKind::StorageFull)]);
    assert_eq!(problems(&store), Err(ErrorKind::StorageFull));
    add(&folder.path().join("default.yaml"), "---\nb: {value: open\n...\n");
    let found = problems(&store).unwrap();
    assert!(found.len() == 2 && found[0].contains("Writes are refused"), "{found:?}");
}

#[test]
fn missing_folder_is_a_fault_of_the_store_if_it_was_there() {
    let above = tempfile::tempdir().unwrap();
    let (data, aside) = (above.path().join("data"), above.path().join("unmounted"));
    let (_, store) = real(&data);
    assert_eq!(problems(&store), Ok(vec![]), "a new store");
    let other = Bucket::new("other").unwrap();
    run(store.apply(&other, batch(vec![put("a", "1")]))).unwrap();
    RealFileSystem.rename(&data, &aside).unwrap();
    assert_eq!(problems(&store), Err(ErrorKind::Corrupt));
    RealFileSystem.rename(&aside, &data).unwrap();
    assert_eq!(problems(&store), Ok(vec![]));
}

/// Asks until the response begins and contains this.
#[track_caller]
fn wait_for(served: &Served, target: &str, status: u16, texts: &[&str]) {
    let start = Instant::now();
    loop {
        let answer = served.get(target);
        if answer.starts_with(&format!("HTTP/1.1 {status} ")) && texts.iter().all(|text| answer.contains(text)) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "not {status} with {texts:?}: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn readiness_is_that_of_the_store_and_not_of_a_bucket() {
    let served = Served::start(&[]);
    served.put("/kv/other/a", "1");
    let (file, data) = (served.file("default"), served.file("default").parent().unwrap().to_owned());
    std::fs::create_dir(&file).unwrap();
    wait_for(&served, "/status", 500, &["default.yaml"]);
    wait_for(&served, "/kv/default/a", 500, &[]);
    wait_for(&served, "/readyz", 200, &[]);
    std::fs::remove_dir(&file).unwrap();
    let aside = served.folder().join("unmounted");
    RealFileSystem.rename(&data, &aside).unwrap();
    wait_for(&served, "/readyz", 503, &[]);
    wait_for(&served, "/status", 500, &["the folder data is missing", "is its disk mounted?"]);
    RealFileSystem.rename(&aside, &data).unwrap();
    wait_for(&served, "/readyz", 200, &[]);
    wait_for(&served, "/status", 200, &["\r\n\r\nok"]);
}

#[test]
fn status_lists_the_problems_of_all_buckets_logs_and_large_values() {
    let served = Served::start(&[]);
    let value = "x".repeat(100_000);
    served.put("/kv/large/image", &value);
    served.put("/kv/first/a", "1");
    served.put("/kv/second/a", "1");
    let head = format!("POST /log/third/temp HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    let answer = served.ask(&format!("{head}\r\nContent-Length: 1\r\n\r\n1"));
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    let data = served.file("x").parent().unwrap().to_owned();
    let blobs = std::fs::read_dir(data.join("blobs/large")).unwrap().map(|entry| entry.unwrap().path());
    let blob = blobs.into_iter().find(|path| !path.ends_with("lock")).unwrap();
    wait_for(&served, "/status", 200, &["\r\n\r\nok"]);
    for bucket in ["first", "second"] {
        add(&served.file(bucket), "---\nb: {value: open\n...\n");
    }
    add(&data.join("third.logs/temp.log"), "not an entry\n");
    std::fs::remove_file(&blob).unwrap();
    let name = blob.file_name().unwrap().to_string_lossy().into_owned();
    let all = ["first.yaml, line ", "second.yaml, line ", "temp.log: line 5 is no entry", &name, "blob is missing"];
    wait_for(&served, "/status", 500, &all);
    let answer = served.get("/status");
    assert!(!answer.contains("data/") && !answer.contains(&data.display().to_string()), "{answer}");
    wait_for(&served, "/readyz", 200, &[]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !served.log().contains("temp.log: line 5") {
        assert!(std::time::Instant::now() < end, "{}", served.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
