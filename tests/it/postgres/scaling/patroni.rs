//! Patroni replaces the primary without a person while clients write: PostgreSQL crashes, its machine crashes, and an
//! administrator switches over. `docs/patroni.md` has the figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::model::{Error, ErrorKind};
use tokio::task::JoinSet;

use crate::postgres::client;
use crate::postgres::cluster::Cluster;

const WRITERS: usize = 32;
/// The longest time from the promotion to the first acknowledgement.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time until every writer has one. Other tests may run at the same time.
const ALL_TIMEOUT: Duration = Duration::from_secs(20);

/// What the test and its writers share.
struct Course {
    started: Instant,
    /// When each writer got its last acknowledgement, in microseconds after `started`; 0: never.
    last: Vec<AtomicU64>,
    stop: AtomicBool,
}

impl Course {
    fn new() -> Arc<Self> {
        let last = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { started: Instant::now(), last, stop: AtomicBool::new(false) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap()
    }

    /// Waits until every writer has had an acknowledgement since now. Returns the time.
    async fn all_acknowledged(&self) -> Duration {
        let (since, started) = (self.now(), Instant::now());
        let is_acknowledged = |last: &AtomicU64| last.load(Ordering::SeqCst) > since;
        while !self.last.iter().any(is_acknowledged) {
            assert!(started.elapsed() < RECOVERY_TIMEOUT, "no writer was served within {RECOVERY_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        while !self.last.iter().all(is_acknowledged) {
            assert!(started.elapsed() < ALL_TIMEOUT, "a writer was not served within {ALL_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        started.elapsed()
    }
}

/// What a writer did.
struct Written {
    name: String,
    /// The numbers of the acknowledged writes.
    done: Vec<u64>,
    /// How many writes have an open outcome, and how many were refused.
    open: usize,
    refused: usize,
    longest: Duration,
}

impl Written {
    /// Half of the writers increment a number. The others store each value under a new key.
    fn increments(n: usize) -> bool {
        n % 2 == 1
    }

    /// Counts an error. It must say what the client must do.
    fn note(&mut self, error: &Error) {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Busy => {
                assert!(error.is_retryable() && text.contains("try again"), "{text}");
                self.refused += 1;
            }
            ErrorKind::Unavailable => {
                assert!(error.is_outcome_unknown(), "{text}");
                assert!(text.contains("read the key before you write again"), "{text}");
                self.open += 1;
            }
            _ => panic!("{text}"),
        }
    }
}

/// Writes until the course stops.
async fn write(client: Client, round: &'static str, n: usize, course: Arc<Course>) -> Written {
    let name = format!("{round}/{n}");
    let mut written = Written { name, done: vec![], open: 0, refused: 0, longest: Duration::ZERO };
    for number in 1.. {
        if course.stop.load(Ordering::SeqCst) {
            break;
        }
        let started = Instant::now();
        let result = if Written::increments(n) {
            client.increment(&written.name, 1).await.map(drop)
        } else {
            client.set(&format!("{}/{number}", written.name), number.to_string()).await.map(drop)
        };
        written.longest = written.longest.max(started.elapsed());
        match result {
            Ok(()) => {
                written.done.push(number);
                course.last[n].store(course.now(), Ordering::SeqCst);
            }
            Err(error) => written.note(&error),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    written
}

/// Reads back everything that a writer wrote.
async fn check(client: Client, n: usize, written: Arc<[Written]>) {
    let Written { name, done, open, .. } = &written[n];
    assert!(!done.is_empty(), "{name}");
    if Written::increments(n) {
        let stored: usize = client.get_string(name).await.unwrap().unwrap().parse().unwrap();
        let possible = done.len()..=done.len() + open;
        assert!(possible.contains(&stored), "{name}: {stored} is stored, {} done, {open} open", done.len());
        return;
    }
    for number in done {
        let stored = client.get_string(&format!("{name}/{number}")).await.unwrap();
        assert_eq!(stored, Some(number.to_string()), "{name}/{number} was acknowledged");
    }
}

/// Checks all rounds so far: a failover must not lose what an earlier primary has acknowledged.
async fn check_all(client: &Client, rounds: &[Arc<[Written]>]) {
    let mut checks = JoinSet::new();
    for written in rounds {
        for n in 0..WRITERS {
            checks.spawn(check(client.clone(), n, Arc::clone(written)));
        }
    }
    checks.join_all().await;
}

/// Runs writers while `replace` gives the cluster another primary, and returns what they wrote.
async fn under_writers(client: &Client, round: &'static str, replace: impl FnOnce()) -> Arc<[Written]> {
    let course = Course::new();
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        writers.spawn(write(client.clone(), round, n, Arc::clone(&course)));
    }
    course.all_acknowledged().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    replace();
    let (promoted, served) = (started.elapsed(), course.all_acknowledged().await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    course.stop.store(true, Ordering::SeqCst);
    let mut all = writers.join_all().await;
    // In the order of the writers, not of their ends.
    all.sort_by_key(|written| written.name.rsplit('/').next().unwrap().parse::<usize>().unwrap());
    let sum = |of: fn(&Written) -> usize| all.iter().map(of).sum::<usize>();
    let longest = all.iter().map(|written| written.longest).max().unwrap();
    println!(
        "{round}: another primary after {promoted:?}, every writer was served {served:?} later; {} done, {} refused, \
         {} open, the longest took {longest:?}",
        sum(|written| written.done.len()),
        sum(|written| written.refused),
        sum(|written| written.open)
    );
    all.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_write_is_lost_when_patroni_replaces_the_primary() {
    let mut cluster = Cluster::start();
    let client = client(&cluster.url());
    client.set("begin", "1").await.unwrap();
    let mut rounds = vec![];
    for round in ["crash", "kill", "switch"] {
        cluster.wait_until_synchronous();
        let primary = cluster.primary().unwrap();
        let written = under_writers(&client, round, || match round {
            "crash" => {
                cluster.nodes[primary].crash();
                cluster.wait_for_successor(primary);
            }
            "kill" => {
                cluster.nodes[primary].kill();
                cluster.wait_for_successor(primary);
            }
            _ => std::thread::scope(|scope| {
                scope.spawn(|| cluster.switch_over());
                cluster.wait_for_successor(primary);
            }),
        })
        .await;
        rounds.push(written);
        check_all(&client, &rounds).await;
        if round == "kill" {
            cluster.nodes[primary].restart();
        }
    }
}
