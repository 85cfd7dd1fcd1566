//! Any number of buckets with few open files: idle buckets close their files and keep their data in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::model::{Batch, Bucket};
use kvs::store::Store;
use kvs::yaml::{RealFileSystem, YamlOptions, YamlStore};
use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::disks::{Call, Counting, CountingFs};
use crate::support::served::{SECRET, Served};
use crate::yaml::fixtures::{batch, key, put};

/// Writes the files of buckets with one entry, as a person would.
fn make(served: &Served, count: usize) {
    std::fs::create_dir_all(served.file("x").parent().unwrap()).unwrap();
    for n in 0..count {
        let mut file = File::create(served.file(&format!("b{n}"))).unwrap();
        file.write_all(b"a: {value: here, updated: 2026-11-20T12:00:00Z}\n...\n").unwrap();
    }
}

#[test]
fn process_with_64_descriptors_serves_hundreds_of_buckets() {
    let served = Served::limited(64, &["--max-connections", "8"]);
    make(&served, 300);
    for n in 0..300 {
        assert!(served.get(&format!("/kv/b{n}/a")).ends_with("\r\n\r\nhere"), "b{n}");
        served.put(&format!("/kv/b{n}/c"), "1");
        served.put(&format!("/kv/new{n}/c"), "1");
    }
    for n in 0..300 {
        served.put(&format!("/kv/b{n}/c"), "2");
        assert!(served.get(&format!("/kv/b{n}/c")).ends_with("\r\n\r\n2"), "b{n}");
        assert!(served.get(&format!("/kv/new{n}/c")).ends_with("\r\n\r\n1"), "new{n}");
    }
    assert!(served.open_files() < 48, "{} files are open", served.open_files());
    assert!(served.get("/status").ends_with("\r\n\r\nok"), "{}", served.get("/status"));
    assert!(served.get("/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn status_of_thousands_of_buckets_is_fast_and_opens_few_files() {
    let served = Served::limited(64, &["--max-connections", "8"]);
    make(&served, 10_100);
    for _ in 0..3 {
        let start = Instant::now();
        assert!(served.get("/status").ends_with("\r\n\r\nok"), "{}", served.get("/status"));
        println!("/status took {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(12), "/status took {:?}", start.elapsed());
        assert!(served.open_files() < 32, "{} files are open", served.open_files());
        std::thread::sleep(Duration::from_millis(1100));
    }
    served.put("/kv/b1/c", "2");
    assert!(served.get("/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn process_without_free_descriptors_is_not_ready() {
    let served = Served::start(&[]);
    served.put("/kv/default/a", "1");
    let mut socket = served.connect();
    let mut ask = |target: &str| {
        write!(socket, "GET {target} HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\n\r\n").unwrap();
        let mut answer = vec![0; 4096];
        let length = socket.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(ask("/readyz").starts_with("HTTP/1.1 200 "));
    let no_more = Rlimit { current: Some(4), ..prlimit(Some(served.id()), Resource::Nofile, limit(&served)).unwrap() };
    let before = prlimit(Some(served.id()), Resource::Nofile, no_more).unwrap();
    assert!(ask("/livez").starts_with("HTTP/1.1 200 "));
    let answer = ask("/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let answer = ask("/status");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    prlimit(Some(served.id()), Resource::Nofile, before).unwrap();
    assert!(ask("/readyz").starts_with("HTTP/1.1 200 "));
}

/// The current limit of open files.
fn limit(served: &Served) -> Rlimit {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", served.id().as_raw_nonzero())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    Rlimit { current: numbers.next().unwrap(), maximum: numbers.next().unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_files_are_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = CountingFs::new(RealFileSystem, Counting::default());
    let options = YamlOptions {
        file_system: Arc::new(disk.clone()),
        max_open_buckets: 2,
        min_log_bytes: u64::MAX,
        tidy_after: std::time::Duration::ZERO,
        ..YamlOptions::default()
    };
    let store = YamlStore::open(folder.path(), options).unwrap();
    let buckets: Vec<_> = (0..6).map(|n| Bucket::new(&format!("b{n}")).unwrap()).collect();
    let large = "x".repeat(100_000);
    for bucket in &buckets {
        store.apply(bucket, batch(vec![put("large", large.clone())])).await.unwrap();
    }
    // Another process writes in between.
    let options =
        YamlOptions { min_log_bytes: u64::MAX, tidy_after: std::time::Duration::ZERO, ..YamlOptions::default() };
    let other = YamlStore::open(folder.path(), options).unwrap();
    for bucket in &buckets {
        other.apply(bucket, batch(vec![put("other", "1")])).await.unwrap();
    }
    disk.probe.take();
    for round in 0..2 {
        for bucket in &buckets {
            store.apply(bucket, batch(vec![put("small", round.to_string())])).await.unwrap();
            let found = store.get(bucket, &[key("other"), key("large")]).await.unwrap();
            assert!(found.entries.iter().all(Option::is_some));
        }
    }
    let counts = disk.probe.take();
    let count = |call: Call, ending: &str| counts.get(&(call, ending.to_owned())).map_or(0, |(count, _)| *count);
    // Only what the other process added.
    assert_eq!(count(Call::Read, "yaml"), 6, "{counts:?}");
    assert!(count(Call::Open, "yaml") >= 12, "{counts:?}");
    for bucket in &buckets {
        assert_eq!(&*other.get(bucket, &[key("small")]).await.unwrap().entries[0].as_ref().unwrap().value, b"1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_busy_buckets_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let options = YamlOptions { max_open_buckets: 2, min_log_bytes: 500, ..YamlOptions::default() };
    let store = Arc::new(YamlStore::open(folder.path(), options).unwrap());
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let bucket = Bucket::new(&format!("b{}", n % 20)).unwrap();
                for round in 0..20 {
                    store.apply(&bucket, Batch::new(vec![put(&format!("k{n}"), round.to_string())])).await.unwrap();
                    store.get(&bucket, &[key("a")]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let other = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
    for n in 0..40 {
        let bucket = Bucket::new(&format!("b{}", n % 20)).unwrap();
        let found = other.get(&bucket, &[key(&format!("k{n}"))]).await.unwrap();
        assert_eq!(&*found.entries[0].as_ref().unwrap().value, b"19");
    }
}
