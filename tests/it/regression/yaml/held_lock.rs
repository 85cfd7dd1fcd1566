//! A bucket whose lock another program holds: only its own readers and writers wait, each until the configured timeout,
//! and everything works again once the lock is free.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs2::FileExt;
use kvs::model::{Bucket, ErrorKind};
use kvs::store::{Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::support::served::{SECRET, Served};
use crate::yaml::fixtures::{batch, commit, key, put};

/// The lock timeout of the program.
const WAIT: Duration = Duration::from_secs(5);
/// A later response is too late.
const LATE: Duration = Duration::from_secs(9);
/// The limit for responses to others, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(2500);

fn hold(lock: &Path) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(lock).unwrap();
    file.lock_exclusive().unwrap();
    file
}

/// A program with these buckets, each out of date in its memory, and the held locks of all but `other`.
fn held(buckets: &[String]) -> (Served, Vec<File>) {
    let served = Served::start(&["--lock-timeout", "5s", "--tidy-after", "0s"]);
    served.put("/kv/other/a", "1");
    for bucket in buckets {
        served.put(&format!("/kv/{bucket}/a"), "1");
        let mut file = File::options().append(true).open(served.file(bucket)).unwrap();
        file.write_all(b"---\nb: by hand\n...\n").unwrap();
    }
    let locks = buckets.iter().map(|bucket| hold(&served.file(bucket).with_extension("lock"))).collect();
    (served, locks)
}

fn send(served: &Served, method: &str, target: &str) -> TcpStream {
    let mut socket = served.connect();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    write!(socket, "{head}\r\nContent-Length: 0\r\n\r\n").unwrap();
    socket
}

