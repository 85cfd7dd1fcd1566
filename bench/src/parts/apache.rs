//! Reads through Apache with FastCGI, compared with two small programs that answer from memory.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::client;
use crate::places;
use crate::row::Row;
use crate::run::Run;
use crate::servers::{CONNECTIONS, Mode, Servers};
use crate::turns::{float, in_turns};
use crate::wrk::Load;

const PART: &str = "apache";
const QUERY: &str = "?k=kitchen/temp";
/// The clock of `/proc/PID/stat`, in microseconds.
const TICK_MICROSECONDS: usize = 10_000;

/// Why a goal is not met.
const CACHES: &str = "kvs looks at the data file for each request (`statx`), and the peer answers from memory; and more of \
                      the code of kvs is no longer in the nearest caches when its process has its next turn \
                      (bench/README.md)";

/// A way to run FastCGI programs, and its name in the table.
struct Way {
    mode: Mode,
    group: &'static str,
    work: &'static str,
    /// Whether the table has a row with processor time.
    with_time: bool,
}

const WAYS: [Way; 3] = [
    Way { mode: Mode::Fcgid, group: "fcgid", work: "GET, mod_fcgid", with_time: true },
    Way { mode: Mode::Proxy, group: "proxy", work: "GET, mod_proxy_fcgi without reuse", with_time: false },
    Way { mode: Mode::ProxyWithReuse, group: "reuse", work: "GET, mod_proxy_fcgi with reuse", with_time: true },
];

const PEERS: [(&str, &str); 2] = [("c", "C on libfcgi"), ("rust", "Rust on the crate fastcgi")];

/// The figures of one turn.
struct Turn {
    per_second: f64,
    /// Microseconds of processor time of the program for each response.
    processor: f64,
}

pub(crate) fn measure(run: &mut Run) {
    for way in &WAYS {
        if run.options.includes(PART, way.group) {
            through(run, way);
        }
    }
}

fn through(run: &mut Run, way: &Way) {
    let (rounds, turn) = (run.options.rounds(), run.options.turn());
    let mut servers = Servers::site(0);
    let compiled = servers.path("run/peer");
    places::compile("libfcgi.c", &["fcgi"], &compiled);
    servers.place("c", &compiled);
    servers.place("rust", &places::rust_fastcgi());
    servers.start_apache(way.mode, &PEERS.map(|(name, _)| name));
    let port = servers.port;
    servers.store("/ours", "kitchen/temp", "21.5");
    let shape = |place: &str| client::shape(&client::answer(port, &client::get(&format!("/{place}/{QUERY}"))));
    // The processes of mod_fcgid start when they are needed.
    for place in ["ours", "c", "rust"] {
        assert_eq!(shape("ours"), shape(place), "{place}: not the same job");
        let report = load(port, place).run(2 * turn);
        assert!(place != "ours" || report.failed == 0, "{}: kvs failed {} times", way.work, report.failed);
    }
    for (place, peer) in PEERS {
        let unavailable = Cell::new(0);
        let ours = || measured(&servers, "ours", turn, &unavailable);
        let theirs = || measured(&servers, place, turn, &unavailable);
        let figures = in_turns(rounds, ours, theirs);
        let note = (unavailable.get() > 0)
            .then(|| format!("Apache answered {} requests to the peer with 503", unavailable.get()));
        let rates = figures.iter().map(|(ours, peer)| (ours.per_second, peer.per_second));
        let row = Row::new(PART, way.work, peer).goal(1.0).if_short(CACHES);
        run.add(row.note(note).measured(rates));
        if way.with_time && place == "c" {
            let times = figures.iter().map(|(ours, peer)| (ours.processor, peer.processor));
            let row = Row::new("apache cpu", way.work, peer).less_is_better("us CPU").goal(1.25).if_short(CACHES);
            run.add(row.measured(times));
        }
    }
}

fn load(port: u16, place: &str) -> Load {
    Load::get(port, &format!("/{place}/{QUERY}"), CONNECTIONS)
}

/// One turn. kvs must answer all requests; the failed requests of a peer are counted.
fn measured(servers: &Servers, place: &str, time: Duration, unavailable: &Cell<usize>) -> Turn {
    let before = processor_microseconds(servers, place);
    let report = load(servers.port, place).run(time);
    let spent = processor_microseconds(servers, place).saturating_sub(before);
    if place == "ours" {
        assert_eq!(report.failed, 0, "failed responses of kvs");
    } else {
        unavailable.set(unavailable.get() + report.failed);
    }
    let answered = report.responses - report.failed;
    Turn { per_second: report.rate(), processor: float(spent) / float(answered.max(1)) }
}

/// The processor time that all processes of a program have used so far.
fn processor_microseconds(servers: &Servers, place: &str) -> usize {
    servers.processes(place).iter().map(|process| ticks(process) * TICK_MICROSECONDS).sum()
}

/// The fields `utime` and `stime` of a process, which include all its threads.
fn ticks(process: &Path) -> usize {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name of the program, in parentheses, may contain spaces.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<usize>().ok()).sum()
}
