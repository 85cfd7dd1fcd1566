//! The primary is killed while clients use two processes, and its synchronous standby takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::{Answer, StopOnDrop, ask, get, processes, put};
use crate::postgres::Server;
use crate::support::served::Served;

/// The time without a server that accepts writes.
const OUTAGE: Duration = Duration::from_millis(2500);
/// The longest time from the promotion until every process works again.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The responses that a client got.
#[derive(Default)]
struct Seen {
    /// The last number that was acknowledged, or read. It grows.
    last: u64,
    /// The number of acknowledged requests, and of those with an open outcome.
    done: u64,
    open: u64,
    /// The number of requests with 503.
    refused: u64,
    /// The longest time of a request.
    longest: Duration,
}

impl Seen {
    /// Records a response. Returns whether it is a success. Checks that every error says what the client must do.
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

/// Stores growing numbers under its own key, or increments it, until `stop` is set.
fn write(kvs: &Served, n: usize, stop: &AtomicBool) -> Seen {
    let (mut seen, mut next) = (Seen::default(), 0);
    let key = format!("/kv/default/w{n}");
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        next += 1;
        let answer = match n % 3 {
            0 => put(kvs, &key, &next.to_string()),
            1 => ask(kvs, "POST", &format!("{key}?op=incr"), &[], ""),
            _ => {
                let form = [("Content-Type", "application/x-www-form-urlencoded")];
                ask(kvs, "POST", "/", &form, &format!("w{n}={next}&x{n}={next}"))
            }
        };
        if seen.note(&answer, start.elapsed(), true) {
            seen.last = if n % 3 == 1 { answer.body.parse().unwrap() } else { next };
        }
    }
    seen
}

/// Reads the key of a writer. The number must not decrease, and must not disappear.
fn read(kvs: &Served, n: usize, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        let answer = get(kvs, &format!("/kv/default/w{n}"));
        if answer.status == 404 && seen.done == 0 {
            continue;
        }
        if seen.note(&answer, start.elapsed(), false) {
            let number = answer.body.parse().unwrap();
            assert!(number >= seen.last, "{number} was read after {}", seen.last);
            seen.last = number;
        }
    }
    seen
}

