//! Runs a fault under writers and readers, and checks what they were told, what the log, `/status` and `/readyz` say,
//! that the server goes on by itself when the fault is over, and that the data is what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use kvs::layers::LargeValues;
use kvs::model::{Bucket, Key, LogQuery, Scan};
use kvs::store::{Limits, Logs as _, Severity, Store as _, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use super::clients::{Attempt, End, KINDS, Kind, STEADY, Told, key, large, work};
use super::kept_connection::Http;
use super::machine::Machine;
use super::table::{Expected, Fault, NOT_CHECKED, REQUESTS};
use crate::support::tally::Tally;

/// The longest time for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// The flags of the server.
pub(super) const FLAGS: &[&str] = &["--lock-timeout", "3s"];

/// The times of a fault.
pub(super) struct Times {
    /// Before it began.
    pub(super) calm: Instant,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) recovered: Instant,
}

/// Runs it with a new server.
pub(super) fn run(fault: &Fault) -> Tally {
    let machine = Machine::start(fault.disk, FLAGS);
    let mut http = Http::new(&machine.served.address);
    // From now on it has a connection, which it needs where no other one is accepted.
    assert_eq!(http.ask("GET", "/readyz", b"").unwrap().status, 200, "{}", fault.name);
    let told = Told::default();
    let times = under_load(&machine, &told, || pass(fault, &machine, &told, &mut http));
    check_responses(fault, &told, &times);
    let mut wrong = vec![];
    let tally = check_data(&machine, &told, &times, &mut wrong);
    assert!(wrong.is_empty(), "{}: {wrong:#?}\n{}", fault.name, machine.served.log());
    tally
}

/// Does something while clients of each kind are at work.
pub(super) fn under_load<T>(machine: &Machine, told: &Told, act: impl FnOnce() -> T) -> T {
    let (address, stop) = (&machine.served.address, AtomicBool::new(false));
    let mut http = Http::new(address);
    for (target, value) in
        [(STEADY.0, STEADY.1.as_bytes()), ("/kv/default/large/0", &large(0)), ("/kv/default/kept", &large(1))]
    {
        assert!(http.ask("PUT", target, value).is_some_and(|answer| answer.status < 300), "{target}");
    }
    scope(|scope| {
        for kind in KINDS {
            let stop = &stop;
            scope.spawn(move || work(address, kind, told, stop));
        }
        let _stop = StopOnDrop(&stop);
        act()
    })
}

/// Stops the clients, also if a check fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Begins the fault, waits until it is known everywhere, ends it, and waits until everything works again.
fn pass(fault: &Fault, machine: &Machine, told: &Told, http: &mut Http) -> Times {
    let wait = |what: &str, happened: &mut dyn FnMut() -> bool| {
        let start = Instant::now();
        while !happened() {
            let log = || machine.served.log();
            assert!(start.elapsed() < PATIENCE, "{}: waited in vain for {what}\n{}", fault.name, log());
            sleep(Duration::from_millis(25));
        }
    };
    let all = |since: Instant, fits: &dyn Fn(&Attempt) -> bool| {
        KINDS.into_iter().all(|kind| told.count(kind, since, fits) >= REQUESTS)
    };
    let started = Instant::now();
    wait("the load", &mut || all(started, &Attempt::is_done));
    let calm = Instant::now();
    let undo = (fault.begin)(machine);
    let begun = Instant::now();
    wait("requests during the fault", &mut || {
        // The connection is kept, because there may be no other one.
        let _ = http.ask("GET", "/livez", b"");
        KINDS.into_iter().all(|kind| told.count(kind, begun, |_| true) >= fault.requests)
    });
    let is_refused = |attempt: &Attempt| matches!(attempt.end, End::Refused(_));
    wait("a refused write", &mut || {
        fault.puts != Expected::IfThereIsRoom || told.count(Kind::Put, begun, is_refused) > 0
    });
    let log = |text: &str| text.lines().any(|line| fault.log.iter().all(|word| line.contains(word)));
    wait("a line in the log", &mut || {
        let _ = http.ask("GET", "/livez", b"");
        fault.log.is_empty() || log(&machine.served.log())
    });
    if fault.status != NOT_CHECKED {
        check_status(fault, machine, http, &wait);
    }
    let ended = Instant::now();
    undo(machine);
    wait("all requests to succeed again", &mut || told.all_last_done(REQUESTS, ended));
    let recovered = Instant::now();
    wait("/status to be ok", &mut || {
        http.ask("GET", "/status", b"").is_some_and(|answer| answer.text().starts_with("ok"))
    });
    assert_eq!(http.ask("GET", "/readyz", b"").unwrap().status, 200, "{}", fault.name);
    wait("requests after the fault", &mut || all(recovered, &|_| true));
    Times { calm, begun, ended, recovered }
}

