//! The store on PostgreSQL against the crate pgkv 0.1, on one server, by the groups of pgkv's own benchmarks.
//! `bench/README.md` explains each line.
//!
//! What always holds: both sides are clients of one thread and one connection unless a line says otherwise. Both use
//! the same Unix socket, and tables of the same kind (logged or unlogged) with the same entries.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends at the first fault")]

mod comparison;
#[path = "../tests/it/postgres/server.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod server;

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::model::Scan;
use kvs::postgres::{PostgresOptions, PostgresStore};
use pgkv::{Config, ScanOptions, TableType, TtlCleanupStrategy};

use comparison::{compare, heading, rate};
use server::Server;

/// Many short turns, so that other load on the machine affects both sides equally.
const ROUNDS: usize = 161;
/// The time of each side in a round, if a call does not take longer.
const TURN: Duration = Duration::from_millis(5);
/// The number of keys to read, as in the benchmarks of pgkv.
const KEYS: usize = 1000;
/// kvs must not be slower.
const GOAL: Option<f64> = Some(1.0);

fn main() {
    if !comparison::is_benchmark() {
        return;
    }
    // The default settings of the server: it syncs, and responds after that.
    let server = Rc::new(Server::start(""));
    for (mode, kind) in [("unlogged", TableType::Unlogged), ("regular", TableType::Regular)] {
        let bench = Bench { server: Rc::clone(&server), mode, kind };
        let groups: [(&str, Group); 11] = [
            ("get", Bench::get),
            ("exists", Bench::exists),
            ("set", Bench::set),
            ("increment", Bench::increment),
            ("delete", Bench::delete),
            ("ttl", Bench::ttl),
            ("get_many", Bench::get_many),
            ("scan", Bench::scan),
            ("mixed", Bench::mixed),
            ("set_many", Bench::set_many),
            ("together", Bench::together),
        ];
        heading(&format!("calls per second of kvs / of pgkv 0.1, both on {mode} tables"));
        for (name, group) in groups {
            if comparison::is_selected(&format!("{name} {mode}")) {
                group(&bench);
            }
        }
    }
}

/// A group of the benchmarks of pgkv.
type Group = fn(&Bench);

/// A server, and the kind of the tables.
struct Bench {
    server: Rc<Server>,
    mode: &'static str,
    kind: TableType,
}

/// Both sides, each with its own table.
struct Pair {
    ours: kvs::blocking::Client,
    peer: pgkv::Store,
}

impl Bench {
    fn url(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        self.server.url(&format!("mode={}&table=ours_{}", self.mode, COUNT.fetch_add(1, Ordering::Relaxed)))
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
        let store = PostgresStore::open(&self.url(), PostgresOptions::default()).unwrap();
        Pair { ours: kvs::blocking::Client::new(Arc::new(store)).unwrap(), peer: self.peer() }
    }

    /// Both with the same thousand keys.
    fn filled(&self, prefix: &str) -> Pair {
        let pair = self.empty();
        let items = items(prefix, 0..KEYS);
        pair.ours.set_many(&items).unwrap();
        pair.peer.set_many(&slices(&items)).unwrap();
        pair
    }

    fn get(&self) {
        let Pair { ours, peer } = self.filled("key_");
        for (what, name) in [("existing", existing as fn(usize) -> String), ("missing", missing)] {
            race(
                &format!("get, {what} key"),
                GOAL,
                turns(|n| ours.get(&name(n)).unwrap()),
                turns(|n| peer.get(&name(n)).unwrap()),
            );
        }
    }

    fn exists(&self) {
        let Pair { ours, peer } = self.filled("key_");
        for (what, name) in [("existing", existing as fn(usize) -> String), ("missing", missing)] {
            race(
                &format!("exists, {what} key"),
                GOAL,
                turns(|n| assert_eq!(ours.exists(&name(n)).unwrap(), what == "existing")),
                turns(|n| assert_eq!(peer.exists(&name(n)).unwrap(), what == "existing")),
            );
        }
    }

