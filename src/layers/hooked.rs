//! A store that reports each change to a listener after it is committed.
//!
//! It reports the writes that go through it. It does not report writes of other processes, edits of a data file by
//! hand, entries that expire, appends to logs, and writes to reserved buckets.
//!
//! The listener is called after the commit and before `apply` returns, even if the caller has dropped the future of
//! `apply`. So a listener that reads the key sees the change, or a later one.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::detached::detached;
use crate::model::{
    Batch, Bucket, Change, ChangeKind, Entry, Event, Key, Outcome, Page, Result, Returning, Revision, Scan, Snapshot,
};
use crate::store::{Blobs, Changes, Logs, Report, Store, Task};

/// Receives the changes of a batch: one event for each changed key, in the order of their last writes. It must return
/// at once, and leave long work to another task.
pub type ChangeListener = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// A store that reports its changes to a listener.
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Store>,
    listener: ChangeListener,
}

impl Hooked {
    /// Reports every change that is made through this store to `listener`.
    ///
    /// On a tokio runtime, a write continues when its future is dropped, and its changes are reported. Elsewhere they
    /// are not.
    pub fn new(inner: Arc<dyn Store>, listener: ChangeListener) -> Self {
        Self { inner, listener }
    }

    async fn apply_and_report(self, bucket: Bucket, batch: Batch) -> Result<Outcome> {
        let keys: Vec<Key> = batch.writes.iter().map(|write| write.key().clone()).collect();
        // The listener needs the changes, even if the caller does not want them, but no values.
        let returns_nothing = batch.returning == Returning::Nothing;
        let batch = if returns_nothing { batch.returning(Returning::Metadata) } else { batch };
        let outcome = self.inner.apply(&bucket, batch).await?;
        let Outcome::Committed { revision, changes } = outcome else { return Ok(outcome) };
        let events = events(&bucket, &keys, &changes, revision);
        if !events.is_empty() {
            (self.listener)(events);
        }
        Ok(Outcome::Committed { revision, changes: if returns_nothing { vec![] } else { changes } })
    }
}

#[async_trait]
impl Store for Hooked {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.inner.get(bucket, keys).await
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_values(bucket, keys).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if bucket.is_reserved() {
            return self.inner.apply(bucket, batch).await;
        }
        detached(self.clone().apply_and_report(bucket.clone(), batch)).await
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        self.inner.scan(bucket, query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.inner.maintain(bucket, task).await
    }

    fn changes(&self) -> Option<&dyn Changes> {
        self.inner.changes()
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.inner.logs()
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        self.inner.blobs()
    }
}

