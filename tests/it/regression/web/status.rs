//! Anyone may request `/status` as often as they like: it costs little, and still finds what a person must repair.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fs2::FileExt;
use futures_util::future::join_all;
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, SystemClock};
use kvs::store::{Limits, Store, Task};
use kvs::yaml::{RealFileSystem, YamlOptions, YamlStore};

use crate::support::disks::{Call, Counting, CountingFs};
use crate::support::doubles::{Done, followed};
use crate::support::endpoint::Endpoint;
use crate::support::served::Served;
use crate::yaml::fixtures::{batch, key, put};

#[tokio::test(start_paused = true)]
async fn store_is_checked_once_a_second_for_any_number_of_clients() {
    let checks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&checks);
    let inner = Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()));
    for name in ["default", "other"] {
        inner.apply(&Bucket::new(name).unwrap(), batch(vec![put("a", "1")])).await.unwrap();
    }
    let follow = move |done| {
        counted.fetch_add(usize::from(done == Done::Maintain), Ordering::SeqCst);
        Box::pin(tokio::time::sleep(Duration::from_millis(20))) as _
    };
    let kvs = Endpoint::failing(followed(inner, follow));
    for second in 1..4 {
        let answers = join_all((0..100).map(|_| kvs.get("/status"))).await;
        assert!(answers.iter().all(|answer| answer.text() == "ok"));
        assert_eq!(kvs.get("/status").await.text(), "ok");
        assert_eq!(checks.load(Ordering::SeqCst), 2 * second, "checks of two buckets");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The response of `/status`, after the time for which a response is cached.
fn status(served: &Served) -> String {
    std::thread::sleep(Duration::from_millis(1100));
    served.get("/status")
}

fn append(served: &Served, bucket: &str, text: &str) {
    let mut file = File::options().append(true).create(true).open(served.file(bucket)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn damage_is_found_in_used_and_unused_buckets() {
    let served = Served::start(&[]);
    served.put("/kv/used/a", "1");
    append(&served, "never", "a: fine\n...\n");
    assert!(status(&served).ends_with("\r\n\r\nok"));
    append(&served, "never", "---\nb: {value: open\n...\n");
    let answer = status(&served);
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("never.yaml, line 4: "), "{answer}");
    assert!(!answer.contains("data/") && !answer.contains("/tmp"), "{answer}");
    append(&served, "used", "---\nb: {value: open\n...\n");
    for _ in 0..2 {
        let answer = status(&served);
        assert!(answer.contains("never.yaml, line 4: ") && answer.contains("used.yaml, line "), "{answer}");
        // Also after it has been read.
        assert!(served.get("/kv/used/a").ends_with("\r\n\r\n1"));
        assert!(served.get("/readyz").starts_with("HTTP/1.1 200 "));
    }
    for bucket in ["never", "used"] {
        File::create(served.file(bucket)).unwrap().write_all(b"a: repaired\n...\n").unwrap();
    }
    // It is a note that stored entries were overwritten.
    let answer = status(&served);
    assert!(answer.contains("\r\n\r\nok\nnote: used.yaml.overwritten-"), "{answer}");
}

#[test]
fn status_does_not_keep_large_buckets_in_memory() {
    let served = Served::start(&[]);
    served.put("/kv/default/a", "1");
    let line = |n: usize| format!("k{n}: {{value: {}, updated: 2026-11-20T12:00:00Z}}\n", "x".repeat(1000));
    let text: String = (0..1000).map(line).collect::<String>() + "...\n";
    for n in 0..100 {
        File::create(served.file(&format!("large{n}"))).unwrap().write_all(text.as_bytes()).unwrap();
    }
    let before = served.present_memory();
    assert!(status(&served).ends_with("\r\n\r\nok"));
    let start = Instant::now();
    assert!(status(&served).ends_with("\r\n\r\nok"));
    assert!(start.elapsed() < Duration::from_secs(4), "unchanged buckets are read again");
    let grown = served.present_memory().saturating_sub(before);
    assert!(grown < 40, "{grown} MiB more, for 100 MiB checked");
}

#[test]
fn long_held_lock_is_reported_without_waiting() {
    let served = Served::start(&["--lock-timeout", "3s"]);
    served.put("/kv/held/a", "1");
    let lock = File::options().write(true).open(served.file("held").with_extension("lock")).unwrap();
    lock.lock_exclusive().unwrap();
    append(&served, "held", "---\nb: by hand\n...\n");
    assert!(served.get("/kv/held/a").starts_with("HTTP/1.1 503 "));
    std::thread::sleep(Duration::from_millis(1100));
    let start = Instant::now();
    let answer = served.get("/status");
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("held.yaml: others have held its lock"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    lock.unlock().unwrap();
    assert!(status(&served).ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn status_of_unchanged_buckets_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::default();
    let disk = CountingFs::new(RealFileSystem, Counting::default());
    let store =
        YamlStore::open(folder.path(), YamlOptions { file_system: Arc::new(disk.clone()), ..YamlOptions::default() })
            .unwrap();
    let mut file = File::create(folder.path().join("default.yaml")).unwrap();
    file.write_all(b"a: 1\n...\n").unwrap();
    let mut reads = vec![];
    for _ in 0..3 {
        assert_eq!(store.maintain(&bucket, Task::Status).await.unwrap().findings, []);
        let counts = disk.probe.take();
        assert!(counts.keys().all(|(call, _)| ![Call::Sync, Call::Write, Call::Lock].contains(call)), "{counts:?}");
        reads.push(counts.get(&(Call::Read, "yaml".to_owned())).map_or(0, |(count, _)| *count));
    }
    assert_eq!(reads, [1, 0, 0]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // For a bucket in use, the state in memory is enough.
    store.get(&bucket, &[key("a")]).await.unwrap();
    disk.probe.take();
    store.maintain(&bucket, Task::Status).await.unwrap();
    assert_eq!(disk.probe.take().get(&(Call::Read, "yaml".to_owned())), None);
}
