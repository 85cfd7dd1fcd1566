//! The speed of reads: from the store, from a file of a million entries, and over HTTP. `bench/README.md` explains each
//! line.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends at the first fault")]
#![expect(clippy::indexing_slicing, clippy::disallowed_methods, reason = "no part of the program")]

mod apache;
mod comparison;
mod direct;
mod load;
mod nginx;
mod servers;
mod streams;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kvs::model::{Bucket, Entry, Key, Revision};
use kvs::store::Store;
use kvs::yaml::{ParsedEntry, YamlStore, read_text, write_text};

use apache::CONNECTIONS;
use comparison::{compare, heading, rate};
use direct::Spawned;
use servers::Servers;

const ROUNDS: usize = 7;
/// The time of one side in a round over HTTP.
const TURN: Duration = Duration::from_millis(1500);

fn main() {
    if !comparison::is_benchmark() {
        return;
    }
    if comparison::is_selected("get") {
        get();
    }
    if comparison::is_selected("file") {
        file();
    }
    if comparison::is_selected("direct") {
        direct();
    }
    if comparison::is_selected("fcgid") {
        through("mod_fcgid", Servers::mod_fcgid);
    }
    if comparison::is_selected("proxy") {
        through("mod_proxy_fcgi", Servers::mod_proxy_fcgi);
    }
    if comparison::is_selected("http") {
        http();
    }
    if comparison::is_selected("streams") {
        streams::run();
    }
}

/// Entries like those of a house with many sensors.
fn entries(count: u64) -> BTreeMap<Key, Entry> {
    let entry = |n: u64| {
        let value = if n.is_multiple_of(3) { format!("Living Room {n}") } else { format!("{}.{}", n % 40, n % 10) };
        let revision = Revision::new(1_795_000_000_000_000_000 + n * 1_000_003);
        (Key::new(&format!("house/{:04}/sensor-{n:07}", n % 5000)).unwrap(), ParsedEntry::text(value).at(revision))
    };
    (0..count).map(entry).collect()
}

fn get() {
    const COUNT: u64 = 100_000;
    let map = entries(COUNT);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("default.yaml"), write_text(map.iter())).unwrap();
    let store = YamlStore::open(folder.path(), kvs::yaml::YamlOptions::default()).unwrap();
    let keys: Vec<Key> = map.keys().step_by(7).cloned().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bucket = Bucket::default();

    heading(&format!("get: reads per second of one of {COUNT} keys"));
    let through = |at_once: usize| {
        let start = Instant::now();
        runtime.block_on(async {
            for keys in keys.chunks(at_once) {
                black_box(store.get(&bucket, keys).await.unwrap());
            }
        });
        rate(keys.len(), start)
    };
    let bare = || {
        let start = Instant::now();
        for key in &keys {
            black_box(map.get(key).cloned());
        }
        rate(keys.len(), start)
    };
    compare("YamlStore::get, a key / BTreeMap", None, ROUNDS, || through(1), bare);
    compare("YamlStore::get, 100 keys / BTreeMap", None, ROUNDS, || through(100), bare);
    let stats = || {
        let start = Instant::now();
        for _ in &keys {
            black_box(std::fs::metadata(folder.path().join("default.yaml")).unwrap());
        }
        rate(keys.len(), start)
    };
    compare("YamlStore::get, a key / one stat of the file", None, ROUNDS, || through(1), stats);
}

fn file() {
    const COUNT: u64 = 1_000_000;
    let whole = write_text(entries(COUNT).iter());
    let tenth = write_text(entries(COUNT / 10).iter());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("default.yaml"), &whole).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let key = [Key::new("house/0000/sensor-0000000").unwrap()];
    let megabytes = whole.len() / 1_000_000;

    heading(&format!("file: MB/s while a file of {COUNT} entries ({megabytes} MB) is read"));
    let open = || {
        let start = Instant::now();
        let store = YamlStore::open(folder.path(), kvs::yaml::YamlOptions::default()).unwrap();
        let found = runtime.block_on(store.get(&Bucket::default(), &key)).unwrap();
        let rate = rate(megabytes, start);
        assert!(found.entries[0].is_some());
        rate
    };
    let split = || {
        let start = Instant::now();
        assert_eq!(black_box(split(&whole)).len(), usize::try_from(COUNT).unwrap());
        rate(megabytes, start)
    };
    let serde = || {
        let start = Instant::now();
        let text = tenth.strip_suffix("...\n").unwrap();
        let read: BTreeMap<String, BTreeMap<String, String>> = serde_yaml::from_str(text).unwrap();
        let rate = rate(tenth.len() / 1_000_000, start);
        assert_eq!(black_box(read).len(), usize::try_from(COUNT / 10).unwrap());
        rate
    };
    let read = || {
        let start = Instant::now();
        let entries = read_text(&whole).unwrap();
        let rate = rate(megabytes, start);
        black_box(entries);
        rate
    };
    compare("opened, ready for reads / line splitter", None, 5, open, split);
    compare("opened, ready for reads / serde_yaml", None, 3, open, serde);
    compare("read_text / serde_yaml", None, 3, read, serde);
}

