//! The speed of append-only logs: whether it depends on their length, and compared with a bare append and sync.

use std::time::Instant;

use kvs::model::{AppendOutcome, Bucket, Key, LogAppend, LogQuery, NewLogEntry};
use kvs::store::Logs as _;
use kvs::yaml::YamlStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bare::Bare;
use crate::comparison::{compare, heading, rate};
use crate::{ROUNDS, folder, one_thread, open};

const SHORT: usize = 100;
const LONG: usize = 100_000;
/// The number of appends and of reads in a turn.
const APPENDS: usize = 100;
const READS: usize = 1_000;

/// A log of some length.
struct LogOfLength {
    _folder: TempDir,
    store: YamlStore,
    key: Key,
    next: u64,
}

fn reading(number: usize) -> NewLogEntry {
    NewLogEntry::new(format!("{:02}.{}", number % 40, number % 10))
}

impl LogOfLength {
    fn new(runtime: &Runtime, length: usize) -> Self {
        let folder = folder();
        let store = open(folder.path());
        let mut log = Self { _folder: folder, store, key: Key::new("kitchen/temp").unwrap(), next: 0 };
        for begin in (0..length).step_by(1_000) {
            runtime.block_on(log.append((begin..(begin + 1_000).min(length)).map(reading).collect()));
        }
        log
    }

    async fn append(&mut self, entries: Vec<NewLogEntry>) {
        let number = entries.len() as u64;
        let append = LogAppend { entries, ..LogAppend::default() };
        let outcome = self.store.append(&Bucket::default(), &self.key, append).await.unwrap();
        assert_eq!(outcome, AppendOutcome::Appended { index: self.next });
        self.next += number;
    }

    fn appends_per_second(&mut self, runtime: &Runtime) -> f64 {
        let start = Instant::now();
        for number in 0..APPENDS {
            runtime.block_on(self.append(vec![reading(number)]));
        }
        rate(APPENDS, start)
    }

    fn reads_per_second(&self, runtime: &Runtime) -> f64 {
        let start = Instant::now();
        for _ in 0..READS {
            let bucket = Bucket::default();
            let read = self.store.read_log(&bucket, &self.key, LogQuery::last(10));
            let page = runtime.block_on(read).unwrap().unwrap();
            assert_eq!((page.entries.len(), page.end()), (10, self.next));
        }
        rate(READS, start)
    }
}

pub(crate) fn logs() {
    heading(&format!("logs: a log of {LONG} entries / one of {SHORT}; appends / bare loop of append and fdatasync"));
    let runtime = one_thread();
    let (mut long, mut short) = (LogOfLength::new(&runtime, LONG), LogOfLength::new(&runtime, SHORT));
    compare(
        "append, long / short",
        Some(0.9),
        ROUNDS,
        || long.appends_per_second(&runtime),
        || short.appends_per_second(&runtime),
    );
    compare(
        "read the last ten, long / short",
        Some(0.9),
        ROUNDS,
        || long.reads_per_second(&runtime),
        || short.reads_per_second(&runtime),
    );
    compare(
        "append / bare loop",
        None,
        ROUNDS,
        || short.appends_per_second(&runtime),
        || Bare::new(folder()).run(APPENDS),
    );
}
