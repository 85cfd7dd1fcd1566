//! Clients that count, read and append while something happens to the server, and what they were told.

use std::io::{Read as _, Write as _};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

use crate::client::{Answer, connect};
use crate::servers::Server;
use crate::site::SECRET;

/// The number that all writers increment.
const NUMBER: &str = "/kv/default/number";

/// After this time a client gives up. At a graceful restart `mod_fcgid` may hold a request for ever that it has not given
/// to kvs yet.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a client pauses after a failure, so that it does not count the same fault many times.
const PAUSE: Duration = Duration::from_millis(50);

/// How many requests must succeed before and after a deed.
const REQUESTS: usize = 12;

/// What clients were told.
#[derive(Clone, Default, Debug)]
pub(super) struct Told {
    /// The numbers that increments returned.
    pub(super) numbers: Vec<u64>,
    /// Increments that may have been done.
    pub(super) unknown: usize,
    /// How often the server was too busy, and said that nothing was done.
    pub(super) busy: usize,
    pub(super) reads: usize,
    /// All other responses: what they were.
    pub(super) failed: Vec<String>,
}

impl AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.numbers.extend(other.numbers);
        self.unknown += other.unknown;
        self.busy += other.busy;
        self.reads += other.reads;
        self.failed.extend(other.failed);
    }
}

/// A request without a body, with the secret.
pub(super) fn request(method: &str, target: &str) -> Vec<u8> {
    request_with(method, target, b"")
}

/// A request with the secret.
pub(super) fn request_with(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    [format!("{head}\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

/// The present number.
pub(super) fn number(server: &Server) -> u64 {
    let answer = server.send(&request("GET", NUMBER));
    if answer.status == 404 { 0 } else { answer.text().parse().unwrap_or_else(|_| panic!("{answer:?}")) }
}

/// The signals of a test to its clients, and from them.
#[derive(Default)]
struct Signals {
    stop: AtomicBool,
    /// How many requests have succeeded.
    done: AtomicUsize,
}

impl Signals {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until the clients have made some more requests that succeed.
    fn wait_for_requests(&self, server: &Server) {
        let (before, start) = (self.done.load(Ordering::Relaxed), Instant::now());
        while self.done.load(Ordering::Relaxed) < before + REQUESTS {
            assert!(start.elapsed() < Duration::from_secs(60), "no request succeeds\n{}", server.site.logs());
            sleep(Duration::from_millis(10));
        }
    }
}

fn ask(port: u16, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(port).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = vec![];
    _ = stream.write_all(request);
    _ = stream.read_to_end(&mut received);
    Answer::from_wire(&received, false)
}

fn count(port: u16, signals: &Signals) -> Told {
    let mut told = Told::default();
    while !signals.is_over() {
        match ask(port, &request("POST", &format!("{NUMBER}?op=incr"))) {
            Some(answer) if answer.status == 200 && answer.whole => {
                told.numbers.push(answer.text().parse().unwrap());
                signals.add();
            }
            Some(answer) if answer.text().contains("nothing was ") => told.busy += 1,
            other => {
                told.unknown += 1;
                told.failed.push(describe(other));
                sleep(PAUSE);
            }
        }
    }
    told
}

fn read(port: u16, signals: &Signals) -> Told {
    let mut told = Told::default();
    while !signals.is_over() {
        match ask(port, &request("GET", "/?k=steady")) {
            Some(answer) if answer.status == 200 && answer.whole && answer.body == b"as it was" => {
                told.reads += 1;
                signals.add();
            }
            other => {
                told.failed.push(describe(other));
                sleep(PAUSE);
            }
        }
    }
    told
}

fn describe(answer: Option<Answer>) -> String {
    let Some(answer) = answer else { return "closed without a response".into() };
    let from = if answer.text().contains("DOCTYPE HTML") { "the web server" } else { "kvs" };
    format!("{} of {from}, whole: {}: {:.60}", answer.status, answer.whole, answer.text())
}

/// Runs three writers and two readers while `act` works on the server, and until requests succeed again. Afterwards each increment was done exactly once,
/// or at most once if its client does not know.
pub(super) fn under_load(server: &mut Server, act: impl FnOnce(&mut Server)) -> Told {
    assert!(server.send(&request_with("PUT", "/kv/default/steady", b"as it was")).status < 300);
    let (signals, port, before) = (Signals::default(), server.port, number(server));
    let told = scope(|scope| {
        let clients = spawn(scope, port, &signals);
        let stopping = StopOnDrop(&signals.stop);
        signals.wait_for_requests(server);
        act(server);
        signals.wait_for_requests(server);
        drop(stopping);
        let mut told = Told::default();
        for client in clients {
            told += client.join().unwrap();
        }
        told
    });
    check(server, before, &told);
    told
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    port: u16,
    signals: &'scope Signals,
) -> Vec<ScopedJoinHandle<'scope, Told>> {
    let writers = (0..3).map(|_| scope.spawn(move || count(port, signals)));
    let mut clients: Vec<_> = writers.collect();
    clients.extend((0..2).map(|_| scope.spawn(move || read(port, signals))));
    clients
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check(server: &Server, before: u64, told: &Told) {
    let mut numbers = told.numbers.clone();
    numbers.sort_unstable();
    let twice: Vec<_> = numbers.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "returned twice: {twice:?}");
    let done = told.numbers.len() as u64;
    // A request that nobody waits for may still be running.
    let start = Instant::now();
    let is_right = |now: u64| (before + done..=before + done + told.unknown as u64).contains(&now);
    while !is_right(number(server)) {
        let now = number(server);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{now} after {before}, {done} increments and {} unknown ones\n{}",
            told.unknown,
            server.site.logs()
        );
        sleep(Duration::from_millis(50));
    }
}

/// Waits for something with a deadline.
#[track_caller]
pub(super) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}