    fn set(&self) {
        for size in [64, 256, 1024, 4096, 16384] {
            let Pair { ours, peer } = self.empty();
            let value = value(size);
            race(
                &format!("set, {size} bytes"),
                GOAL,
                turns(|n| ours.set(&format!("key_{n}"), value.clone()).unwrap()),
                turns(|n| peer.set(&format!("key_{n}"), &value).unwrap()),
            );
        }
        let Pair { ours, peer } = self.empty();
        let value = value(256);
        race(
            "set, 256 bytes, the same key",
            GOAL,
            turns(|_| ours.set("hotkey", value.clone()).unwrap()),
            turns(|_| peer.set("hotkey", &value).unwrap()),
        );
    }

    fn increment(&self) {
        let Pair { ours, peer } = self.empty();
        race(
            "increment",
            GOAL,
            turns(|n| assert_eq!(ours.increment("counter", 1).unwrap(), i64::try_from(n).unwrap() + 1)),
            turns(|n| assert_eq!(peer.increment("counter", 1).unwrap(), i64::try_from(n).unwrap() + 1)),
        );
    }

    fn delete(&self) {
        let Pair { ours, peer } = self.empty();
        // The deleted keys are stored before the measured time.
        let items = items("key_", 0..200);
        let of_ours = || {
            ours.set_many(&items).unwrap();
            let start = Instant::now();
            assert!(items.iter().all(|(key, _)| ours.delete(key).unwrap()));
            rate(items.len(), start)
        };
        let of_peer = || {
            peer.set_many(&slices(&items)).unwrap();
            let start = Instant::now();
            assert!(items.iter().all(|(key, _)| peer.delete(key).unwrap()));
            rate(items.len(), start)
        };
        of_ours();
        of_peer();
        race("delete", GOAL, of_ours, of_peer);
    }

    fn ttl(&self) {
        const MINUTE: Duration = Duration::from_secs(60);
        let Pair { ours, peer } = self.filled("key_");
        let value = value(256);
        race(
            "set_ex, 256 bytes",
            GOAL,
            turns(|n| ours.set_ex(&format!("ttl_key_{n}"), value.clone(), MINUTE).unwrap()),
            turns(|n| peer.set_ex(&format!("ttl_key_{n}"), &value, MINUTE).unwrap()),
        );
        race(
            "expire",
            GOAL,
            turns(|n| assert!(ours.expire(&existing(n), MINUTE).unwrap())),
            turns(|n| assert!(peer.expire(&existing(n), MINUTE).unwrap())),
        );
        race(
            "ttl",
            GOAL,
            turns(|n| assert!(ours.ttl(&format!("ttl_key_{}", n % 100)).unwrap().is_some())),
            turns(|n| assert!(peer.ttl(&format!("ttl_key_{}", n % 100)).unwrap().is_some())),
        );
        race(
            "persist",
            GOAL,
            turns(|n| assert!(ours.persist(&existing(n)).unwrap())),
            turns(|n| assert!(peer.persist(&existing(n)).unwrap())),
        );
    }

    fn get_many(&self) {
        let Pair { ours, peer } = self.filled("key_");
        for count in [10, 50, 100, 500] {
            let keys: Vec<String> = (0..count).map(existing).collect();
            let slices: Vec<&str> = keys.iter().map(String::as_str).collect();
            race(
                &format!("get_many, {count} keys"),
                GOAL,
                turns(|_| assert_eq!(ours.get_many(&slices).unwrap().len(), count)),
                turns(|_| assert_eq!(peer.get_many(&slices).unwrap().len(), count)),
            );
        }
    }

    fn scan(&self) {
        let Pair { ours, peer } = self.filled("user:");
        for limit in [10, 50, 100, 500] {
            let query = || Scan { prefix: "user:".to_owned(), limit, ..Scan::default() };
            let options = || ScanOptions::new().prefix("user:").limit(limit);
            race(
                &format!("scan, a page of {limit}"),
                GOAL,
                turns(|_| assert_eq!(ours.scan(query()).unwrap().entries.len(), limit)),
                turns(|_| assert_eq!(peer.scan(options()).unwrap().len(), limit)),
            );
        }
    }

