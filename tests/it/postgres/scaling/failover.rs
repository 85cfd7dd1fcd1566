//! A primary that is killed under clients of two processes, and its synchronous standby that takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::{Answer, Stopping, ask, get, processes, put};
use crate::postgres::Server;
use crate::support::served::Served;

/// How long there is no server that takes writes.
const OUTAGE: Duration = Duration::from_millis(2500);
/// From the promotion until every process serves again.
const BACK: Duration = Duration::from_secs(10);

/// What a client has seen.
#[derive(Default)]
struct Seen {
    /// Counted up: the last number that was acknowledged, or read.
    last: u64,
    /// How many requests were acknowledged, and of how many it is open whether they were done.
    done: u64,
    open: u64,
    /// How many were refused.
    refused: u64,
    /// The longest that one took.
    longest: Duration,
}

impl Seen {
    /// Takes note of an answer; whether it was one that counts. Every other has to say what to do.
    fn note(&mut self, answer: &Answer, took: Duration, writes: bool) -> bool {
        self.longest = self.longest.max(took);
        match answer.status {
            200 | 201 => {
                self.done += 1;
                return true;
            }
            503 => {
                assert!(answer.field("retry-after").parse::<u64>().is_ok_and(|seconds| seconds <= 2), "{answer:?}");
                assert!(answer.body.contains("nothing was done, try again"), "{answer:?}");
                self.refused += 1;
            }
            500 if writes => {
                assert!(answer.body.contains("read the key before you write again"), "{answer:?}");
                self.open += 1;
            }
            _ => panic!("{answer:?}"),
        }
        sleep(Duration::from_millis(20));
        false
    }
}

/// Stores numbers under a key of its own, or counts it up, until it is told to stop.
fn write(kvs: &Served, n: usize, stop: &AtomicBool) -> Seen {
    let (mut seen, mut next) = (Seen::default(), 0);
    let key = format!("/kv/default/w{n}");
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        next += 1;
        let answer = match n % 3 {
            0 => put(kvs, &key, &next.to_string()),
            1 => ask(kvs, "POST", &format!("{key}?op=incr"), &[], ""),
            _ => {
                let form = [("Content-Type", "application/x-www-form-urlencoded")];
                ask(kvs, "POST", "/", &form, &format!("w{n}={next}&x{n}={next}"))
            }
        };
        if seen.note(&answer, begun.elapsed(), true) {
            seen.last = if n % 3 == 1 { answer.body.parse().unwrap() } else { next };
        }
    }
    seen
}

/// Reads what a writer writes: it never goes back, and is never gone.
fn read(kvs: &Served, n: usize, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let answer = get(kvs, &format!("/kv/default/w{n}"));
        if answer.status == 404 && seen.done == 0 {
            continue;
        }
        if seen.note(&answer, begun.elapsed(), false) {
            let number = answer.body.parse().unwrap();
            assert!(number >= seen.last, "{number} was read after {}", seen.last);
            seen.last = number;
        }
    }
    seen
}

/// Waits for news of a key, again and again, as clients do, and returns how often its wait ended in another way than with
/// the news or with the end of its time.
fn wait(kvs: &Served, due: &str, stop: &AtomicBool) -> u64 {
    let mut ended = 0;
    let mut tag = get(kvs, "/kv/default/poll").tag().trim_matches('"').to_owned();
    while !stop.load(Ordering::SeqCst) {
        let answer = get(kvs, &format!("/kv/default/poll?wait=20&seen={tag}"));
        match answer.status {
            200 if answer.body == due => return ended,
            200 => answer.tag().trim_matches('"').clone_into(&mut tag),
            304 => {}
            503 => {
                assert!(!answer.field("retry-after").is_empty(), "{answer:?}");
                ended += 1;
                sleep(Duration::from_millis(50));
            }
            _ => panic!("{answer:?}"),
        }
    }
    panic!("it never came");
}

/// How long it takes until each process serves reads and writes.
fn back(ends: &[Served; 2]) -> Duration {
    let begun = Instant::now();
    for kvs in ends {
        while put(kvs, "/kv/default/probe", "1").status >= 500 || get(kvs, "/kv/default/probe").status != 200 {
            assert!(begun.elapsed() < BACK, "not back");
        }
    }
    begun.elapsed()
}

