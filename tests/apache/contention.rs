//! Many concurrent processes on one bucket: programs that Apache starts, a separate server, the command line, and
//! programs that use the library. No acknowledged write is missing, and none is counted twice.
//!
//! The workers are this binary, run again with the name of the test as the filter and the folder in the environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvs::client::{CasOutcome, Client};
use kvs::model::{Bucket, Entry, Scan};
use kvs::store::{Severity, Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::client::{Answer, try_send};
use crate::script::form;
use crate::servers::{Server, Way};

/// The variable with the folder of the data, for workers.
const FOLDER: &str = "KVS_TEST_FOLDER";
const TEST: &str = "contention::concurrent_processes_lose_no_increments_and_no_posts";

const WORKERS: usize = 4;
const INCREMENTS: usize = 50_000;
const _: () = assert!(INCREMENTS.is_multiple_of(WORKERS));

/// The number of clients of Apache, and of the server next to it.
const POSTERS: usize = 3;

/// A deterministic random number generator.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

pub(crate) fn open(folder: &Path) -> YamlStore {
    YamlStore::open(folder, YamlOptions::default()).unwrap()
}

/// All entries of the bucket, as text.
pub(crate) async fn everything(store: &YamlStore) -> BTreeMap<String, String> {
    let page = store.scan(&Bucket::default(), Scan { limit: usize::MAX, ..Scan::default() }).await.unwrap();
    let entries = page.entries;
    let text = |entry: Option<Entry>| String::from_utf8(entry.unwrap().value.to_vec()).unwrap();
    entries.into_iter().map(|(key, entry)| (key.to_string(), text(entry))).collect()
}

/// Adds one to the counter `times` times, each time by compare-and-swap.
async fn count(folder: &Path, times: usize) {
    let client = Client::new(Arc::new(open(folder)));
    let mut seen: Option<String> = client.get_string("counter").await.unwrap();
    let mut done = 0;
    while done < times {
        let next = seen.as_deref().map_or(0, |text| text.parse::<u64>().unwrap()) + 1;
        let swapped = client.compare_and_swap("counter", seen.as_deref().map(str::as_bytes), next.to_string()).await;
        if swapped.as_ref().is_err_and(kvs::model::Error::is_retryable) {
            // Nothing was done. On a busy machine others may hold the bucket for long.
            continue;
        }
        match swapped.unwrap() {
            CasOutcome::Swapped => {
                done += 1;
                seen = Some(next.to_string());
            }
            CasOutcome::Mismatch(found) => seen = found.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()),
        }
    }
}

fn worker(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Stores one new pair after another until `stop` is set. Returns the acknowledged keys.
fn post(port: u16, name: &str, stop: &AtomicBool) -> Vec<String> {
    let mut stored = vec![];
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{name}/{turn}");
        match try_send(port, &form(&format!("{key}={name}&shared={key}"))) {
            Some(Answer { status: 200, whole: true, .. }) => stored.push(key),
            // 503 asks the client to try again. If no request succeeds, the count at the end shows it.
            Some(answer) if answer.status == 503 => {}
            answer => panic!("{name}: {answer:?}"),
        }
    }
    stored
}

/// The same by `kvs set`, with a process for each write.
fn set(folder: &Path, stop: &AtomicBool) -> Vec<String> {
    let mut stored = vec![];
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("cli/{turn}");
        let output = Command::new(env!("CARGO_BIN_EXE_kvs"))
            .args(["set", &key, "cli", "--store", &format!("yaml:{}", folder.display())])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stored.push(key);
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_processes_lose_no_increments_and_no_posts() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return count(Path::new(&folder), INCREMENTS / WORKERS).await;
    }
    let apache = Server::start(Way::ModFcgid);
    let (second_port, mut second_server) = apache.serve_second();
    // The first write creates the folder, so that it belongs to the user of the web server.
    assert_eq!(apache.send(&form("first=1")).status, 200);
    let folder = apache.site.root().join("data");

    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let mut programs = 0;
    let stored: Vec<(&str, Vec<String>)> = thread::scope(|scope| {
        let (stop, folder) = (&stop, &folder);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| worker(folder)).collect();
        let mut posters = vec![("command line", scope.spawn(|| set(folder, stop)))];
        for n in 0..POSTERS {
            let (first, second) = (apache.port, second_port);
            posters.push(("Apache", scope.spawn(move || post(first, &format!("apache{n}"), stop))));
            posters.push(("second server", scope.spawn(move || post(second, &format!("http{n}"), stop))));
        }
        while workers.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            programs = programs.max(apache.site.programs().len());
            thread::sleep(Duration::from_millis(100));
            if start.elapsed() > Duration::from_secs(600) {
                for child in &mut workers {
                    _ = child.kill();
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        for child in workers {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        posters.into_iter().map(|(who, poster)| (who, poster.join().unwrap())).collect()
    });
    let took = start.elapsed();
    second_server.kill().unwrap();
    second_server.wait().unwrap();

    // Apache's programs and the second server. With the workers and the command line there are eight or more.
    assert!(programs >= 3, "only {programs} programs of the site ran at once");
    let store = open(&folder);
    let found = everything(&store).await;
    assert_eq!(found["counter"], INCREMENTS.to_string());
    for (who, keys) in &stored {
        assert!(keys.len() > 5, "{who}: only {} were stored", keys.len());
        let missing: Vec<_> = keys.iter().filter(|key| !found.contains_key(*key)).collect();
        assert!(missing.is_empty(), "{who}: {} acknowledged and missing: {missing:?}", missing.len());
    }
    assert!(found.len() >= stored.iter().map(|(_, keys)| keys.len()).sum::<usize>());
    let findings = store.maintain(&Bucket::default(), Task::Check).await.unwrap().findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
    let counts: Vec<_> = stored.iter().map(|(who, keys)| format!("{} by {who}", keys.len())).collect();
    eprintln!("{INCREMENTS} increments and {} posts took {took:?}, {programs} programs", counts.join(", "));
}
