//! Clients that write and read during a fault, and what each of them was told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::kept_connection::{Answer, Http};

/// The value that is never written again.
pub(super) const STEADY: (&str, &str) = ("/kv/default/steady", "as it was");

/// Each client pauses, because the tests share few processors.
const PAUSE: Duration = Duration::from_millis(4);

/// The length of a value with a file of its own.
const LARGE_BYTES: usize = 70_000;

/// The kinds of clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// Stores new keys.
    Put,
    /// Adds one to a number.
    Count,
    /// Appends to a log.
    Append,
    /// Stores large values, each of which gets a file of its own.
    Large,
    Read,
}

pub(super) const KINDS: [Kind; 5] = [Kind::Put, Kind::Count, Kind::Append, Kind::Large, Kind::Read];

/// How a request ended, as far as its client knows.
#[derive(Clone, Debug)]
pub(super) enum End {
    Done(String),
    /// An error that says that nothing was stored, or of a read.
    Refused(Answer),
    /// An error that says that it may have been done, or no response.
    Unknown,
    /// An error that does not say what happened to the data.
    Unstated(Answer),
}

/// A request and its end.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) turn: usize,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) end: End,
}

impl Attempt {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.end, End::Done(_))
    }

    /// Whether it began and ended in this time.
    pub(super) fn is_within(&self, from: Instant, to: Instant) -> bool {
        self.begun >= from && self.ended <= to
    }
}

/// The requests of all clients so far.
#[derive(Default)]
pub(super) struct Told(Mutex<BTreeMap<Kind, Vec<Attempt>>>);

impl Told {
    /// The requests of a kind.
    pub(super) fn of(&self, kind: Kind) -> Vec<Attempt> {
        self.0.lock().get(&kind).cloned().unwrap_or_default()
    }

    /// Whether the last `number` requests of each kind, which began since then, were all done.
    pub(super) fn all_last_done(&self, number: usize, since: Instant) -> bool {
        let told = self.0.lock();
        KINDS.iter().all(|kind| {
            let last: Vec<_> = told.get(kind).into_iter().flatten().rev().take(number).collect();
            last.len() == number && last.iter().all(|attempt| attempt.begun >= since && attempt.is_done())
        })
    }

    /// How many requests of a kind since then fit.
    pub(super) fn count(&self, kind: Kind, since: Instant, fits: impl Fn(&Attempt) -> bool) -> usize {
        let told = self.0.lock();
        let attempts = told.get(&kind).into_iter().flatten();
        attempts.rev().take_while(|attempt| attempt.begun >= since).filter(|attempt| fits(attempt)).count()
    }
}

/// A large value. Its first bytes are its number.
pub(super) fn large(turn: usize) -> Vec<u8> {
    format!("{turn:010}").into_bytes().repeat(LARGE_BYTES / 10)
}

/// The key to which a turn writes.
pub(super) fn key(kind: Kind, turn: usize) -> String {
    match kind {
        Kind::Put => format!("new/{turn}"),
        Kind::Count => "number".into(),
        Kind::Append => "events".into(),
        Kind::Large => format!("large/{}", turn % 3),
        Kind::Read => "steady".into(),
    }
}

fn ask(http: &mut Http, kind: Kind, turn: usize) -> Option<Answer> {
    let key = key(kind, turn);
    match kind {
        Kind::Put => http.ask("PUT", &format!("/kv/default/{key}"), turn.to_string().as_bytes()),
        Kind::Count => http.ask("POST", &format!("/kv/default/{key}?op=incr"), b""),
        Kind::Append => http.ask("POST", &format!("/log/default/{key}"), turn.to_string().as_bytes()),
        Kind::Large => http.ask("PUT", &format!("/kv/default/{key}"), &large(turn)),
        Kind::Read => http.ask("GET", STEADY.0, b""),
    }
}

fn end(kind: Kind, answer: Option<Answer>) -> End {
    let Some(answer) = answer else { return End::Unknown };
    let text = answer.text();
    match answer.status {
        200..300 if kind == Kind::Read && text != STEADY.1 => End::Unstated(answer),
        200..300 => End::Done(text),
        _ if kind == Kind::Read || text.contains("nothing was ") => End::Refused(answer),
        _ if text.contains("may have been done") || text.contains("may or may not have been stored") => End::Unknown,
        _ => End::Unstated(answer),
    }
}

/// Sends one request after another until `stop` is set.
pub(super) fn work(address: &str, kind: Kind, told: &Told, stop: &AtomicBool) {
    let mut http = Http::new(address);
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let begun = Instant::now();
        let end = end(kind, ask(&mut http, kind, turn));
        let attempt = Attempt { turn, begun, ended: Instant::now(), end };
        told.0.lock().entry(kind).or_default().push(attempt);
        // A large value is a hundred times the work.
        sleep(if kind == Kind::Large { 8 * PAUSE } else { PAUSE });
    }
}
