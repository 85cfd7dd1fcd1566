//! The store under test, with the helpers that the cases use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clock::TestClock;
use crate::model::{
    Batch, Bucket, Change, Clock, Condition, ContentType, End, Entry, Error, Expectation, Key, Outcome, Page, Revision,
    Scan, Time, Write,
};
use crate::store::contract::Store;
use crate::store::evaluate::Limits;

/// How a store under test is made.
#[derive(Clone)]
pub struct Setup {
    /// The clock that the store must use.
    pub clock: Arc<TestClock>,
    /// The limits that the store must enforce.
    pub limits: Limits,
}

impl Default for Setup {
    /// A new clock, and values of at most 200,000 bytes.
    fn default() -> Self {
        Self { clock: Arc::default(), limits: Limits { max_value_bytes: 200_000 } }
    }
}

/// An empty store with its clock and limits, and the bucket of the case.
#[derive(Clone)]
pub(crate) struct TestBench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) limits: Limits,
    pub(crate) bucket: Bucket,
}

/// Everything that a reader sees of a bucket.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) revision: Revision,
    pub(crate) entries: Vec<(Key, Option<Entry>)>,
}

impl TestBench {
    pub(crate) fn new(store: Arc<dyn Store>, setup: Setup) -> Self {
        Self { store, clock: setup.clock, limits: setup.limits, bucket: Bucket::default() }
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The time this many seconds from now.
    pub(crate) fn secs_ahead(&self, secs: u64) -> Time {
        self.now().plus(Duration::from_secs(secs))
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// Applies a batch, which must not fail, and returns its outcome.
    pub(crate) async fn apply(&self, expectations: Vec<Expectation>, writes: Vec<Write>) -> Outcome {
        self.store.apply(&self.bucket, Batch::new(writes).with_expectations(expectations)).await.unwrap()
    }

    /// Does the writes. Returns the revision of the bucket and the changes.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> (Revision, Vec<Change>) {
        let count = writes.len();
        match self.apply(vec![], writes).await {
            Outcome::Committed { revision, changes } => {
                assert_eq!(changes.len(), count, "one change for each write");
                (revision, changes)
            }
            Outcome::PreconditionFailed { index, .. } => {
                panic!("expectation {index} failed, but there are none")
            }
        }
    }

    /// Does one write and returns its change.
    pub(crate) async fn write(&self, write: Write) -> Change {
        self.commit(vec![write]).await.1.remove(0)
    }

    /// Stores a value and returns the entry.
    pub(crate) async fn put(&self, name: &str, value: impl Into<Bytes>) -> Entry {
        self.write(Write::put(key(name), value)).await.after.unwrap()
    }

    /// Applies a batch that must fail without changes, and returns its error.
    pub(crate) async fn fails(&self, writes: Vec<Write>) -> Error {
        let seen = self.seen().await;
        let error = self.store.apply(&self.bucket, Batch::new(writes)).await.unwrap_err();
        assert_eq!(self.seen().await, seen, "a failed batch has changed something: {error}");
        error
    }

    /// The entry under a key.
    pub(crate) async fn entry(&self, name: &str) -> Option<Entry> {
        self.store.get(&self.bucket, &[key(name)]).await.unwrap().entries.remove(0)
    }

    /// The value under a key.
    pub(crate) async fn value(&self, name: &str) -> Option<Bytes> {
        self.entry(name).await.map(|entry| entry.value)
    }

    /// The revision of the bucket.
    pub(crate) async fn revision(&self) -> Revision {
        self.store.get(&self.bucket, &[]).await.unwrap().revision
    }

    pub(crate) async fn scan(&self, query: Scan) -> Page {
        self.store.scan(&self.bucket, query).await.unwrap()
    }

    pub(crate) async fn seen(&self) -> Seen {
        let page = self.scan(Scan { limit: usize::MAX, ..Scan::default() }).await;
        assert_eq!(page.cursor, None, "a page without limit is the last");
        let keys: Vec<Key> = page.entries.iter().map(|(key, _)| key.clone()).collect();
        let values = self.store.get_values(&self.bucket, &keys).await.unwrap();
        let expected = page.entries.iter().map(|(_, entry)| entry.as_ref().map(|entry| entry.value.clone()));
        assert!(values.into_iter().eq(expected), "get_values returns the values of the entries");
        Seen { revision: page.revision, entries: page.entries }
    }

    /// Stores an entry and lets it expire.
    pub(crate) async fn expired(&self, name: &str, value: &str) {
        self.write(put_until(name, value, self.secs_ahead(1))).await;
        self.advance(1);
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub(crate) fn expect(name: &str, condition: Condition) -> Expectation {
    Expectation { key: key(name), condition }
}

pub(crate) fn put_until(name: &str, value: &str, expiry: Time) -> Write {
    put_all(name, value, Some(expiry), None)
}

/// A put of JSON with all fields.
pub(crate) fn put_all(name: &str, value: &str, expires: Option<Time>, modified: Option<Time>) -> Write {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Write::Put { key: key(name), value, content_type: json(), expires, modified }
}

/// Writes of each kind to an existing key, in their order. Each changes it.
pub(crate) fn changes_of_each_kind(bench: &TestBench, name: &str) -> Vec<Write> {
    let key = || key(name);
    vec![
        Write::put(key(), "1"),
        Write::Increment { key: key(), by: 1 },
        Write::Append { key: key(), value: "0".into(), end: End::Append },
        Write::Touch { key: key(), expires: Some(bench.secs_ahead(60)) },
        Write::Touch { key: key(), expires: None },
        Write::Delete { key: key() },
    ]
}

pub(crate) fn json() -> ContentType {
    ContentType::new("application/json").unwrap()
}

/// The number in a value; 0 if the entry is missing.
pub(crate) fn number(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}
