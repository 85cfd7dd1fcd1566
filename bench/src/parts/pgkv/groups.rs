//! The groups of pgkv's own benchmarks: names, sizes and numbers of keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::model::Scan;
use pgkv::ScanOptions;
use tokio::runtime::Builder;

use super::{Bench, KEYS, Pair, TURN, existing, items, missing, slices, turns, value};
use crate::row::Row;
use crate::turns::rate;

/// A group, which measures its rows.
type Group = fn(&Bench) -> Vec<Row>;

pub(super) const GROUPS: [(&str, Group); 11] = [
    ("get", get),
    ("exists", exists),
    ("set", set),
    ("increment", increment),
    ("delete", delete),
    ("ttl", ttl),
    ("get_many", get_many),
    ("scan", scan),
    ("mixed", mixed),
    ("set_many", set_many),
    ("together", together),
];

/// Which keys are read, and their names.
type Names = (&'static str, fn(usize) -> String);

const NAMES: [Names; 2] = [("existing", existing), ("missing", missing)];

fn get(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.filled("key_");
    let row = |(what, name): Names| {
        bench.race(
            &format!("get, {what} key"),
            turns(|n| ours.get(&name(n)).unwrap()),
            turns(|n| peer.get(&name(n)).unwrap()),
        )
    };
    NAMES.map(row).into()
}

fn exists(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.filled("key_");
    let row = |(what, name): Names| {
        bench.race(
            &format!("exists, {what} key"),
            turns(|n| assert_eq!(ours.exists(&name(n)).unwrap(), what == "existing")),
            turns(|n| assert_eq!(peer.exists(&name(n)).unwrap(), what == "existing")),
        )
    };
    NAMES.map(row).into()
}

fn set(bench: &Bench) -> Vec<Row> {
    let row = |size: usize| {
        let Pair { ours, peer } = bench.empty();
        let value = value(size);
        bench.race(
            &format!("set, {size} bytes"),
            turns(|n| ours.set(&format!("key_{n}"), value.clone()).unwrap()),
            turns(|n| peer.set(&format!("key_{n}"), &value).unwrap()),
        )
    };
    let mut rows: Vec<Row> = [64, 256, 1024, 4096, 16384].map(row).into();
    let Pair { ours, peer } = bench.empty();
    let value = value(256);
    rows.push(bench.race(
        "set, 256 bytes, the same key",
        turns(|_| ours.set("hotkey", value.clone()).unwrap()),
        turns(|_| peer.set("hotkey", &value).unwrap()),
    ));
    rows
}

fn increment(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.empty();
    vec![bench.race(
        "increment",
        turns(|n| assert_eq!(ours.increment("counter", 1).unwrap(), i64::try_from(n).unwrap() + 1)),
        turns(|n| assert_eq!(peer.increment("counter", 1).unwrap(), i64::try_from(n).unwrap() + 1)),
    )]
}

fn delete(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.empty();
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
    vec![bench.race("delete", of_ours, of_peer)]
}

fn ttl(bench: &Bench) -> Vec<Row> {
    const MINUTE: Duration = Duration::from_secs(60);
    let Pair { ours, peer } = bench.filled("key_");
    let value = value(256);
    vec![
        bench.race(
            "set_ex, 256 bytes",
            turns(|n| ours.set_ex(&format!("ttl_key_{n}"), value.clone(), MINUTE).unwrap()),
            turns(|n| peer.set_ex(&format!("ttl_key_{n}"), &value, MINUTE).unwrap()),
        ),
        bench.race(
            "expire",
            turns(|n| assert!(ours.expire(&existing(n), MINUTE).unwrap())),
            turns(|n| assert!(peer.expire(&existing(n), MINUTE).unwrap())),
        ),
        bench.race(
            "ttl",
            turns(|n| assert!(ours.ttl(&format!("ttl_key_{}", n % 100)).unwrap().is_some())),
            turns(|n| assert!(peer.ttl(&format!("ttl_key_{}", n % 100)).unwrap().is_some())),
        ),
        bench.race(
            "persist",
            turns(|n| assert!(ours.persist(&existing(n)).unwrap())),
            turns(|n| assert!(peer.persist(&existing(n)).unwrap())),
        ),
    ]
}

fn get_many(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.filled("key_");
    let row = |count: usize| {
        let keys: Vec<String> = (0..count).map(existing).collect();
        let slices: Vec<&str> = keys.iter().map(String::as_str).collect();
        bench.race(
            &format!("get_many, {count} keys"),
            turns(|_| assert_eq!(ours.get_many(&slices).unwrap().len(), count)),
            turns(|_| assert_eq!(peer.get_many(&slices).unwrap().len(), count)),
        )
    };
    [10, 50, 100, 500].map(row).into()
}

fn scan(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.filled("user:");
    let row = |limit: usize| {
        let query = || Scan { prefix: "user:".to_owned(), limit, ..Scan::default() };
        let options = || ScanOptions::new().prefix("user:").limit(limit);
        bench.race(
            &format!("scan, a page of {limit}"),
            turns(|_| assert_eq!(ours.scan(query()).unwrap().entries.len(), limit)),
            turns(|_| assert_eq!(peer.scan(options()).unwrap().len(), limit)),
        )
    };
    [10, 50, 100, 500].map(row).into()
}

fn mixed(bench: &Bench) -> Vec<Row> {
    let Pair { ours, peer } = bench.filled("key_");
    let value = value(256);
    let row = |(reads, each): (usize, usize)| {
        bench.race(
            &format!("{reads} gets to {} sets", 100 - reads),
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
        )
    };
    [(80, 5), (50, 2), (95, 20)].map(row).into()
}

fn set_many(bench: &Bench) -> Vec<Row> {
    let row = |count: usize| {
        let (goal, reason) = match (count, bench.mode) {
            (100, "regular") => (17.0, "both sides wait for the disk once per call, which is much of the time of kvs"),
            (100, _) => (20.0, "writes to the tables themselves are much of the time of kvs"),
            _ => (1.0, "both sides take about the same time"),
        };
        let Pair { ours, peer } = bench.empty();
        let items = items("key_", 0..count);
        let row = bench.row(&format!("set_many, {count} keys")).goal(goal);
        row.if_short(reason).compare(
            bench.rounds,
            turns(|_| ours.set_many(&items).unwrap()),
            turns(|_| peer.set_many(&slices(&items)).unwrap()),
        )
    };
    [10, 50, 100, 500].map(row).into()
}

/// Many clients of kvs on 8 connections, and the one connection that a store of pgkv has.
fn together(bench: &Bench) -> Vec<Row> {
    const CLIENTS: usize = 64;
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let ours = Client::new(Arc::new(bench.store()));
    let peer = bench.peer();
    let (items, value) = (items("key_", 0..KEYS), value(256));
    runtime.block_on(ours.set_many(&items)).unwrap();
    peer.set_many(&slices(&items)).unwrap();
    let row = |(what, each): (&str, usize)| {
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
        bench.row(&format!("{CLIENTS} clients, {what}")).goal(5.0).compare(
            bench.rounds,
            crowd,
            turns(|n| {
                if (n + 1).is_multiple_of(each) {
                    peer.set(&existing(n), &value).unwrap();
                } else {
                    peer.get(&existing(n)).unwrap();
                }
            }),
        )
    };
    [("set", 1), ("80 gets to 20 sets", 5), ("get", usize::MAX)].map(row).into()
}
