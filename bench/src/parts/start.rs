//! The time from the start of a process to its first answer.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::client;
use crate::data;
use crate::places::PYTHON;
use crate::row::Row;
use crate::run::Run;
use crate::servers::Servers;
use crate::turns::rate;
use crate::{client::get, places};

const ENTRIES: usize = 1_000_000;
/// The peer reads a smaller file, because its time is linear and a round would take minutes.
const ENTRIES_OF_PEER: usize = 50_000;

pub(crate) fn measure(run: &mut Run) {
    let mut servers = Servers::with_data(ENTRIES);
    let small = places::data_folder();
    data::write_store(small.path(), ENTRIES_OF_PEER);
    let key = data::key(501);
    let file = small.path().join("default.yaml");
    let peer = || {
        let start = Instant::now();
        let output = Command::new(PYTHON).arg(places::peer("load.py")).arg(&file).arg(&key).output().unwrap();
        let rate = rate(ENTRIES_OF_PEER, start);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), data::value(501));
        rate
    };
    let row = Row::new("start", "start with 1,000,000 entries", "Python, PyYAML's loader in C");
    let row = row.goal(100.0);
    let row = row.note(Some(
        "the figures are entries per second. The peer reads a file of 50,000 entries, because it would take minutes to \
         read a million; its time is linear in the number of entries"
            .to_owned(),
    ));
    run.add(row.compare(run.options.long_rounds(), || start(&mut servers, &key), peer));
}

/// The entries per second of one start of kvs.
fn start(servers: &mut Servers, key: &str) -> f64 {
    let start = Instant::now();
    servers.start_kvs(&[]);
    let answer = loop {
        if let Some(answer) = client::try_answer(servers.port, &get(&format!("/?k={key}"))) {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "kvs does not answer");
        std::thread::sleep(Duration::from_millis(1));
    };
    let rate = rate(ENTRIES, start);
    assert_eq!(client::shape(&answer).1, data::value(501));
    servers.stop();
    rate
}