/// Others are answered at once, until this long after the start.
fn assert_others_are_served(served: &Served, start: Instant, until: Duration) {
    while start.elapsed() < until {
        for target in ["/livez", "/kv/other/a"] {
            let start_of_request = Instant::now();
            assert!(served.get(target).starts_with("HTTP/1.1 200 "), "{target}");
            assert!(start_of_request.elapsed() < AT_ONCE, "{target} took {:?}", start_of_request.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let start_of_request = Instant::now();
    served.put("/kv/other/b", "2");
    assert!(start_of_request.elapsed() < AT_ONCE, "a write took {:?}", start_of_request.elapsed());
}

/// All get the error that the bucket is busy, after the timeout and not much later.
fn assert_all_time_out(sockets: Vec<TcpStream>, start: Instant) {
    for mut socket in sockets {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
        let took = start.elapsed();
        assert!(took >= WAIT && took < LATE, "answered after {took:?}");
    }
}

fn assert_recovers(served: &Served, buckets: &[String], locks: Vec<File>) {
    drop(locks);
    for bucket in buckets {
        assert!(served.get(&format!("/kv/{bucket}/b")).ends_with("\r\n\r\nby hand"));
        served.put(&format!("/kv/{bucket}/a"), "2");
        assert!(served.get(&format!("/kv/{bucket}/a")).ends_with("\r\n\r\n2"));
    }
}

#[test]
fn readers_of_a_locked_bucket_time_out_and_delay_nobody() {
    let buckets = ["held".to_owned()];
    let (served, locks) = held(&buckets);
    let start = Instant::now();
    let sockets: Vec<_> = (0..600).map(|_| send(&served, "GET", "/kv/held/a")).collect();
    let sent = start.elapsed();
    assert_others_are_served(&served, start, WAIT * 3 / 4);
    println!("all were sent after {sent:?}");
    assert_all_time_out(sockets, start);
    assert_recovers(&served, &buckets, locks);
}

#[test]
fn writers_and_polls_of_a_locked_bucket_time_out_and_delay_nobody() {
    let buckets = ["held".to_owned()];
    let (served, locks) = held(&buckets);
    let start = Instant::now();
    let targets =
        [("PUT", "/kv/held/a"), ("GET", "/kv/held/a"), ("GET", "/kv/held/a?wait=9&seen=none"), ("GET", "/kv/held")];
    let sockets: Vec<_> = (0..200).map(|n| send(&served, targets[n % 4].0, targets[n % 4].1)).collect();
    assert_others_are_served(&served, start, WAIT * 3 / 4);
    assert_all_time_out(sockets, start);
    assert_recovers(&served, &buckets, locks);
}

#[test]
fn hundreds_of_locked_buckets_delay_no_other() {
    let buckets: Vec<_> = (0..600).map(|n| format!("held{n}")).collect();
    let (served, locks) = held(&buckets);
    let start = Instant::now();
    let sockets: Vec<_> = buckets.iter().map(|bucket| send(&served, "GET", &format!("/kv/{bucket}/a"))).collect();
    assert_others_are_served(&served, start, WAIT * 3 / 4);
    assert_all_time_out(sockets, start);
    assert_recovers(&served, &buckets[..20], locks);
}

/// The lock timeout of a store in this process.
const STORE_WAIT: Duration = Duration::from_secs(2);

fn store(folder: &Path) -> YamlStore {
    YamlStore::open(folder, YamlOptions { lock_timeout: STORE_WAIT, ..YamlOptions::default() }).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn one_thread_serves_others_and_frees_cancelled_readers() {
    let folder = tempfile::tempdir().unwrap();
    let other = Bucket::new("other").unwrap();
    let bucket = Bucket::default();
    let writer = store(folder.path());
    commit(&writer, vec![put("a", "1")]);
    writer.apply(&other, batch(vec![put("a", "1")])).await.unwrap();
    let reader = Arc::new(store(folder.path()));
    let lock = hold(&folder.path().join("default.lock"));
    let start = Instant::now();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (reader, bucket) = (Arc::clone(&reader), bucket.clone());
            tokio::spawn(async move { reader.get(&bucket, &[key("a")]).await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    reader.get(&other, &[key("a")]).await.unwrap();
    assert!(start.elapsed() < STORE_WAIT * 3 / 4, "{:?}", start.elapsed());
    let (left, stayed) = waiting.split_at(50);
    left.iter().for_each(tokio::task::JoinHandle::abort);
    while !stayed.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(start.elapsed() < STORE_WAIT * 5 / 2, "no timeout in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in waiting.into_iter().skip(50) {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    }
    lock.unlock().unwrap();
    assert!(reader.get(&bucket, &[key("a")]).await.unwrap().entries[0].is_some());
    reader.maintain(&bucket, Task::Compact).await.unwrap();
    // Nothing holds the store any more: a thread that continued for cancelled readers would.
    let ended = Instant::now();
    while Arc::strong_count(&reader) > 1 {
        assert!(ended.elapsed() < Duration::from_secs(5), "a reader still waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_maintenance_does_not_delay_readers() {
    let folder = tempfile::tempdir().unwrap();
    commit(&store(folder.path()), vec![put("a", "1")]);
    let reader = Arc::new(store(folder.path()));
    let _lock = hold(&folder.path().join("default.lock"));
    let start = Instant::now();
    let bucket = Bucket::default();
    let upkeep = [Task::Compact, Task::Check, Task::RemoveExpired].map(|task| {
        let (reader, bucket) = (Arc::clone(&reader), bucket.clone());
        tokio::spawn(async move { reader.maintain(&bucket, task).await })
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(reader.get(&bucket, &[]).await.unwrap_err().kind(), ErrorKind::Busy);
    assert!(start.elapsed() < STORE_WAIT * 2, "{:?}", start.elapsed());
    for task in upkeep {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    }
    assert!(start.elapsed() < STORE_WAIT * 5 / 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_times_out_while_reads_continue() {
    let folder = tempfile::tempdir().unwrap();
    let other = store(folder.path());
    commit(&other, vec![put("a", "1")]);
    let store = Arc::new(store(folder.path()));
    let bucket = Bucket::default();
    let lock = File::open(folder.path().join("default.lock")).unwrap();
    FileExt::lock_shared(&lock).unwrap();
    let start = Instant::now();
    let writing = {
        let (store, bucket) = (Arc::clone(&store), bucket.clone());
        tokio::spawn(async move { store.apply(&bucket, batch(vec![put("a", "2")])).await })
    };
    // Each finds the file changed, so each reads it again under the shared lock.
    let mut file = File::options().append(true).open(folder.path().join("default.yaml")).unwrap();
    let mut reads = 0;
    while !writing.is_finished() {
        assert!(start.elapsed() < STORE_WAIT * 5 / 2, "no timeout in time");
        file.write_all(b"# a remark\n").unwrap();
        store.get(&bucket, &[key("a")]).await.unwrap();
        reads += 1;
    }
    assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    assert!(reads > 3, "{reads}");
    FileExt::unlock(&lock).unwrap();
    commit(&store, vec![put("a", "2")]);
}