/// Waits until `/status` reports the fault, and checks `/readyz`.
fn check_status(fault: &Fault, machine: &Machine, http: &mut Http, wait: &dyn Fn(&str, &mut dyn FnMut() -> bool)) {
    let mut last = String::new();
    wait(&format!("/status {:?}", fault.status), &mut || {
        let Some(answer) = http.ask("GET", "/status", b"") else { return false };
        let is_right =
            (answer.status, true) == (fault.status.0, fault.status.1.iter().all(|word| answer.text().contains(word)));
        if !is_right && last != answer.text() {
            last = answer.text();
            eprintln!("{}: /status is {} {last}", fault.name, answer.status);
        }
        is_right
    });
    if fault.ready == 0 {
        return;
    }
    let ready = http.ask("GET", "/readyz", b"").unwrap().status;
    assert_eq!(ready, fault.ready, "{}: /readyz\n{}", fault.name, machine.served.log());
}

/// Compares what the clients were told during the fault with what is documented.
fn check_responses(fault: &Fault, told: &Told, times: &Times) {
    for (kind, expected) in [
        (Kind::Put, fault.puts),
        (Kind::Count, fault.puts),
        (Kind::Append, fault.appends),
        (Kind::Large, fault.large),
        (Kind::Read, fault.reads),
    ] {
        let attempts = told.of(kind);
        for attempt in attempts.iter().filter(|attempt| attempt.is_within(times.begun, times.ended)) {
            assert!(expected.fits(&attempt.end), "{}: {kind:?} is not {expected:?}: {attempt:?}", fault.name);
        }
        let unstated = attempts.iter().find_map(|attempt| match &attempt.end {
            End::Unstated(answer) => Some(answer),
            _ => None,
        });
        assert!(unstated.is_none() || expected == Expected::Any, "{}: {kind:?}: {unstated:?}", fault.name);
    }
}

/// The entries and the log, as another process finds them.
struct Found {
    /// With the large values.
    entries: BTreeMap<String, Vec<u8>>,
    log: Vec<String>,
}

fn found(machine: &Machine, wrong: &mut Vec<String>) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(YamlStore::open(machine.data(), YamlOptions::default()).unwrap());
        let whole = LargeValues::new(store.clone(), Limits::default()).unwrap();
        let bucket = Bucket::default();
        let page = whole.scan(&bucket, Scan { limit: usize::MAX, ..Scan::default() }).await.unwrap();
        let entries = page.entries.into_iter().map(|(key, entry)| (key.to_string(), entry.unwrap().value.to_vec()));
        let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
        let log = store.read_log(&bucket, &Key::new("events").unwrap(), query).await.unwrap().unwrap();
        let log = log.entries.iter().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()).collect();
        let findings = store.maintain(&bucket, Task::Check).await.unwrap().findings;
        wrong.extend(findings.iter().filter(|f| f.severity == Severity::Damage).map(|f| format!("{f:?}")));
        Found { entries: entries.collect(), log }
    })
}

