//! The speed of durable writes, compared with a loop that only appends the same bytes and syncs them. `bench/README.md`
//! explains each line.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends at the first fault")]
#![expect(clippy::indexing_slicing, clippy::disallowed_methods, reason = "no part of the program")]

mod bare;
mod comparison;
mod load;
mod logs;
mod servers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvs::model::{Batch, Bucket, Entry, ErrorKind, Key, Outcome, Revision, Write};
use kvs::store::{Store, Task};
use kvs::yaml::{ParsedEntry, YamlOptions, YamlStore, write_text};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use bare::Bare;
use comparison::{compare, heading, line, median, rate};
use servers::Servers;

const ROUNDS: usize = 5;
/// Too few writes to reach 64 KiB of log, at which a small bucket is compacted.
const WITHOUT_COMPACTION: usize = 400;
const WITH_COMPACTION: usize = 1500;

fn main() {
    if !comparison::is_benchmark() {
        return;
    }
    if comparison::is_selected("alone") {
        alone();
    }
    if comparison::is_selected("together") {
        together();
    }
    if comparison::is_selected("flat") {
        flat();
    }
    if comparison::is_selected("logs") {
        logs::logs();
    }
    if comparison::is_selected("http") {
        http();
    }
}

/// A folder below the target folder: it is on the disk of the project, and `/tmp` may be on another one.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(folder: &Path) -> YamlStore {
    YamlStore::open(folder, kvs::yaml::YamlOptions::default()).unwrap()
}

fn key(n: usize) -> Key {
    Key::new(&format!("house/{:04}/sensor-{n:07}", n % 5000)).unwrap()
}

fn batch(n: usize) -> Batch {
    Batch::new(vec![Write::put(key(n % 100), format!("{:02}.{}", n % 40, n % 10))])
}

async fn write(store: &YamlStore, n: usize) {
    let outcome = store.apply(&Bucket::default(), batch(n)).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }));
}

/// A runtime with one thread, as in a process that Apache starts.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime with as many threads as processors, as in `kvs serve`.
fn threads() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The writes per second of one writer to its own bucket.
fn lone(runtime: &Runtime, count: usize) -> f64 {
    let folder = folder();
    // Tidying compacts a log of 4 KiB or more.
    let tidy_after = if count == WITHOUT_COMPACTION { Duration::ZERO } else { YamlOptions::default().tidy_after };
    let store = YamlStore::open(folder.path(), YamlOptions { tidy_after, ..YamlOptions::default() }).unwrap();
    runtime.block_on(async {
        write(&store, 0).await;
        let start = Instant::now();
        for n in 0..count {
            write(&store, n).await;
        }
        rate(count, start)
    })
}

fn alone() {
    heading("alone: durable writes per second by one writer / bare loop of append and fdatasync");
    let bare = |count| move || Bare::new(folder()).run(count);
    for (how, runtime) in [("one thread", one_thread()), ("threads", threads())] {
        for (what, count) in [("no compaction", WITHOUT_COMPACTION), ("with compaction", WITH_COMPACTION)] {
            compare(&format!("{how}, {what}"), Some(0.8), ROUNDS, || lone(&runtime, count), bare(count));
        }
    }
}

fn together() {
    const TASKS: usize = 64;
    const EACH: usize = 150;
    heading(&format!("together: durable writes per second by {TASKS} tasks / bare loop"));
    let runtime = threads();
    let crowd = || {
        let folder = folder();
        let store = open(folder.path());
        runtime.block_on(async {
            write(&store, 0).await;
            let start = Instant::now();
            let task = |t: usize| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..EACH {
                        write(&store, t * EACH + n).await;
                    }
                })
            };
            for task in (0..TASKS).map(task).collect::<Vec<_>>() {
                task.await.unwrap();
            }
            rate(TASKS * EACH, start)
        })
    };
    compare("64 tasks, with compaction", None, ROUNDS, crowd, || Bare::new(folder()).run(WITHOUT_COMPACTION));
}

