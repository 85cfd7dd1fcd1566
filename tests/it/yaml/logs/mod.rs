//! Logs in files: crashes, failures, several processes, edits by a person, costs, and other YAML readers.
//!
//! Several stores on one folder are several processes. The model of a log is the same log in a store in memory.

mod crash_games;
mod group_commits;
mod hand_edits;
mod kept_elsewhere;
mod killed_writers;
mod log_costs;
mod other_processes;
mod power_cuts;
mod refused_calls;
mod same_answers;
mod yaml_readers;

use std::path::{Path, PathBuf};

use kvs::memory::MemoryStore;
use kvs::model::{AppendOutcome, Error, LogAppend, LogKeysQuery, LogQuery, NewLogEntry, Result, Retention};
use kvs::store::{Logs, Store};

use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{FOLDER, bucket, key, run};

/// The name of the log of these tests.
const NAME: &str = "a";

/// The file of the log.
fn file() -> PathBuf {
    Path::new(FOLDER).join("default.logs/a.log")
}

fn text(disk: &CrashFs) -> String {
    String::from_utf8_lossy(&disk.bytes(&file()).unwrap_or_default()).into_owned()
}

fn logs(store: &impl Store) -> &dyn Logs {
    store.logs().unwrap()
}

/// A log as readers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct View {
    entries: Vec<(u64, String)>,
    first: u64,
    next: u64,
    retention: Retention,
}

/// The whole log; `None` if it is missing.
fn view(store: &impl Store) -> Result<Option<View>> {
    let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
    let page = run(logs(store).read_log(&bucket(), &key(NAME), query))?;
    Ok(page.map(|page| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = page.entries.iter().map(|entry| (entry.index, text(&entry.value))).collect();
        View { entries, first: page.first, next: page.next, retention: page.retention }
    }))
}

/// The values of the log; none if it is missing.
fn texts(store: &impl Store) -> Vec<String> {
    view(store).unwrap().map_or(vec![], |view| view.entries.into_iter().map(|(_, text)| text).collect())
}

/// Whether the log is listed.
fn is_listed(store: &impl Store) -> bool {
    run(logs(store).log_keys(&bucket(), LogKeysQuery::default())).unwrap().contains(&key(NAME))
}

/// What is done to a log.
#[derive(Clone, Debug)]
enum Deed {
    Append(LogAppend),
    Remove(Option<u64>),
}

impl Deed {
    fn run(&self, store: &impl Store) -> Result<Option<u64>> {
        match self {
            Self::Append(append) => match run(logs(store).append(&bucket(), &key(NAME), append.clone()))? {
                AppendOutcome::Appended { index } => Ok(Some(index)),
                AppendOutcome::IndexTaken { next } => panic!("the index is taken; the next one is {next}"),
            },
            Self::Remove(before) => run(logs(store).remove_log(&bucket(), &key(NAME), *before)),
        }
    }
}

/// An append of these values.
fn values(values: &[&str]) -> Deed {
    let entries = values.iter().map(|value| NewLogEntry::new(value.to_string())).collect();
    Deed::Append(LogAppend { entries, ..LogAppend::default() })
}

/// The same append, which changes the retention too.
fn keeping(deed: Deed, max_entries: Option<u64>) -> Deed {
    let Deed::Append(append) = deed else { panic!("no append: {deed:?}") };
    Deed::Append(LogAppend { retention: Some(Retention { max_entries, max_age: None }), ..append })
}

/// Appends values; returns the index of the first.
fn append(store: &impl Store, texts: &[&str]) -> Result<u64, Error> {
    values(texts).run(store).map(Option::unwrap)
}

/// The log after these deeds, in a store in memory.
fn modelled<'a>(deeds: impl IntoIterator<Item = &'a Deed>) -> Option<View> {
    let model = MemoryStore::default();
    for deed in deeds {
        deed.run(&model).unwrap();
    }
    view(&model).unwrap()
}

/// The deeds that are done, and those whose outcome is open because everything stopped.
#[derive(Clone, Debug, Default)]
struct Ledger {
    done: Vec<Deed>,
    open: Vec<Deed>,
}

impl Ledger {
    /// Does something and records it. Returns false if it failed.
    fn run(&mut self, store: &impl Store, deed: Deed) -> bool {
        let outcome = deed.run(store);
        self.record(deed, &outcome);
        outcome.is_ok()
    }

    fn record(&mut self, deed: Deed, outcome: &Result<Option<u64>>) {
        if outcome.is_ok() {
            assert!(self.open.is_empty(), "acknowledged after a failed one");
            self.done.push(deed);
        } else {
            self.open.push(deed);
        }
    }

    /// The allowed states: with the open deeds up to any one of them.
    fn allowed(&self) -> Vec<Option<View>> {
        let upto = |end: usize| modelled(self.done.iter().chain(&self.open[..end]));
        (0..=self.open.len()).map(upto).collect()
    }
}