/// The events of a batch, one for each changed key. `revision` is that of the bucket after the batch.
fn events(bucket: &Bucket, keys: &[Key], changes: &[Change], revision: Revision) -> Vec<Event> {
    // The entry before the first write of each key, and the index of its last write.
    let mut by_key: HashMap<&Key, (Option<&Entry>, usize)> = HashMap::with_capacity(keys.len());
    for (at, (key, change)) in keys.iter().zip(changes).enumerate() {
        by_key.entry(key).or_insert((change.before.as_ref(), at)).1 = at;
    }
    let last = |(at, (key, change))| {
        let (before, last_at) = *by_key.get(key)?;
        let change: &Change = change;
        (last_at == at).then_some((key, before, change.after.as_ref()))
    };
    let event = |(key, before, after): (&Key, Option<&Entry>, Option<&Entry>)| {
        let (kind, revision) = match (before, after) {
            _ if before == after => return None,
            (_, None) => (ChangeKind::Delete, revision),
            (Some(old), Some(new)) if old.revision == new.revision => (ChangeKind::Touch, revision),
            (_, Some(new)) => (ChangeKind::Set, new.revision),
        };
        Some(Event { bucket: bucket.clone(), key: key.clone(), kind, revision })
    };
    keys.iter().zip(changes).enumerate().filter_map(last).filter_map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::model::{Condition, Expectation, SystemClock, Time, Write};
    use crate::store::Limits;
    use parking_lot::Mutex;

    type ReportedEvents = Arc<Mutex<Vec<Vec<Event>>>>;

    fn hooked() -> (Hooked, ReportedEvents) {
        let reported: ReportedEvents = Arc::default();
        let events = Arc::clone(&reported);
        let inner = MemoryStore::new(Arc::new(SystemClock), Limits::default());
        (Hooked::new(Arc::new(inner), Arc::new(move |batch| events.lock().push(batch))), reported)
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn batch(writes: Vec<Write>) -> Batch {
        Batch::new(writes)
    }

    fn take(reported: &ReportedEvents) -> Vec<(String, ChangeKind)> {
        let all: Vec<Event> = reported.lock().drain(..).flatten().collect();
        all.into_iter().map(|event| (event.key.to_string(), event.kind)).collect()
    }

    fn touch(name: &str, seconds: i64) -> Write {
        Write::Touch { key: key(name), expires: Some(Time::from_secs(4_000_000_000 + seconds)) }
    }

    #[tokio::test]
    async fn each_changed_key_is_reported_once_per_batch() {
        let (store, reported) = hooked();
        let bucket = Bucket::default();
        let put = |name: &str, value: &'static str| Write::put(key(name), value);
        store.apply(&bucket, batch(vec![put("a", "1"), put("b", "1"), put("a", "2")])).await.unwrap();
        assert_eq!(take(&reported), [("b".into(), ChangeKind::Set), ("a".into(), ChangeKind::Set)]);
        store.apply(&bucket, batch(vec![touch("a", 0), Write::Delete { key: key("b") }])).await.unwrap();
        assert_eq!(take(&reported), [("a".into(), ChangeKind::Touch), ("b".into(), ChangeKind::Delete)]);
        store.apply(&bucket, batch(vec![Write::Increment { key: key("n"), by: 1 }])).await.unwrap();
        assert_eq!(take(&reported), [("n".into(), ChangeKind::Set)]);
    }

    #[tokio::test]
    async fn batches_that_change_nothing_are_not_reported() {
        let (store, reported) = hooked();
        let bucket = Bucket::default();
        store.apply(&bucket, batch(vec![Write::put(key("a"), "1"), touch("a", 0)])).await.unwrap();
        take(&reported);
        let idle = vec![
            Write::Delete { key: key("gone") },
            touch("gone", 1),
            touch("a", 0),
            Write::Read { key: key("a") },
            Write::put(key("brief"), "1"),
            Write::Delete { key: key("brief") },
        ];
        store.apply(&bucket, batch(idle)).await.unwrap();
        let absent = Expectation { key: key("a"), condition: Condition::Absent };
        let refused = batch(vec![Write::put(key("a"), "2")]).with_expectations(vec![absent]);
        store.apply(&bucket, refused).await.unwrap();
        store.apply(&bucket, batch(vec![Write::Increment { key: key("a"), by: i64::MAX }])).await.unwrap_err();
        store.apply(&Bucket::new("_kvs.throttle").unwrap(), batch(vec![Write::put(key("a"), "1")])).await.unwrap();
        assert_eq!(take(&reported), []);
    }

    #[tokio::test]
    async fn reported_revisions_grow_and_sets_have_that_of_their_entry() {
        let (store, reported) = hooked();
        let bucket = Bucket::default();
        for writes in [
            vec![Write::put(key("a"), "1"), Write::put(key("b"), "1")],
            vec![touch("a", 1)],
            vec![Write::Delete { key: key("a") }, Write::put(key("c"), "1")],
        ] {
            store.apply(&bucket, batch(writes)).await.unwrap();
        }
        let events: Vec<Event> = reported.lock().drain(..).flatten().collect();
        let of_a: Vec<_> = events.iter().filter(|e| e.key == key("a")).map(|e| e.revision).collect();
        assert!(of_a.len() == 3 && of_a.is_sorted_by(|x, y| x < y), "{events:?}");
        let snapshot = store.get(&bucket, &[key("b"), key("c")]).await.unwrap();
        for (name, entry) in ["b", "c"].iter().zip(snapshot.entries) {
            let event = events.iter().find(|e| e.key == key(name)).unwrap();
            assert_eq!(event.revision, entry.unwrap().revision);
        }
    }

    #[tokio::test]
    async fn listener_is_notified_even_if_caller_discards_changes() {
        let (store, reported) = hooked();
        let writes = vec![Write::put(key("a"), "1"), Write::Delete { key: key("b") }];
        let outcome = store.apply(&Bucket::default(), batch(writes).returning(Returning::Nothing)).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed { changes, .. } if changes.is_empty()));
        assert_eq!(take(&reported), [("a".into(), ChangeKind::Set)]);
    }

    #[tokio::test]
    async fn a_write_whose_future_is_dropped_is_reported() {
        let (store, reported) = hooked();
        let bucket = Bucket::default();
        {
            let mut write = store.apply(&bucket, batch(vec![Write::put(key("a"), "1")]));
            // Started, then dropped.
            assert!(futures_util::poll!(&mut write).is_pending());
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(take(&reported), [("a".into(), ChangeKind::Set)]);
    }
}
