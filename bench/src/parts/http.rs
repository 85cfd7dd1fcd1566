//! Reads over plain HTTP, compared with a web server and with another key/value store.

use crate::client;
use crate::row::Row;
use crate::run::Run;
use crate::servers::{Durability, Servers};
use crate::wrk::Load;

const PART: &str = "http";
const WORK: &str = "GET of 100 bytes, 16 connections";
const CONNECTIONS: usize = 16;

pub(crate) fn measure(run: &mut Run) {
    let (rounds, turn) = (run.options.rounds(), run.options.turn());
    let value = "x".repeat(100);
    let (kvs, nginx) = (Servers::kvs(0, &[]), Servers::nginx(&value));
    let mut webdis = Servers::webdis(Durability::Memory);
    kvs.store("", "kitchen/temp", &value);
    client::answer(webdis.port, &client::get(&format!("/SET/value/{value}")));
    for (port, path) in [(kvs.port, "/?k=kitchen/temp"), (nginx.port, "/value"), (webdis.port, "/GET/value.txt")] {
        let answer = client::answer(port, &client::get(path));
        assert!(answer.ends_with(&format!("\r\n\r\n{value}")), "{path}: {answer}");
    }
    let ours = Load::get(kvs.port, "/?k=kitchen/temp", CONNECTIONS);
    let nginx = Load::get(nginx.port, "/value", CONNECTIONS);
    let through_webdis = Load::get(webdis.port, "/GET/value.txt", CONNECTIONS);
    ours.rate(turn);
    let static_file = Row::new(PART, WORK, "nginx, a static file").goal(1.1);
    run.add(static_file.compare(rounds, || ours.rate(turn), || nginx.rate(turn)));
    let redis = Row::new(PART, WORK, "Webdis over Redis")
        .goal(2.5)
        .if_short("one thread serves the 16 connections, and `wrk` needs the other processor");
    let peer = || {
        webdis.restart_webdis();
        through_webdis.rate(turn)
    };
    run.add(redis.compare(rounds, || ours.rate(turn), peer));
}
