//! Durable writes over plain HTTP, compared with other servers that sync before they respond, and with a bare loop.

use std::process::Command;
use std::time::Duration;

use crate::client;
use crate::places;
use crate::row::Row;
use crate::run::Run;
use crate::servers::{Durability, SECRET, Servers};
use crate::wrk::Load;

const PART: &str = "http post";
const MANY: &str = "durable POST, 64 connections";
const ONE: &str = "durable POST, 1 connection";

pub(crate) fn measure(run: &mut Run) {
    // The speed of a disk may change from one second to the next: many rounds with short turns.
    let (rounds, turn) = (2 * run.options.rounds() - 1, Duration::from_secs(1));
    let (kvs, etcd, mut webdis) = (Servers::kvs(0, &[]), Servers::etcd(), Servers::webdis(Durability::Always));
    let ours = |connections| Load::script(kvs.port, connections, "post.lua", &["kvs", SECRET, "1000"]);
    let of_etcd = |connections| Load::script(etcd.port, connections, "post.lua", &["etcd", "-", "1000"]);
    let of_webdis = |webdis: &mut Servers, connections| {
        webdis.restart_webdis();
        Load::script(webdis.port, connections, "post.lua", &["webdis", "-", "1000"])
    };

    let row = Row::new(PART, MANY, "Webdis, Redis that syncs").goal(2.0).if_short(
        "both processors are busy, and no part of kvs takes most of the time: sending a fifth, `fdatasync` a tenth, \
         looking at files (the secrets, the pauses after wrong secrets) a fifteenth, the rest HTTP, checks and \
         evaluation (`perf record`). Webdis checks no secret and reads no file",
    );
    run.add(row.compare(rounds, || ours(64).rate(turn), || of_webdis(&mut webdis, 64).rate(turn)));
    let row = Row::new(PART, MANY, "etcd, JSON over HTTP").goal(1.0);
    run.add(row.compare(rounds, || ours(64).rate(turn), || of_etcd(64).rate(turn)));
    check(&kvs, &webdis, &etcd);

    let folder = places::data_folder();
    places::compile("append.c", &[], &folder.path().join("append"));
    let row = Row::new(PART, ONE, "C, append and fdatasync").goal(0.7).if_short(
        "the loop has no client: see the next row for a C server that does nothing else, which is a loop with a client",
    );
    run.add(row.compare(rounds, || ours(1).rate(turn), || append(folder.path(), turn)));
    // How much of the row before any server can reach.
    let least = Servers::append_server();
    let of_least = Load::script(least.port, 1, "post.lua", &["kvs", SECRET, "1000"]);
    let row = Row::new(PART, ONE, "C server, append and fdatasync");
    run.add(row.compare(rounds, || ours(1).rate(turn), || of_least.rate(turn)));
    let row = Row::new(PART, ONE, "Webdis, Redis that syncs").goal(1.0).if_short(
        "each write locks the folder against other processes and people, and records in the lock file how it left the \
         file: 18 system calls (`tests/data/costs.yaml`); Redis has its file for itself",
    );
    run.add(row.compare(rounds, || ours(1).rate(turn), || of_webdis(&mut webdis, 1).rate(turn)));
    let row = Row::new(PART, ONE, "etcd, JSON over HTTP").goal(1.0);
    run.add(row.compare(rounds, || ours(1).rate(turn), || of_etcd(1).rate(turn)));
    check(&kvs, &webdis, &etcd);
}

/// All sides must have stored the last key, with a value of four characters.
fn check(kvs: &Servers, webdis: &Servers, etcd: &Servers) {
    let key = "house/0999/sensor-0000999";
    let answer = client::answer(kvs.port, &client::get(&format!("/?k={key}")));
    assert_eq!(client::shape(&answer).1.len(), 4, "kvs: {answer}");
    let path = key.replace('/', "%2F");
    let answer = client::answer(webdis.port, &client::get(&format!("/GET/{path}.txt")));
    assert_eq!(client::shape(&answer).1.len(), 4, "Webdis: {answer}");
    // The key in Base64.
    let body = r#"{"key": "aG91c2UvMDk5OS9zZW5zb3ItMDAwMDk5OQ=="}"#;
    let answer = client::answer(etcd.port, &client::post("/v3/kv/range", "application/json", body));
    assert!(answer.contains(r#""count":"1""#), "etcd: {answer}");
}

/// The appends per second of the C program.
fn append(folder: &std::path::Path, time: Duration) -> f64 {
    let mut append = Command::new(folder.join("append"));
    append.arg(folder.join("file")).arg(time.as_secs().to_string());
    let output = append.output().unwrap();
    assert!(output.status.success(), "{append:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
