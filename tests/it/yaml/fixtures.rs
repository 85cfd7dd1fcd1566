//! Helpers for the tests of the file store: names, batches, a ticking clock, and reads of a whole bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use kvs::model::{
    Batch, Bucket, Clock, Condition, Entry, Expectation, Key, Outcome, Result, Revision, Scan, Time, Write,
};
use kvs::store::{Limits, Report, Store, Task};
use kvs::yaml::{FileSystem, YamlOptions, YamlStore};

/// The folder on file systems in memory.
pub(crate) const FOLDER: &str = "/nowhere/data";

/// A clock that advances one microsecond with each read.
pub(crate) struct Ticking(AtomicI64);

impl Default for Ticking {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_000_000_000))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.fetch_add(1000, Ordering::SeqCst))
    }
}

pub(crate) fn bucket() -> Bucket {
    Bucket::default()
}

pub(crate) fn data() -> PathBuf {
    Path::new(FOLDER).join("default.yaml")
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub(crate) fn put(name: &str, value: impl Into<String>) -> Write {
    Write::put(key(name), value.into())
}

pub(crate) fn delete(name: &str) -> Write {
    Write::Delete { key: key(name) }
}

/// Two keys that change together.
pub(crate) fn pair(n: usize, value: &str) -> Vec<Write> {
    vec![put(&format!("a{n}"), value), put(&format!("b{n}"), value)]
}

pub(crate) fn batch(writes: Vec<Write>) -> Batch {
    Batch::new(writes)
}

pub(crate) fn expect(name: &str, condition: Condition) -> Expectation {
    Expectation { key: key(name), condition }
}

pub(crate) fn options(disk: impl FileSystem) -> YamlOptions {
    YamlOptions {
        limits: Limits::default(),
        lock_timeout: Duration::from_millis(300),
        // Tests compact explicitly.
        min_log_bytes: u64::MAX,
        // They tidy explicitly too.
        tidy_after: Duration::ZERO,
        tidy_up_to: 1 << 20,
        max_open_buckets: 4,
        is_short_lived: false,
        clock: Arc::new(Ticking::default()),
        file_system: Arc::new(disk),
    }
}

/// A store on a file system in memory.
pub(crate) fn open(disk: impl FileSystem) -> YamlStore {
    YamlStore::open(FOLDER, options(disk)).unwrap()
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread, without a runtime, so that nothing else runs.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub(crate) fn apply(store: &YamlStore, writes: Vec<Write>) -> Result<Outcome> {
    run(store.apply(&bucket(), batch(writes)))
}

/// Applies writes that must be committed.
pub(crate) fn commit(store: &YamlStore, writes: Vec<Write>) -> Revision {
    match apply(store, writes).unwrap() {
        Outcome::Committed { revision, .. } => revision,
        refused @ Outcome::PreconditionFailed { .. } => panic!("{refused:?}"),
    }
}

pub(crate) fn upkeep(store: &YamlStore, task: Task) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.maintain(&bucket(), task))
}

/// All entries of the bucket and its revision.
pub(crate) fn all(store: &YamlStore) -> Result<(Revision, BTreeMap<String, Entry>)> {
    let page = run(store.scan(&bucket(), Scan { limit: usize::MAX, ..Scan::default() }))?;
    Ok((page.revision, page.entries.into_iter().map(|(key, entry)| (key.to_string(), entry.unwrap())).collect()))
}

/// Values as text, by key.
pub(crate) type Values = BTreeMap<String, String>;

/// The values of all entries.
pub(crate) fn values(store: &YamlStore) -> Values {
    let text = |entry: Entry| String::from_utf8_lossy(&entry.value).into_owned();
    all(store).unwrap().1.into_iter().map(|(key, entry)| (key, text(entry))).collect()
}

/// The effect of puts and deletes on values.
pub(crate) fn model(values: &mut Values, writes: &[Write]) {
    for write in writes {
        let key = write.key().to_string();
        match write {
            Write::Put { value, .. } => {
                values.insert(key, String::from_utf8_lossy(value).into_owned());
            }
            Write::Delete { .. } => {
                values.remove(&key);
            }
            Write::Touch { .. } | Write::Read { .. } => {}
            Write::Increment { by, .. } => {
                let old: i64 = values.get(&key).map_or(0, |v| v.parse().unwrap());
                values.insert(key, (old + by).to_string());
            }
            Write::Append { value, .. } => {
                values.entry(key).or_default().push_str(std::str::from_utf8(value).unwrap());
            }
            Write::Restore { entry, .. } => {
                values.insert(key, String::from_utf8_lossy(&entry.value).into_owned());
            }
        }
    }
}
