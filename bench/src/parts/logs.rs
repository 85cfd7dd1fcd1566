//! Append-only logs: whether their speed depends on their length, and an append compared with a bare append and sync.

use kvs::model::{AppendOutcome, Bucket, Key, LogAppend, LogQuery, NewLogEntry};
use kvs::store::Logs as _;
use kvs::yaml::{YamlOptions, YamlStore};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::bare::Bare;
use crate::options::WRITE_TURN;
use crate::row::Row;
use crate::run::Run;
use crate::turns::repeat;
use crate::{data, places};

const PART: &str = "logs";
const SHORT: usize = 100;
const LONG: usize = 100_000;

/// A log of some length.
struct LogOfLength {
    store: YamlStore,
    key: Key,
    next: u64,
    _folder: TempDir,
}

fn entry(number: usize) -> NewLogEntry {
    NewLogEntry::new(data::reading(number))
}

impl LogOfLength {
    fn new(runtime: &Runtime, length: usize) -> Self {
        let folder = places::data_folder();
        let store = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
        let mut log = Self { store, key: Key::new("kitchen/temp").unwrap(), next: 0, _folder: folder };
        for begin in (0..length).step_by(1_000) {
            runtime.block_on(log.append((begin..(begin + 1_000).min(length)).map(entry).collect()));
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

    fn read_last_ten(&self, runtime: &Runtime) {
        let bucket = Bucket::default();
        let read = self.store.read_log(&bucket, &self.key, LogQuery::last(10));
        let page = runtime.block_on(read).unwrap().unwrap();
        assert_eq!((page.entries.len(), page.end()), (10, self.next));
    }
}

pub(crate) fn measure(run: &mut Run) {
    // Few appends in all: the short log must stay short.
    let (rounds, time) = (run.options.rounds(), WRITE_TURN);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (mut long, mut short) = (LogOfLength::new(&runtime, LONG), LogOfLength::new(&runtime, SHORT));
    let append =
        |log: &mut LogOfLength| repeat(time, &mut 0, |number| runtime.block_on(log.append(vec![entry(number)])));
    let read = |log: &LogOfLength| repeat(time, &mut 0, |_| log.read_last_ten(&runtime));
    let row = Row::new(PART, "read the last ten of 100,000 entries", "kvs, log of 100 entries").goal(0.9);
    run.add(row.compare(rounds, || read(&long), || read(&short)));
    let row = Row::new(PART, "append to a log of 100,000 entries", "kvs, log of 100 entries").goal(0.9);
    run.add(row.compare(rounds, || append(&mut long), || append(&mut short)));
    let row = Row::new(PART, "append", "append and fdatasync");
    run.add(row.compare(rounds, || append(&mut short), || Bare::new().run(time)));
}
