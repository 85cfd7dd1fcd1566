//! The store under test, with the few words that the cases are written in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Setup, TestClock};
use crate::model::{
    Batch, Bucket, Change, Clock, Condition, ContentType, Entry, Error, Expectation, Key, Outcome, Page, Query,
    Revision, Time, Write,
};
use crate::store::{Limits, Store};

/// An empty store, its clock and its limits, and the bucket that a case works in.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<TestClock>,
    pub(super) limits: Limits,
    pub(super) bucket: Bucket,
}

/// What a reader can see of a bucket.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) revision: Revision,
    pub(super) entries: Vec<(Key, Option<Entry>)>,
}

impl Bench {
    pub(super) fn new(store: Arc<dyn Store>, setup: Setup) -> Self {
        Self { store, clock: setup.clock, limits: setup.limits, bucket: Bucket::default() }
    }

    /// The time of the clock.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The moment that many seconds from now.
    pub(super) fn secs_ahead(&self, secs: u64) -> Time {
        self.now().plus(Duration::from_secs(secs))
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// The outcome of a batch that meets no error.
    pub(super) async fn apply(&self, expectations: Vec<Expectation>, writes: Vec<Write>) -> Outcome {
        self.store.apply(&self.bucket, Batch::of(writes).expecting(expectations)).await.unwrap()
    }

    /// Does the writes.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> (Revision, Vec<Change>) {
        let count = writes.len();
        match self.apply(vec![], writes).await {
            Outcome::Committed { revision, changes } => {
                assert_eq!(changes.len(), count, "one change for each write");
                (revision, changes)
            }
            Outcome::Refused { index, .. } => panic!("refused for expectation {index}, of which there is none"),
        }
    }

    /// Does one write.
    pub(super) async fn write(&self, write: Write) -> Change {
        self.commit(vec![write]).await.1.remove(0)
    }

    /// Stores a value and gives the entry.
    pub(super) async fn put(&self, name: &str, value: impl Into<Bytes>) -> Entry {
        self.write(Write::put(key(name), value)).await.after.unwrap()
    }

    /// The error of a batch, of which nothing may have been done.
    pub(super) async fn fails(&self, writes: Vec<Write>) -> Error {
        let seen = self.seen().await;
        let error = self.store.apply(&self.bucket, Batch::of(writes)).await.unwrap_err();
        assert_eq!(self.seen().await, seen, "something was done of a batch that failed: {error}");
        error
    }

    /// The entry under a key.
    pub(super) async fn entry(&self, name: &str) -> Option<Entry> {
        self.store.get(&self.bucket, &[key(name)]).await.unwrap().entries.remove(0)
    }

    /// The value under a key.
    pub(super) async fn value(&self, name: &str) -> Option<Bytes> {
        self.entry(name).await.map(|entry| entry.value)
    }

    /// The revision of the bucket.
    pub(super) async fn revision(&self) -> Revision {
        self.store.get(&self.bucket, &[]).await.unwrap().revision
    }

    /// A page.
    pub(super) async fn scan(&self, query: Query) -> Page {
        self.store.scan(&self.bucket, query).await.unwrap()
    }

    /// All that a reader can see.
    pub(super) async fn seen(&self) -> Seen {
        let page = self.scan(Query { limit: usize::MAX, ..Query::default() }).await;
        assert_eq!(page.cursor, None, "there is nothing behind a page without limit");
        let keys: Vec<Key> = page.entries.iter().map(|(key, _)| key.clone()).collect();
        let values = self.store.values(&self.bucket, &keys).await.unwrap();
        let stand = page.entries.iter().map(|(_, entry)| entry.as_ref().map(|entry| entry.value.clone()));
        assert!(values.into_iter().eq(stand), "values alone are those of the entries");
        Seen { revision: page.revision, entries: page.entries }
    }

    /// Leaves an entry under the key that has expired, and nothing else to be seen.
    pub(super) async fn expired(&self, name: &str, value: &str) {
        self.write(put_until(name, value, self.secs_ahead(1))).await;
        self.advance(1);
    }
}

pub(super) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub(super) fn expect(name: &str, condition: Condition) -> Expectation {
    Expectation { key: key(name), condition }
}

pub(super) fn put_until(name: &str, value: &str, end: Time) -> Write {
    put_all(name, value, Some(end), None)
}

/// A put that gives all there is to give, as JSON.
pub(super) fn put_all(name: &str, value: &str, expires: Option<Time>, modified: Option<Time>) -> Write {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Write::Put { key: key(name), value, content_type: json(), expires, modified }
}

pub(super) fn json() -> ContentType {
    ContentType::new("application/json").unwrap()
}

/// The number in a value.
pub(super) fn number(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}
