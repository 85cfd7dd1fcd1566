//! A bucket whose lock another program holds and does not give back: only its own readers and writers wait, each as long
//! as was set, and all is well again once the lock is free.

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

/// What the program was told to wait for a lock.
const WAIT: Duration = Duration::from_secs(5);
/// From then on an answer came too late.
const LATE: Duration = Duration::from_secs(9);
/// What others have to be answered within, on a machine that does other things as well.
const AT_ONCE: Duration = Duration::from_millis(2500);

fn hold(lock: &Path) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(lock).unwrap();
    file.lock_exclusive().unwrap();
    file
}

/// A program with these buckets, of each of which its image is out of date, and the locks of all but `other`, held.
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

/// Others are answered at once, until so long after the beginning.
fn others_are_well(served: &Served, begun: Instant, until: Duration) {
    while begun.elapsed() < until {
        for target in ["/livez", "/kv/other/a"] {
            let asked = Instant::now();
            assert!(served.get(target).starts_with("HTTP/1.1 200 "), "{target}");
            assert!(asked.elapsed() < AT_ONCE, "{target} took {:?}", asked.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let asked = Instant::now();
    served.put("/kv/other/b", "2");
    assert!(asked.elapsed() < AT_ONCE, "a write took {:?}", asked.elapsed());
}

/// All are told that the bucket is busy, after the time that was set and not much later.
fn all_are_sent_away(sockets: Vec<TcpStream>, begun: Instant) {
    for mut socket in sockets {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
        let took = begun.elapsed();
        assert!(took >= WAIT && took < LATE, "answered after {took:?}");
    }
}

fn becomes_well(served: &Served, buckets: &[String], locks: Vec<File>) {
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
    let begun = Instant::now();
    let sockets: Vec<_> = (0..600).map(|_| send(&served, "GET", "/kv/held/a")).collect();
    let sent = begun.elapsed();
    others_are_well(&served, begun, WAIT * 3 / 4);
    println!("all were sent after {sent:?}");
    all_are_sent_away(sockets, begun);
    becomes_well(&served, &buckets, locks);
}

#[test]
fn writers_and_polls_of_a_locked_bucket_time_out_and_delay_nobody() {
    let buckets = ["held".to_owned()];
    let (served, locks) = held(&buckets);
    let begun = Instant::now();
    let targets =
        [("PUT", "/kv/held/a"), ("GET", "/kv/held/a"), ("GET", "/kv/held/a?wait=9&seen=none"), ("GET", "/kv/held")];
    let sockets: Vec<_> = (0..200).map(|n| send(&served, targets[n % 4].0, targets[n % 4].1)).collect();
    others_are_well(&served, begun, WAIT * 3 / 4);
    all_are_sent_away(sockets, begun);
    becomes_well(&served, &buckets, locks);
}

#[test]
fn hundreds_of_locked_buckets_delay_no_other() {
    let buckets: Vec<_> = (0..600).map(|n| format!("held{n}")).collect();
    let (served, locks) = held(&buckets);
    let begun = Instant::now();
    let sockets: Vec<_> = buckets.iter().map(|bucket| send(&served, "GET", &format!("/kv/{bucket}/a"))).collect();
    others_are_well(&served, begun, WAIT * 3 / 4);
    all_are_sent_away(sockets, begun);
    becomes_well(&served, &buckets[..20], locks);
}

/// How long a store of this process waits for a lock.
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
    let begun = Instant::now();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (reader, bucket) = (Arc::clone(&reader), bucket.clone());
            tokio::spawn(async move { reader.get(&bucket, &[key("a")]).await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    reader.get(&other, &[key("a")]).await.unwrap();
    assert!(begun.elapsed() < STORE_WAIT * 3 / 4, "{:?}", begun.elapsed());
    let (left, stayed) = waiting.split_at(50);
    left.iter().for_each(tokio::task::JoinHandle::abort);
    while !stayed.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(begun.elapsed() < STORE_WAIT * 5 / 2, "not sent away in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in waiting.into_iter().skip(50) {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    }
    lock.unlock().unwrap();
    assert!(reader.get(&bucket, &[key("a")]).await.unwrap().entries[0].is_some());
    reader.maintain(&bucket, Task::Compact).await.unwrap();
    // Nobody is left who holds the store: a thread that went on for those who left would.
    let ended = Instant::now();
    while Arc::strong_count(&reader) > 1 {
        assert!(ended.elapsed() < Duration::from_secs(5), "somebody still waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_maintenance_does_not_delay_readers() {
    let folder = tempfile::tempdir().unwrap();
    commit(&store(folder.path()), vec![put("a", "1")]);
    let reader = Arc::new(store(folder.path()));
    let _lock = hold(&folder.path().join("default.lock"));
    let begun = Instant::now();
    let bucket = Bucket::default();
    let upkeep = [Task::Compact, Task::Check, Task::RemoveExpired].map(|task| {
        let (reader, bucket) = (Arc::clone(&reader), bucket.clone());
        tokio::spawn(async move { reader.maintain(&bucket, task).await })
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(reader.get(&bucket, &[]).await.unwrap_err().kind(), ErrorKind::Busy);
    assert!(begun.elapsed() < STORE_WAIT * 2, "{:?}", begun.elapsed());
    for task in upkeep {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    }
    assert!(begun.elapsed() < STORE_WAIT * 5 / 2, "{:?}", begun.elapsed());
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
    let begun = Instant::now();
    let writing = {
        let (store, bucket) = (Arc::clone(&store), bucket.clone());
        tokio::spawn(async move { store.apply(&bucket, batch(vec![put("a", "2")])).await })
    };
    // Each finds the file changed, so that each catches up under the shared lock.
    let mut file = File::options().append(true).open(folder.path().join("default.yaml")).unwrap();
    let mut reads = 0;
    while !writing.is_finished() {
        assert!(begun.elapsed() < STORE_WAIT * 5 / 2, "not sent away in time");
        file.write_all(b"# a remark\n").unwrap();
        store.get(&bucket, &[key("a")]).await.unwrap();
        reads += 1;
    }
    assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    assert!(reads > 3, "{reads}");
    FileExt::unlock(&lock).unwrap();
    commit(&store, vec![put("a", "2")]);
}