/// Compares the data with what the clients were told.
pub(super) fn check_data(machine: &Machine, told: &Told, times: &Times, wrong: &mut Vec<String>) -> Tally {
    let found = found(machine, wrong);
    let mut tally = Tally { faults: 1, ..Tally::default() };
    for kind in KINDS {
        let attempts = told.of(kind);
        let is_undisturbed = |a: &&Attempt| a.ended < times.calm || a.begun > times.recovered;
        let failed = attempts.iter().filter(|attempt| !attempt.is_done()).filter(is_undisturbed).count();
        tally.failed += failed as u64;
        if failed > 0 {
            let first = attempts.iter().filter(|attempt| !attempt.is_done()).find(is_undisturbed);
            wrong.push(format!("{kind:?}: {failed} failed without a fault: {first:?}"));
        }
        if kind != Kind::Read {
            tally.acknowledged += attempts.iter().filter(|attempt| attempt.is_done()).count() as u64;
        }
        let before = wrong.len();
        match kind {
            Kind::Put => check_puts(&attempts, &found, wrong),
            Kind::Count => check_number(&attempts, &found, wrong),
            Kind::Append => check_log(&attempts, &found, wrong),
            Kind::Large => check_large(&attempts, &found, wrong),
            Kind::Read => {}
        }
        tally.lost += (wrong.len() - before) as u64;
    }
    tally
}

fn check_puts(attempts: &[Attempt], found: &Found, wrong: &mut Vec<String>) {
    for attempt in attempts {
        let key = key(Kind::Put, attempt.turn);
        let value = found.entries.get(&key);
        let is_right = value.is_some_and(|value| *value == attempt.turn.to_string().as_bytes());
        let fits = match &attempt.end {
            End::Done(_) => is_right,
            End::Refused(_) => value.is_none(),
            End::Unknown | End::Unstated(_) => value.is_none() || is_right,
        };
        if !fits {
            wrong.push(format!("{key} is {value:?} after {attempt:?}"));
        }
    }
}

/// Each increment was done once, or not at all if its client does not know.
fn check_number(attempts: &[Attempt], found: &Found, wrong: &mut Vec<String>) {
    let numbers: Vec<u64> = attempts
        .iter()
        .filter_map(|attempt| if let End::Done(text) = &attempt.end { text.trim().parse().ok() } else { None })
        .collect();
    if numbers.windows(2).any(|two| two[0] >= two[1]) {
        wrong.push(format!("a number was returned twice: {numbers:?}"));
    }
    let unknown = attempts.iter().filter(|a| matches!(a.end, End::Unknown | End::Unstated(_))).count();
    let last: usize = found.entries.get("number").map_or(0, |v| String::from_utf8_lossy(v).parse().unwrap());
    if !(numbers.len()..=numbers.len() + unknown).contains(&last) {
        wrong.push(format!("the number is {last} after {} increments and {unknown} unknown ones", numbers.len()));
    }
}

fn check_log(attempts: &[Attempt], found: &Found, wrong: &mut Vec<String>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for entry in &found.log {
        *counts.entry(entry).or_default() += 1;
    }
    for attempt in attempts {
        let count = counts.get(attempt.turn.to_string().as_str()).copied().unwrap_or(0);
        let fits = match &attempt.end {
            End::Done(_) => count == 1,
            End::Refused(_) => count == 0,
            End::Unknown | End::Unstated(_) => count <= 1,
        };
        if !fits {
            wrong.push(format!("the log has entry {} {count} times after {attempt:?}", attempt.turn));
        }
    }
}

/// The last large value of each key is one that was acknowledged, or a later one whose client does not know.
fn check_large(attempts: &[Attempt], found: &Found, wrong: &mut Vec<String>) {
    for number in 0..3 {
        let key = key(Kind::Large, number);
        let of_key: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.turn % 3 == number).collect();
        let last_done = of_key.iter().rposition(|attempt| attempt.is_done()).unwrap_or(0);
        let allowed = of_key[last_done..].iter().filter(|attempt| !matches!(attempt.end, End::Refused(_)));
        let value = found.entries.get(&key);
        if !allowed.into_iter().any(|attempt| value == Some(&large(attempt.turn))) {
            let begin = value.map(|value| String::from_utf8_lossy(&value[..value.len().min(20)]).into_owned());
            wrong.push(format!("{key} begins with {begin:?}; its last write is {:?}", of_key.last()));
        }
    }
}