/// Splits a file into keys and values in the simplest way: without escapes, times or checks.
fn split(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (key, rest) = line.split_once(": {value: ")?;
        let (value, _) = rest.split_once(", updated: ")?;
        Some((key.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Measures the two programs that run behind Apache, but without Apache.
fn direct() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut value = BTreeMap::new();
    value.insert(
        Key::new("kitchen/temp").unwrap(),
        ParsedEntry::text("21.5").at(Revision::new(1_795_000_000_000_000_000)),
    );
    std::fs::create_dir(ours.path().join("data")).unwrap();
    std::fs::write(ours.path().join("data/default.yaml"), write_text(value.iter())).unwrap();
    std::fs::write(ours.path().join("auth.txt"), format!("{}\n", servers::SECRET)).unwrap();
    let program = ours.path().join("kvs.fcgi");
    std::fs::copy(env!("CARGO_BIN_EXE_kvs"), &program).unwrap();
    let peer = Spawned::start(&apache::compile_peer(theirs.path()), theirs.path());
    let ours = Spawned::start(&program, ours.path());

    heading("direct: GETs per second by one FastCGI process, a connection for each");
    let ask = |program: &Spawned| program.load("k=kitchen/temp", TURN);
    compare("kvs / C on libfcgi", None, ROUNDS, || ask(&ours), || ask(&peer));
}

fn ask(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: kvs.test\r\nUser-Agent: bench\r\n\r\n").into_bytes()
}

/// Stores the value that all clients read. `base` is the base path of kvs on this port.
fn store_value(port: u16, base: &str, value: &str) {
    let form = format!("auth={}&kitchen/temp={value}", servers::SECRET);
    let head = format!("POST {base}/ HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: application/x-www-form-urlencoded");
    load::answer(port, format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()).as_bytes());
}

/// The names of the headers of a response, and its body.
fn shape(answer: &str) -> (Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let name = |line: &str| line.split(':').next().unwrap_or("").to_ascii_lowercase();
    let mut names: Vec<String> = head.lines().skip(1).map(name).collect();
    names.sort();
    (names, body.to_owned())
}

fn through(module: &str, start: fn() -> Servers) {
    let servers = start();
    let port = servers.port;
    store_value(port, "/ours", "21.5");
    let ours = || ask("/ours/?k=kitchen/temp");
    let peer = || ask("/peer/?k=kitchen/temp");
    assert_eq!(shape(&load::answer(port, &ours())), shape(&load::answer(port, &peer())), "not the same job");

    heading(&format!("{module}: GETs per second through Apache, {CONNECTIONS} connections"));
    let through_ours = |time| load::load(port, CONNECTIONS, time, move |_| ours());
    let through_peer = |time| load::load(port, CONNECTIONS, time, move |_| peer());
    // mod_fcgid starts one process per second. Until all run, some connections wait.
    for _ in 0..4 {
        through_ours(Duration::from_secs(2));
        through_peer(Duration::from_secs(2));
    }
    let name = format!("kvs / C on libfcgi, by {module}");
    compare(&name, Some(1.0), ROUNDS, || through_ours(TURN), || through_peer(TURN));
}

fn http() {
    let value = "x".repeat(100);
    let (kvs, nginx) = (Servers::http(), Servers::nginx(&value));
    store_value(kvs.port, "", &value);
    assert!(load::answer(kvs.port, &ask("/?k=kitchen/temp")).ends_with(&value));
    heading(&format!("http: GETs of 100 bytes per second over plain HTTP, {CONNECTIONS} connections"));
    let ours = || load::load(kvs.port, CONNECTIONS, TURN, |_| ask("/?k=kitchen/temp"));
    let peer = || load::load(nginx.port, CONNECTIONS, TURN, |_| ask("/value"));
    ours();
    peer();
    compare("kvs serve / nginx with a static file", Some(1.1), ROUNDS, ours, peer);
}