    fn mixed(&self) {
        let Pair { ours, peer } = self.filled("key_");
        let value = value(256);
        for (reads, each) in [(80, 5), (50, 2), (95, 20)] {
            race(
                &format!("mixed, {reads} gets to {} sets", 100 - reads),
                GOAL,
                turns(|n| {
                    if n.is_multiple_of(each) {
                        ours.set(&existing(n), value.clone()).unwrap();
                    } else {
                        ours.get(&existing(n)).unwrap();
                    }
                }),
                turns(|n| {
                    if n.is_multiple_of(each) {
                        peer.set(&existing(n), &value).unwrap();
                    } else {
                        peer.get(&existing(n)).unwrap();
                    }
                }),
            );
        }
    }

    fn set_many(&self) {
        for (count, goal) in [(10, GOAL), (50, GOAL), (100, Some(20.0)), (500, GOAL)] {
            let Pair { ours, peer } = self.empty();
            let items = items("key_", 0..count);
            race(
                &format!("set_many, {count} keys"),
                goal,
                turns(|_| ours.set_many(&items).unwrap()),
                turns(|_| peer.set_many(&slices(&items)).unwrap()),
            );
        }
    }

    fn together(&self) {
        const CLIENTS: usize = 64;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let ours = Client::new(Arc::new(PostgresStore::open(&self.url(), PostgresOptions::default()).unwrap()));
        let peer = self.peer();
        let (items, value) = (items("key_", 0..KEYS), value(256));
        runtime.block_on(ours.set_many(&items)).unwrap();
        peer.set_many(&slices(&items)).unwrap();
        for (what, each) in [("set", 1), ("80 gets to 20 sets", 5), ("get", usize::MAX)] {
            let crowd = || {
                let start = Instant::now();
                let client = |c: usize| {
                    let (client, value) = (ours.clone(), value.clone());
                    runtime.spawn(async move {
                        let mut done = 0;
                        while start.elapsed() < TURN {
                            if (done + c + 1).is_multiple_of(each) {
                                client.set(&existing(done * 7 + c), value.clone()).await.unwrap();
                            } else {
                                client.get(&existing(done * 7 + c)).await.unwrap();
                            }
                            done += 1;
                        }
                        done
                    })
                };
                let clients: Vec<_> = (0..CLIENTS).map(client).collect();
                let done = clients.into_iter().map(|client| runtime.block_on(client).unwrap()).sum();
                rate(done, start)
            };
            crowd();
            race(
                &format!("{CLIENTS} clients at once / one connection, {what}"),
                Some(5.0),
                crowd,
                turns(|n| {
                    if (n + 1).is_multiple_of(each) {
                        peer.set(&existing(n), &value).unwrap();
                    } else {
                        peer.get(&existing(n)).unwrap();
                    }
                }),
            );
        }
    }
}

/// Compares both sides in turns.
fn race(name: &str, goal: Option<f64>, ours: impl FnMut() -> f64, peer: impl FnMut() -> f64) {
    compare(name, goal, ROUNDS, ours, peer);
}

/// A side that repeats `act` for the time of a turn, each time with the next number. Returns calls per second.
fn turns<T>(mut act: impl FnMut(usize) -> T) -> impl FnMut() -> f64 {
    let mut next = 0;
    let mut turn = move |time: Duration| {
        let (start, first) = (Instant::now(), next);
        while start.elapsed() < time {
            black_box(act(next));
            next += 1;
        }
        rate(next - first, start)
    };
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

fn items(prefix: &str, range: std::ops::Range<usize>) -> Vec<(String, Vec<u8>)> {
    range.map(|n| (format!("{prefix}{n}"), value(256))).collect()
}

fn slices(items: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    items.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect()
}
