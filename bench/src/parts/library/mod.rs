//! The store as a library in this process, compared with other stores, and with a bare loop of append and sync.
//!
//! What always holds: all sides have the same 100,000 keys and values on the same disk. A write is durable when the call
//! returns. Every read sees all writes before it.

mod fjall;
mod kvs;
mod redb;
mod sqlite;

use ::kvs::model::Bucket;
use ::kvs::store::Store as _;
use ::kvs::yaml::YamlStore;
use tokio::runtime::Builder;

use self::fjall::Fjall;
use self::kvs::{Kvs, batch};
use self::redb::Redb;
use self::sqlite::Sqlite;
use crate::bare::Bare;
use crate::data;
use crate::options::WRITE_TURN;
use crate::places;
use crate::row::Row;
use crate::run::Run;
use crate::turns::{float, repeat};

const PART: &str = "library";
const KEYS: usize = 100_000;
/// So many reads are one call of a side, which lets an asynchronous store enter its runtime only once.
const READS: usize = 64;
const SCANNED: usize = 1_000;
/// A scan begins at a key below this number, so that enough keys follow in their order.
const SCAN_FROM: usize = 4_000;

/// A store with the keys of `data::key`, which it has in its own form.
pub(super) trait Side {
    /// Stores a reading under each of these keys: durably, all or none.
    fn put(&self, pairs: &[(usize, String)]);

    /// Reads the values of these keys, one after another. Returns their length together.
    fn get(&self, numbers: &[usize]) -> usize;

    /// Reads this many entries from a key on, in their order. Returns the length of all keys and values together.
    fn scan(&self, from: usize, entries: usize) -> usize;
}

/// The keys of all sides.
pub(super) fn keys() -> Vec<String> {
    (0..KEYS).map(data::key).collect()
}

pub(crate) fn measure(run: &mut Run) {
    let folder = places::data_folder();
    let path = |name: &str| folder.path().join(name);
    let ours = filled(Kvs::open(&path("kvs")));
    let peers: [(&'static str, &str, Box<dyn Side>); 3] = [
        ("redb", "redb", Box::new(filled(Redb::open(&path("redb"))))),
        ("SQLite", "sqlite", Box::new(filled(Sqlite::open(&path("sqlite"))))),
        ("fjall", "fjall", Box::new(filled(Fjall::open(&path("fjall"))))),
    ];
    let selected = || peers.iter().filter(|(_, group, _)| run.options.includes(PART, group));
    let selected: Vec<_> = selected().map(|(name, _, peer)| (*name, peer.as_ref())).collect();
    // The reads come first, while all sides still have the same values.
    for (name, peer) in &selected {
        assert_eq!(ours.get(&[7, 501]), peer.get(&[7, 501]), "{name}: other values");
        assert_eq!(ours.scan(3, SCANNED), peer.scan(3, SCANNED), "{name}: another order");
        reads(run, &ours, name, *peer);
    }
    for (name, peer) in &selected {
        writes(run, &ours, name, *peer);
    }
    drop(selected);
    drop((ours, peers));
    if run.options.includes(PART, "bare") {
        bare(run);
    }
}

/// A side with all keys.
fn filled<S: Side>(side: S) -> S {
    for from in (0..KEYS).step_by(1_000) {
        side.put(&(from..from + 1_000).map(|number| (number, data::value(number))).collect::<Vec<_>>());
    }
    side
}

/// A key that looks random.
fn scattered(number: usize) -> usize {
    number * 7_919 % KEYS
}

fn pairs(number: usize, count: usize) -> Vec<(usize, String)> {
    (number * count..(number + 1) * count).map(|number| (scattered(number), data::reading(number))).collect()
}

fn reads(run: &mut Run, ours: &Kvs, name: &'static str, peer: &dyn Side) {
    let (rounds, time) = (run.options.rounds(), run.options.short_turn());
    let get = |side: &dyn Side, next: &mut usize| {
        let read = |number: usize| {
            let numbers: [usize; READS] = std::array::from_fn(|at| scattered(number * READS + at));
            assert!(side.get(&numbers) >= READS);
        };
        float(READS) * repeat(time, next, read)
    };
    let (mut first, mut second) = (0, 0);
    let row = Row::new(PART, "get", name).goal(1.0).if_short(
        "each get asks the system whether another process or a person has changed the file (`statx`, about a \
         microsecond); the peer's file belongs to one process",
    );
    run.add(row.compare(rounds, || get(ours, &mut first), || get(peer, &mut second)));
    let scan = |side: &dyn Side, next: &mut usize| {
        repeat(time, next, |number| assert!(side.scan(scattered(number) % SCAN_FROM, SCANNED) > SCANNED))
    };
    let (mut first, mut second) = (0, 0);
    let row = Row::new(PART, "scan of 1,000 entries", name).goal(1.0).if_short(
        "kvs makes a key and an entry with its type and times for each line of the page; the peer copies only the bytes \
         of keys and values",
    );
    run.add(row.compare(rounds, || scan(ours, &mut first), || scan(peer, &mut second)));
}

fn writes(run: &mut Run, ours: &Kvs, name: &'static str, peer: &dyn Side) {
    let (rounds, time) = (run.options.write_rounds(), WRITE_TURN);
    for (work, count) in [("durable batch of 1 put", 1), ("durable batch of 100 puts", 100)] {
        let put = |side: &dyn Side, next: &mut usize| repeat(time, next, |number| side.put(&pairs(number, count)));
        let (mut first, mut second) = (0, 0);
        let row = Row::new(PART, work, name).goal(1.0).if_short(
            "each append makes the file longer, so the sync also writes the inode, which is a second write to the disk; \
             the peer writes into space that it has allocated before, which a file for people cannot have",
        );
        run.add(row.compare(rounds, || put(ours, &mut first), || put(peer, &mut second)));
    }
}

fn bare(run: &mut Run) {
    let (rounds, time) = (run.options.write_rounds(), WRITE_TURN);
    let alone = || {
        let folder = places::data_folder();
        let store = Kvs::open(folder.path());
        store.put(&pairs(0, 1));
        repeat(time, &mut 1, |number| store.put(&[(number % 100, data::reading(number))]))
    };
    let row = Row::new(PART, "durable batch of 1 put, new store", "append and fdatasync").goal(0.8).if_short(
        "besides the append there are the locks, the record in the lock file, the copy of a small file, and its \
         compactions",
    );
    run.add(row.compare(rounds, alone, || Bare::new().run(time)));
    let row = Row::new(PART, "the same by 64 tasks together", "append and fdatasync");
    run.add(row.compare(rounds, || together(time), || Bare::new().run(time)));
}

/// The durable batches per second of 64 tasks.
fn together(time: std::time::Duration) -> f64 {
    const TASKS: usize = 64;
    let folder = places::data_folder();
    let store = YamlStore::open(folder.path(), ::kvs::yaml::YamlOptions::default()).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let keys: Vec<_> = (0..100).map(|number| ::kvs::model::Key::new(&data::key(number)).unwrap()).collect();
    let start = std::time::Instant::now();
    let task = |task: usize| {
        let (store, keys) = (store.clone(), keys.clone());
        runtime.spawn(async move {
            let mut done = 0;
            while start.elapsed() < time {
                let number = task * 131 + done;
                let put = batch([(keys[number % 100].clone(), data::reading(number))]);
                store.apply(&Bucket::default(), put).await.unwrap();
                done += 1;
            }
            done
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    let done = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).sum();
    crate::turns::rate(done, start)
}
