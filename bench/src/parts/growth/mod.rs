//! Whether kvs stays fast and small as the data grows. The peer is kvs itself with less data.

mod compaction;
mod memory;

use crate::client;
use crate::data;
use crate::row::Row;
use crate::run::{Curve, Run};
use crate::servers::{SECRET, Servers};
use crate::turns::median;
use crate::wrk::Load;

const PART: &str = "growth";
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, LARGEST];
const LARGEST: usize = 1_000_000;
const CONNECTIONS: usize = 16;

pub(crate) fn measure(run: &mut Run) {
    if run.options.includes(PART, "rates") {
        rates(run);
    }
    if run.options.includes(PART, "compaction") {
        compaction::measure(run);
    }
    if run.options.includes(PART, "memory") {
        memory::measure(run);
    }
}

/// A kind of request, and how its script is started for a store of this size.
struct Work {
    name: &'static str,
    row: &'static str,
    load: fn(port: u16, size: &str) -> Load,
}

const WORKS: [Work; 2] = [
    Work {
        name: "GET",
        row: "GET, 1,000,000 keys, 16 connections",
        load: |port, size| Load::script(port, CONNECTIONS, "get.lua", &[size]),
    },
    Work {
        name: "durable POST",
        row: "durable POST, 1,000,000 keys",
        load: |port, size| Load::script(port, CONNECTIONS, "post.lua", &["kvs", SECRET, size]),
    },
];

fn rates(run: &mut Run) {
    let (rounds, turn) = (run.options.rounds(), run.options.turn());
    let servers: Vec<(usize, Servers)> = SIZES.map(|size| (size, Servers::kvs(size, &[]))).into();
    // The first read loads the file.
    for (_, server) in &servers {
        client::answer(server.port, &client::get(&format!("/?k={}", data::key(0))));
    }
    for Work { name, row, load } in WORKS {
        // In each round all sizes, from the smallest to the largest and back.
        let mut rates = vec![vec![]; SIZES.len()];
        for round in 0..rounds {
            for step in 0..SIZES.len() {
                let at = if round.is_multiple_of(2) { step } else { SIZES.len() - 1 - step };
                let (size, server) = &servers[at];
                rates[at].push(load(server.port, &size.to_string()).rate(turn));
            }
        }
        let pairs = rates[SIZES.len() - 1].iter().zip(&rates[0]).map(|(large, small)| (*large, *small));
        run.add(Row::new(PART, row, "kvs, 1,000 keys").goal(0.9).measured(pairs));
        let points = SIZES.into_iter().zip(&rates).map(|(size, rates)| (size, median(rates.iter().copied())));
        run.curves.push(Curve { name, points: points.collect() });
    }
}