/// Waits for a key by long polls until it has the value `expected`. Returns the number of long polls that ended with
/// 503.
fn wait(kvs: &Served, expected: &str, stop: &AtomicBool) -> u64 {
    let mut ended = 0;
    let mut tag = get(kvs, "/kv/default/poll").tag().trim_matches('"').to_owned();
    while !stop.load(Ordering::SeqCst) {
        let answer = get(kvs, &format!("/kv/default/poll?wait=20&seen={tag}"));
        match answer.status {
            200 if answer.body == expected => return ended,
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
    panic!("the value was never returned");
}

/// Waits until each process serves reads and writes. Returns the time.
fn wait_until_recovered(both: &[Served; 2]) -> Duration {
    let start = Instant::now();
    for kvs in both {
        while put(kvs, "/kv/default/probe", "1").status >= 500 || get(kvs, "/kv/default/probe").status != 200 {
            assert!(start.elapsed() < RECOVERY_TIMEOUT, "not recovered");
        }
    }
    start.elapsed()
}

#[test]
fn clients_lose_nothing_when_the_primary_is_killed() {
    let mut primary = Server::start("shared_buffers = 32MB\nfsync = off\ndynamic_shared_memory_type = mmap");
    let standby = primary.standby();
    let both = processes::<2>(&primary.pair_url(&standby));
    put(&both[0], "/kv/default/poll", "before");
    let stop = AtomicBool::new(false);
    scope(|scope| {
        let (both, stop) = (&both, &stop);
        let guard = StopOnDrop(stop);
        let writers: Vec<_> = (0..16).map(|n| scope.spawn(move || write(&both[n % 2], n, stop))).collect();
        let readers: Vec<_> = (0..4).map(|n| scope.spawn(move || read(&both[n % 2], n, stop))).collect();
        let waiters: Vec<_> = (0..6).map(|n| scope.spawn(move || wait(&both[n % 2], "after", stop))).collect();
        sleep(Duration::from_secs(1));
        primary.kill();
        sleep(OUTAGE);
        let readiness = both.each_ref().map(|kvs| (get(kvs, "/livez").status, get(kvs, "/readyz").status));
        assert_eq!(readiness, [(200, 503); 2], "a load balancer sees that they are not ready");
        standby.promote();
        let took = wait_until_recovered(both);
        println!("served again {took:?} after the promotion");
        sleep(Duration::from_secs(1));
        let start = Instant::now();
        assert_eq!(put(&both[0], "/kv/default/poll", "after").status, 200);
        let ended: u64 = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        println!("all long polls were answered after {:?}; {ended} long polls ended with 503", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
        drop(guard);
        let written: Vec<Seen> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        for (n, seen) in written.iter().enumerate() {
            let stored =
                |key: &str| get(&both[n / 2 % 2], &format!("/kv/default/{key}{n}")).body.parse::<u64>().unwrap();
            let last = stored("w");
            assert!(last >= seen.last, "w{n}: {} was acknowledged, {last} is stored", seen.last);
            match n % 3 {
                1 => assert!(
                    (seen.done..=seen.done + seen.open).contains(&last),
                    "w{n}: {last}, {} done, {} open",
                    seen.done,
                    seen.open
                ),
                2 => assert_eq!(stored("x"), last, "a form was stored in part"),
                _ => {}
            }
        }
        let read: Vec<Seen> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        for (who, all) in [("writers", &written), ("readers", &read)] {
            let sum = |of: fn(&Seen) -> u64| all.iter().map(of).sum::<u64>();
            let longest = all.iter().map(|seen| seen.longest).max().unwrap();
            let (done, refused, open) = (sum(|seen| seen.done), sum(|seen| seen.refused), sum(|seen| seen.open));
            println!("{who}: {done} done, {refused} with 503, {open} open, the longest took {longest:?}");
            assert!(all.iter().all(|seen| seen.done > 0) && refused > 0, "the outage caused no error for the {who}");
        }
    });
}

/// A primary whose standby was stopped, and a process.
fn without_standby() -> (Server, Served) {
    let primary = Server::start("shared_buffers = 32MB\nfsync = off");
    let standby = primary.standby();
    let kvs = Served::start(&["--store", &primary.pair_url(&standby), "--lock-timeout", "1s"]);
    assert_eq!(put(&kvs, "/kv/default/k", "1").status, 201);
    (primary, kvs)
}

/// Makes the primary work without the standby, as an administrator does.
fn disable_standby(primary: &Server) {
    primary.psql("ALTER SYSTEM RESET synchronous_standby_names");
    primary.psql("SELECT pg_reload_conf()");
}

#[test]
fn without_a_standby_reads_work_and_no_write_is_acknowledged() {
    let (primary, kvs) = without_standby();
    scope(|scope| {
        let first = scope.spawn(|| put(&kvs, "/kv/default/k", "2"));
        sleep(Duration::from_millis(500));
        let second = put(&kvs, "/kv/default/k", "3");
        assert_eq!((second.status, second.field("retry-after")), (503, "1"), "{second:?}");
        let found = get(&kvs, "/kv/default/k");
        assert_eq!((found.status, found.body.as_str()), (200, "1"), "a write that is not on the standby is visible");
        assert!(!first.is_finished(), "the write was acknowledged by one server alone");
        disable_standby(&primary);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(get(&kvs, "/kv/default/k").body, "2");
    assert_eq!(put(&kvs, "/kv/default/k", "3").status, 200);
}

#[test]
fn an_unacknowledged_commit_is_not_repeated() {
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
    disable_standby(&primary);
    assert_eq!(
        ["n", "log"].map(|key| get(&kvs, &format!("/kv/default/{key}")).body),
        ["1", "x"],
        "they were done, once"
    );
}
