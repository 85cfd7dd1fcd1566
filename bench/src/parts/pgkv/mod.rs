//! The store on PostgreSQL against the crate pgkv 0.1, on one server, by the groups of pgkv's own benchmarks.
//!
//! What always holds: both sides are clients of one thread and one connection unless a row says otherwise. Both use the
//! same Unix socket, and tables of the same kind (logged or unlogged) with the same entries.

mod groups;
#[path = "../../../../tests/it/postgres/server.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod server;

use std::hint::black_box;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvs::postgres::{PostgresOptions, PostgresStore};
use pgkv::{Config, TableType, TtlCleanupStrategy};

use self::groups::GROUPS;
use self::server::Server;
use crate::row::Row;
use crate::run::Run;
use crate::turns::repeat;

/// Why a group may be below 1.0: only some `get_many` were in any run.
const CLOSE: &str =
    "both sides take about the same time, and two runs differ by more; for `get_many` see bench/README.md";
const PART: &str = "pgkv";
/// The time of each side in a round, if a call does not take longer.
const TURN: Duration = Duration::from_millis(5);
/// The number of keys to read, as in the benchmarks of pgkv.
const KEYS: usize = 1000;

pub(crate) fn measure(run: &mut Run) {
    // Many short turns, so that other load on the machine affects both sides equally.
    let rounds = if run.options.quick { 11 } else { 161 };
    // The default settings of the server: it syncs, and responds after that.
    let server = Rc::new(Server::start(""));
    for (mode, kind) in [("unlogged", TableType::Unlogged), ("regular", TableType::Regular)] {
        for (name, group) in GROUPS {
            if run.options.includes(PART, name) {
                let bench = Bench { server: Rc::clone(&server), mode, kind, rounds };
                for row in group(&bench) {
                    run.add(row);
                }
            }
        }
    }
}

/// A server, and the kind of the tables.
struct Bench {
    server: Rc<Server>,
    mode: &'static str,
    kind: TableType,
    rounds: usize,
}

/// Both sides, each with its own table.
struct Pair {
    ours: kvs::blocking::Client,
    peer: pgkv::Store,
}

impl Bench {
    /// A store of kvs with its own table.
    fn store(&self) -> PostgresStore {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let url = self.server.url(&format!("mode={}&table=ours_{number}", self.mode));
        PostgresStore::open(&url, PostgresOptions::default()).unwrap()
    }

    fn peer(&self) -> pgkv::Store {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let place =
            format!("host={} port={} user=kvs dbname=postgres", self.server.folder().display(), self.server.port());
        let config = Config::new(place)
            .table_name(format!("peer_{}", COUNT.fetch_add(1, Ordering::Relaxed)))
            .table_type(self.kind)
            .ttl_cleanup_strategy(TtlCleanupStrategy::Manual);
        pgkv::Store::with_config(config).unwrap()
    }

    fn empty(&self) -> Pair {
        Pair { ours: kvs::blocking::Client::new(Arc::new(self.store())).unwrap(), peer: self.peer() }
    }

    /// Both with the same thousand keys.
    fn filled(&self, prefix: &str) -> Pair {
        let pair = self.empty();
        let items = items(prefix, 0..KEYS);
        pair.ours.set_many(&items).unwrap();
        pair.peer.set_many(&slices(&items)).unwrap();
        pair
    }

    /// The definition of a row; kvs must not be slower.
    fn row(&self, work: &str) -> Row {
        Row::new(PART, format!("{work}, {}", self.mode), "pgkv").goal(1.0).if_short(CLOSE)
    }

    /// Compares both sides in turns.
    fn race(&self, work: &str, ours: impl FnMut() -> f64, peer: impl FnMut() -> f64) -> Row {
        self.row(work).compare(self.rounds, ours, peer)
    }
}

/// A side that repeats `act` for the time of a turn, each time with the next number. Returns calls per second.
fn turns<T>(mut act: impl FnMut(usize) -> T) -> impl FnMut() -> f64 {
    let mut next = 0;
    let mut turn = move |time: Duration| repeat(time, &mut next, |number| drop(black_box(act(number))));
    // The first call, which connects and prepares, is not measured.
    turn(20 * TURN);
    move || turn(TURN)
}

fn existing(n: usize) -> String {
    format!("key_{}", n % KEYS)
}

fn missing(n: usize) -> String {
    format!("missing_{n}")
}

/// Bytes that cannot be compressed.
fn value(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

fn items(prefix: &str, range: Range<usize>) -> Vec<(String, Vec<u8>)> {
    range.map(|n| (format!("{prefix}{n}"), value(256))).collect()
}

fn slices(items: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    items.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect()
}