#[test]
fn clients_of_two_processes_lose_nothing_when_the_primary_is_killed() {
    let mut primary = Server::start("shared_buffers = 32MB\nfsync = off\ndynamic_shared_memory_type = mmap");
    let standby = primary.standby();
    let ends = processes::<2>(&primary.pair_url(&standby));
    put(&ends[0], "/kv/default/poll", "before");
    let stop = AtomicBool::new(false);
    scope(|scope| {
        let (ends, stop) = (&ends, &stop);
        let stopping = Stopping(stop);
        let writers: Vec<_> = (0..16).map(|n| scope.spawn(move || write(&ends[n % 2], n, stop))).collect();
        let readers: Vec<_> = (0..4).map(|n| scope.spawn(move || read(&ends[n % 2], n, stop))).collect();
        let waiters: Vec<_> = (0..6).map(|n| scope.spawn(move || wait(&ends[n % 2], "after", stop))).collect();
        sleep(Duration::from_secs(1));
        primary.kill();
        sleep(OUTAGE);
        let readiness = ends.each_ref().map(|kvs| (get(kvs, "/livez").status, get(kvs, "/readyz").status));
        assert_eq!(readiness, [(200, 503); 2], "who spreads requests is told");
        standby.psql("SELECT pg_promote()");
        let took = back(ends);
        println!("served again {took:?} after the promotion");
        sleep(Duration::from_secs(1));
        let begun = Instant::now();
        assert_eq!(put(&ends[0], "/kv/default/poll", "after").status, 200);
        let ended: u64 = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        println!("all who waited heard of it after {:?}; {ended} waits were ended with 503", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
        drop(stopping);
        let written: Vec<Seen> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        for (n, seen) in written.iter().enumerate() {
            let stands =
                |key: &str| get(&ends[n / 2 % 2], &format!("/kv/default/{key}{n}")).body.parse::<u64>().unwrap();
            let last = stands("w");
            assert!(last >= seen.last, "w{n}: {} was acknowledged, {last} stands", seen.last);
            match n % 3 {
                1 => assert!(
                    (seen.done..=seen.done + seen.open).contains(&last),
                    "w{n}: {last}, {} done, {} open",
                    seen.done,
                    seen.open
                ),
                2 => assert_eq!(stands("x"), last, "a form is whole or not there"),
                _ => {}
            }
        }
        let read: Vec<Seen> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        for (who, all) in [("writers", &written), ("readers", &read)] {
            let sum = |of: fn(&Seen) -> u64| all.iter().map(of).sum::<u64>();
            let longest = all.iter().map(|seen| seen.longest).max().unwrap();
            let (done, refused, open) = (sum(|seen| seen.done), sum(|seen| seen.refused), sum(|seen| seen.open));
            println!("{who}: {done} done, {refused} told to try again, {open} open, the longest took {longest:?}");
            assert!(all.iter().all(|seen| seen.done > 0) && refused > 0, "an outage of seconds is felt by {who}");
        }
    });
}

/// A primary whose standby has gone, and a process.
fn without_standby() -> (Server, Served) {
    let primary = Server::start("shared_buffers = 32MB\nfsync = off");
    let standby = primary.standby();
    let kvs = Served::start(&["--store", &primary.pair_url(&standby), "--lock-timeout", "1s"]);
    assert_eq!(put(&kvs, "/kv/default/k", "1").status, 201);
    (primary, kvs)
}

/// What an administrator does who can do without.
fn do_without(primary: &Server) {
    primary.psql("ALTER SYSTEM RESET synchronous_standby_names");
    primary.psql("SELECT pg_reload_conf()");
}

#[test]
fn without_its_standby_a_primary_acknowledges_nothing_and_answers_reads() {
    let (primary, kvs) = without_standby();
    scope(|scope| {
        let first = scope.spawn(|| put(&kvs, "/kv/default/k", "2"));
        sleep(Duration::from_millis(500));
        let second = put(&kvs, "/kv/default/k", "3");
        assert_eq!((second.status, second.field("retry-after")), (503, "1"), "{second:?}");
        let found = get(&kvs, "/kv/default/k");
        assert_eq!((found.status, found.body.as_str()), (200, "1"), "what is not on the standby is not seen");
        assert!(!first.is_finished(), "it would be acknowledged by one server alone");
        do_without(&primary);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(get(&kvs, "/kv/default/k").body, "2");
    assert_eq!(put(&kvs, "/kv/default/k", "3").status, 200);
}

#[test]
fn a_commit_that_nobody_answers_is_open_and_not_done_twice() {
    let (primary, kvs) = without_standby();
    for (target, body) in [("/kv/default/n?op=incr", ""), ("/kv/default/log?op=append", "x")] {
        let answer = scope(|scope| {
            let count = scope.spawn(|| ask(&kvs, "POST", target, &[], body));
            let waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'kvs'";
            while primary.psql(&format!("SELECT count(*) {waits}")) != "1" {
                sleep(Duration::from_millis(20));
            }
            primary.psql(&format!("SELECT pg_terminate_backend(pid) {waits}"));
            count.join().unwrap()
        });
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(answer.body.contains("read the key before you write again"), "{answer:?}");
    }
    do_without(&primary);
    assert_eq!(
        ["n", "log"].map(|key| get(&kvs, &format!("/kv/default/{key}")).body),
        ["1", "x"],
        "they were done, once"
    );
}
