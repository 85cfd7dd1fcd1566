//! Concurrent use of a real folder: handles of one process, several processes, and killed processes.
//!
//! A test that needs other processes runs this binary again, with its own name as the filter and the task in the
//! environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kvs::model::{Batch, Condition, Entry, Outcome, Revision};
use kvs::store::{Severity, Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::yaml::fixtures::{all, bucket, expect, key, pair, put, values};
use crate::yaml::formats::{bytes as formats, pyyaml};

/// The task of a process that a test starts: the folder and its number.
const PART: &str = "KVS_TEST_PART";

pub(super) fn part() -> Option<(String, usize)> {
    let part = std::env::var(PART).ok()?;
    let (number, folder) = part.split_once(':').unwrap();
    Some((folder.to_owned(), number.parse().unwrap()))
}

/// Starts this test again as another process.
pub(super) fn start(test: &str, folder: &Path, number: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(PART, format!("{number}:{}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// With a long timeout: on a busy machine a sync, and so the wait for another process, may take seconds.
pub(super) fn real(folder: &Path) -> YamlStore {
    YamlStore::open(folder, YamlOptions { lock_timeout: Duration::from_secs(60), ..YamlOptions::default() }).unwrap()
}

const PROCESSES: usize = 8;
const TASKS: usize = 2;
const INCREMENTS: usize = 50_000;

const _: () = assert!(INCREMENTS.is_multiple_of(PROCESSES * TASKS));

/// Reads, adds one, and writes unless another process wrote in between; repeats until it succeeds.
async fn increment(store: &YamlStore, name: &str) {
    loop {
        let found = store.get(&bucket(), &[key(name)]).await.unwrap().entries.pop().unwrap();
        let number = |entry: &Entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap();
        let condition = match &found {
            Some(entry) => Condition::RevisionIn(vec![entry.revision]),
            None => Condition::Absent,
        };
        let next = found.as_ref().map_or(0, number) + 1;
        let batch = Batch::new(vec![put(name, next.to_string())]).with_expectations(vec![expect(name, condition)]);
        if let Outcome::Committed { .. } = store.apply(&bucket(), batch).await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_of_eight_processes_are_exact() {
    if let Some((folder, _)) = part() {
        let store = real(Path::new(&folder));
        let each = INCREMENTS / PROCESSES / TASKS;
        let task = |store: YamlStore| async move {
            for _ in 0..each {
                increment(&store, "counter").await;
            }
        };
        let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task(store.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let test = "yaml::processes::increments_of_eight_processes_are_exact";
    let children: Vec<_> = (0..PROCESSES).map(|n| start(test, folder.path(), n)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let took = started.elapsed();
    let store = real(folder.path());
    assert_eq!(values(&store), BTreeMap::from([("counter".to_owned(), INCREMENTS.to_string())]));
    eprintln!("{INCREMENTS} increments by {PROCESSES} processes took {took:?}");
    assert!(took < Duration::from_secs(270), "{took:?}");
}

/// Pairs that one process writes over and over.
const SLOTS: usize = 40;

/// Writes pairs until it is killed, and prints each acknowledged one.
async fn write_until_killed(folder: &str, number: usize) {
    let store = real(Path::new(folder));
    let first = number * 1_000_000;
    let task = |store: YamlStore, task: usize| async move {
        for n in 0.. {
            let slot = (n * 4 + task) % SLOTS;
            let value = format!("{:012} {}", first + n, "filler ".repeat(20));
            let name = number % WRITERS * 100 + slot;
            let batch = Batch::new(pair(name, &value));
            store.apply(&bucket(), batch).await.unwrap();
            // One call, so that a kill does not cut the line.
            std::io::stdout().write_all(format!("acknowledged {name} {}\n", first + n).as_bytes()).unwrap();
        }
    };
    let tasks: Vec<_> = (0..4).map(|n| tokio::spawn(task(store.clone(), n))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

const ROUNDS: usize = 40;
const WRITERS: usize = 3;

/// The numbers of the pairs. Checks that none is torn.
fn pairs(store: &YamlStore) -> BTreeMap<usize, usize> {
    let found = values(store);
    let number = |value: &str| value.split(' ').next().unwrap().parse::<usize>().unwrap();
    for (name, value) in &found {
        let other = if let Some(n) = name.strip_prefix('a') { format!("b{n}") } else { name.replace('b', "a") };
        assert_eq!(found.get(&other), Some(value), "{name} and {other} are torn");
    }
    found.iter().filter_map(|(name, value)| Some((name.strip_prefix('a')?.parse().unwrap(), number(value)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_the_kill_of_their_writer() {
    if let Some((folder, number)) = part() {
        return write_until_killed(&folder, number).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let watching = real(folder.path());
    let mut seed = crate::support::disks::seed::Seed::new(std::process::id().into());
    let mut known: BTreeMap<usize, usize> = BTreeMap::new();
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        let test = "yaml::processes::acknowledged_writes_survive_the_kill_of_their_writer";
        let mut children: Vec<_> = (0..WRITERS).map(|n| start(test, folder.path(), round * WRITERS + n)).collect();
        let outputs: Vec<_> = children.iter_mut().map(|child| child.stdout.take().unwrap()).collect();
        let outputs: Vec<_> = outputs.into_iter().map(|out| std::thread::spawn(move || listen(out))).collect();
        let end = Instant::now() + Duration::from_millis(60 + seed.next() % 140);
        while Instant::now() < end {
            pairs(&watching);
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for (name, number) in outputs.into_iter().flat_map(|output| output.join().unwrap()) {
            acknowledged += 1;
            let last = known.entry(name).or_default();
            *last = number.max(*last);
        }
        for store in [&watching, &real(folder.path())] {
            let found = pairs(store);
            for (name, number) in &known {
                assert!(
                    found.get(name) >= Some(number),
                    "round {round}: pair {name}: {:?} < {number}",
                    found.get(name)
                );
            }
        }
        if round % 8 == 0 {
            // A write sets the torn tail of the killed writer aside.
            watching.apply(&bucket(), Batch::new(pair(0, "000000000000"))).await.unwrap();
            known.remove(&0);
            assert_eq!(pyyaml(&folder.path().join("default.yaml")), formats(&watching), "round {round}");
        }
    }
    eprintln!("{acknowledged} pairs acknowledged in {ROUNDS} rounds");
    assert!(acknowledged > ROUNDS * 10, "only {acknowledged}");
    let findings = watching.maintain(&bucket(), Task::Check).await.unwrap().findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
}

/// What a writer printed until it was killed: pairs and their numbers.
fn listen(out: impl std::io::Read) -> Vec<(usize, usize)> {
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    let acknowledged = |line: String| {
        let (_, numbers) = line.split_once("acknowledged ")?;
        let (name, number) = numbers.split_once(' ')?;
        Some((name.parse().ok()?, number.parse().ok()?))
    };
    lines.filter_map(acknowledged).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_of_one_handle_is_seen_by_the_next_read_of_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..4).map(|_| real(folder.path())).collect();
    for n in 0..400 {
        let writer = &stores[n % 3];
        let Outcome::Committed { revision, .. } = writer.apply(&bucket(), put_of(n)).await.unwrap() else { panic!() };
        for store in &stores {
            let found = store.get(&bucket(), &[key("k")]).await.unwrap();
            assert_eq!(found.entries[0].as_ref().unwrap().value, n.to_string());
            assert_eq!(found.revision, revision);
        }
        if n % 50 == 49 {
            stores[n % 4].maintain(&bucket(), Task::Compact).await.unwrap();
        }
    }
}

fn put_of(n: usize) -> Batch {
    Batch::new(vec![put("k", n.to_string())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_of_one_handle_soon_wakes_waiters_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, waiter) = (real(folder.path()), real(folder.path()));
    let (mut since, mut times) = (Revision::ZERO, vec![]);
    for n in 0..11 {
        // The first waiter waits for a bucket that does not exist yet.
        let waiting = waiter.clone();
        let woken = tokio::spawn(async move { (waiting.changed(&bucket(), since).await.unwrap(), Instant::now()) });
        tokio::time::sleep(Duration::from_millis(70)).await;
        assert!(!woken.is_finished());
        let Outcome::Committed { revision, .. } = writer.apply(&bucket(), put_of(n)).await.unwrap() else { panic!() };
        let written = Instant::now();
        let (seen, at) = tokio::time::timeout(Duration::from_secs(20), woken).await.unwrap().unwrap();
        assert_eq!(seen, revision);
        times.push(at.saturating_duration_since(written));
        since = revision;
    }
    // A busy machine may delay one of them, but not most.
    times.sort();
    assert!(times[5] < Duration::from_millis(500), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_by_a_person_soon_wakes_waiters() {
    let folder = tempfile::tempdir().unwrap();
    let store = real(folder.path());
    let Outcome::Committed { revision, .. } = store.apply(&bucket(), put_of(1)).await.unwrap() else { panic!() };
    let waiting = tokio::spawn(async move { store.changed(&bucket(), revision).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(70)).await;
    assert!(!waiting.is_finished());
    let mut file = std::fs::File::options().append(true).open(folder.path().join("default.yaml")).unwrap();
    file.write_all(b"hand: edited\n").unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the edit wakes it").unwrap();
    assert!(woken > revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_runs_while_other_handles_read_and_write() {
    let folder = tempfile::tempdir().unwrap();
    let handles: Vec<_> = (0..3).map(|_| real(folder.path())).collect();
    let end = Instant::now() + Duration::from_secs(3);
    let mut tasks = Vec::new();
    for (n, store) in handles.iter().cloned().enumerate() {
        tasks.push(tokio::spawn(async move {
            let mut written = 0;
            while Instant::now() < end {
                let value = format!("{n} {written} {}", "x".repeat(300));
                let batch = Batch::new(pair(n * 100 + written % 30, &value));
                store.apply(&bucket(), batch).await.unwrap();
                written += 1;
            }
            written
        }));
    }
    let (reader, compactor) = (real(folder.path()), real(folder.path()));
    let reading = tokio::spawn(async move {
        let (mut last, mut reads) = (Revision::ZERO, 0);
        while Instant::now() < end {
            let names: Vec<_> = (0..30).flat_map(|n| [key(&format!("a{n}")), key(&format!("b{n}"))]).collect();
            let found = reader.get(&bucket(), &names).await.unwrap();
            assert!(found.revision >= last);
            last = found.revision;
            let value = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.value.clone());
            assert!(found.entries.chunks(2).all(|pair| value(&pair[0]) == value(&pair[1])));
            reads += 1;
            tokio::task::yield_now().await;
        }
        reads
    });
    let compacting = tokio::spawn(async move {
        let mut done = 0;
        while Instant::now() < end {
            done += usize::from(compactor.maintain(&bucket(), Task::Compact).await.is_ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        done
    });
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    let (reads, compactions) = (reading.await.unwrap(), compacting.await.unwrap());
    eprintln!("{written} writes, {reads} reads, {compactions} compactions requested");
    assert!(written > 100 && reads > 50 && compactions > 5);
    let fresh = all(&real(folder.path())).unwrap();
    for store in handles {
        assert_eq!(all(&store).unwrap(), fresh);
    }
}
