//! Reads by CGI: Apache starts a process for each request. The peers are a script and a small program.

use crate::client;
use crate::data;
use crate::places;
use crate::row::Row;
use crate::run::Run;
use crate::servers::{Mode, Servers};
use crate::wrk::Load;

const PART: &str = "cgi";
const WORK: &str = "GET from 1,000 entries by CGI";
const ENTRIES: usize = 1_000;
/// Enough to keep two processors busy, and not so many that requests wait for long.
const CONNECTIONS: usize = 4;

pub(crate) fn measure(run: &mut Run) {
    let (rounds, turn) = (run.options.rounds(), run.options.turn());
    let mut servers = Servers::site(ENTRIES);
    write_once(&servers);
    let compiled = servers.path("run/cgi");
    places::compile("cgi.c", &[], &compiled);
    servers.place("c", &compiled);
    for place in ["python", "python-c"] {
        servers.place(place, &places::peer("cgi.py"));
    }
    servers.start_apache(Mode::Cgi, &[]);
    let number = 501;
    let target = |place: &str| format!("/{place}/?k={}", data::key(number));
    let port = servers.port;
    let shape = |place: &str| client::shape(&client::answer(port, &client::get(&target(place))));
    assert_eq!(shape("ours").1, data::value(number));
    for peer in ["c", "python", "python-c"] {
        assert_eq!(shape("ours"), shape(peer), "{peer}: not the same job");
    }
    let load = |place: &str| Load::get(port, &target(place), CONNECTIONS);
    let (ours, c, python, python_c) = (load("ours"), load("c"), load("python"), load("python-c"));
    ours.rate(turn);
    let row = Row::new(PART, WORK, "Python, yaml.safe_load").goal(50.0).if_short(
        "Apache and the start of a process take most of the time of kvs: even the C program below, which starts no \
         runtime, reaches only twice our rate",
    );
    run.add(row.compare(rounds, || ours.rate(turn), || python.rate(2 * turn)));
    let row = Row::new(PART, WORK, "Python, PyYAML's loader in C");
    run.add(row.compare(rounds, || ours.rate(turn), || python_c.rate(turn)));
    let row = Row::new(PART, WORK, "C, mmap and memmem").goal(0.8).if_short(
        "the start of the process: 2.4 million instructions (a fifth of them the dynamic linker, a quarter the parser \
         of settings, both `callgrind`) and five times the page faults of a small C program, which starts in a \
         millisecond",
    );
    run.add(row.compare(rounds, || ours.rate(turn), || c.rate(turn)));
}

/// Writes an entry as it is, so that the files of the store are as on a site in use.
fn write_once(servers: &Servers) {
    servers.run_kvs(&["set", &data::key(7), &data::value(7)]);
    assert!(servers.data().join("default.yaml.last").exists(), "kvs keeps a copy of a small file");
}