/// A store with `keys` keys after `writes` writes.
fn filled(runtime: &Runtime, keys: usize, writes: usize) -> (TempDir, YamlStore) {
    let folder = folder();
    let revision = |n: usize| Revision::new(1_795_000_000_000_000_000 + n as u64 * 1_000_003);
    let entry = |n: usize| ParsedEntry::text(format!("{}.{}", n % 40, n % 10)).at(revision(n));
    let entries: std::collections::BTreeMap<Key, Entry> = (0..keys).map(|n| (key(n), entry(n))).collect();
    std::fs::write(folder.path().join("default.yaml"), write_text(entries.iter())).unwrap();
    let store = open(folder.path());
    runtime.block_on(async {
        // Many concurrent writes: the file has the same documents, with fewer syncs.
        for from in (0..writes).step_by(500) {
            let write = |n: usize| {
                let store = store.clone();
                async move { write(&store, n).await }
            };
            (from..writes.min(from + 500)).map(write).collect::<JoinSet<()>>().join_all().await;
        }
    });
    (folder, store)
}

/// Compacts the log, after a compaction that may be running.
async fn compact(store: &YamlStore) {
    while let Err(busy) = store.maintain(&Bucket::default(), Task::Compact).await {
        assert_eq!(busy.kind(), ErrorKind::Busy);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The seconds that one write takes.
fn one(runtime: &Runtime, store: &YamlStore, n: usize) -> f64 {
    let start = Instant::now();
    runtime.block_on(write(store, n));
    start.elapsed().as_secs_f64()
}

fn flat() {
    let runtime = threads();
    let large = filled(&runtime, 1_000_000, 99_750);
    let small = filled(&runtime, 1000, 750);
    let mut bare = Bare::new(folder());
    // Compacts the small log, so that the measured writes do not fill it. The large one is far from full.
    runtime.block_on(compact(&small.1));
    heading("flat: writes per second, median of 500 / bare loop; without compaction");
    let (mut of_large, mut of_small, mut of_bare) = (vec![], vec![], vec![]);
    for n in 0..25 {
        of_large.extend((0..20).map(|i| one(&runtime, &large.1, n * 20 + i)));
        of_small.extend((0..20).map(|i| one(&runtime, &small.1, n * 20 + i)));
        of_bare.extend((0..20).map(|_| bare.one()));
    }
    let medians = [of_large, of_small, of_bare].map(|times| 1.0 / median(times));
    line("the 100,000th to 1,000,000 keys", None, vec![(medians[0], medians[2])]);
    line("the 1,000th to 1,000 keys", None, vec![(medians[1], medians[2])]);
    line("the former / the latter", Some(1.0), vec![(medians[0], medians[1])]);

    heading("flat: the same while the bucket is compacted without a pause");
    for (name, (_folder, store)) in [("1,000,000 keys", &large), ("1,000 keys", &small)] {
        let (times, bare) = while_compacting(&runtime, store, &mut bare);
        let longest = times.iter().copied().fold(0.0, f64::max);
        line(name, None, vec![(1.0 / median(times), 1.0 / median(bare))]);
        println!("  the longest of them: {:.1} ms", longest * 1000.0);
    }
}

/// The seconds of single writes to the store and of bare appends, in turns, while another task compacts the store.
fn while_compacting(runtime: &Runtime, store: &YamlStore, bare: &mut Bare) -> (Vec<f64>, Vec<f64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let compacting = runtime.spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                compact(&store).await;
            }
        }
    });
    let times = (0..300).map(|n| (one(runtime, store, n), bare.one())).unzip();
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(compacting).unwrap();
    times
}

fn http() {
    const CONNECTIONS: usize = 64;
    let servers = Servers::http();
    let port = servers.port;
    heading(&format!("http: forms per second posted to kvs serve --http, {CONNECTIONS} connections / bare loop"));
    let post = |n: usize| {
        let form = format!("auth={}&house/sensor-{}={}.{}", servers::SECRET, n % 100, n % 40, n % 10);
        let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: application/x-www-form-urlencoded";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()).into_bytes()
    };
    assert!(load::answer(port, &post(0)).ends_with("\r\n\r\nOK"));
    let ours = || load::load(port, CONNECTIONS, Duration::from_millis(1500), post);
    ours();
    compare("64 connections, with compaction", None, ROUNDS, ours, || Bare::new(folder()).run(WITHOUT_COMPACTION));
    let lone = || load::load(port, 1, Duration::from_millis(1500), post);
    compare("one connection, with compaction", None, ROUNDS, lone, || Bare::new(folder()).run(WITHOUT_COMPACTION));
}
