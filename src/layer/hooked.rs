//! A store that tells a listener what has changed, once it is durable.
//!
//! It tells of what goes through it: not of other processes, not of a person with an editor, not of entries that expire.
//! What always holds: the listener is told after the commit and before `apply` returns, also if nobody waits for `apply`
//! any more, so whoever acts on it acts on what readers see. Buckets that are reserved tell nobody.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::model::{
    Batch, Bucket, Change, Entry, Error, Event, Key, Kind, Outcome, Page, Query, Result, Revision, Snapshot, What,
};
use crate::store::{Report, Store, Task};

/// Takes note of changes: one event for each key of a batch, in the order of their last writes. It must return at once;
/// work is for later.
pub type Listener = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// A store with a listener.
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Store>,
    listener: Listener,
}

impl Hooked {
    /// Tells `listener` of every change that is made through this.
    ///
    /// On a runtime of tokio a write whose future is dropped is carried out to its end, so that what it changed is told; elsewhere
    /// nobody is told of it.
    pub fn new(inner: Arc<dyn Store>, listener: Listener) -> Self {
        Self { inner, listener }
    }

    async fn apply_and_tell(self, bucket: Bucket, batch: Batch) -> Result<Outcome> {
        let keys: Vec<Key> = batch.writes.iter().map(|write| write.key().clone()).collect();
        // What the listener is to be told must be known, whether the caller asks for it or not.
        let untold = batch.untold;
        let outcome = self.inner.apply(&bucket, Batch { untold: false, ..batch }).await?;
        let Outcome::Committed { revision, changes } = outcome else { return Ok(outcome) };
        let events = events(&bucket, &keys, &changes, revision);
        if !events.is_empty() {
            (self.listener)(events);
        }
        Ok(Outcome::Committed { revision, changes: if untold { vec![] } else { changes } })
    }
}

#[async_trait]
impl Store for Hooked {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.inner.get(bucket, keys).await
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.inner.values(bucket, keys).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if bucket.is_reserved() {
            return self.inner.apply(bucket, batch).await;
        }
        let work = self.clone().apply_and_tell(bucket.clone(), batch);
        // A client that leaves drops the future of its write, which may be committed all the same.
        match Handle::try_current() {
            Ok(runtime) => match runtime.spawn(work).await {
                Ok(outcome) => outcome,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(Error::new(Kind::Failed, "the program ended before the write was acknowledged")),
                },
            },
            Err(_) => work.await,
        }
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        self.inner.scan(bucket, query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.inner.upkeep(bucket, task).await
    }
}

/// What a batch came to, key by key. A key that stands as it stood before is left out.
fn events(bucket: &Bucket, keys: &[Key], changes: &[Change], moved: Revision) -> Vec<Event> {
    // The first entry before, and where the last write of the key is.
    let mut spans: HashMap<&Key, (Option<&Entry>, usize)> = HashMap::with_capacity(keys.len());
    for (at, (key, change)) in keys.iter().zip(changes).enumerate() {
        spans.entry(key).or_insert((change.before.as_ref(), at)).1 = at;
    }
    let last = |(at, (key, change))| {
        let (before, end) = *spans.get(key)?;
        let change: &Change = change;
        (end == at).then_some((key, before, change.after.as_ref()))
    };
    let event = |(key, before, after): (&Key, Option<&Entry>, Option<&Entry>)| {
        let (what, revision) = match (before, after) {
            _ if before == after => return None,
            (_, None) => (What::Delete, moved),
            (Some(old), Some(new)) if old.revision == new.revision => (What::Touch, moved),
            (_, Some(new)) => (What::Set, new.revision),
        };
        Some(Event { bucket: bucket.clone(), key: key.clone(), what, revision })
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

    type Told = Arc<Mutex<Vec<Vec<Event>>>>;

    fn hooked() -> (Hooked, Told) {
        let told: Told = Arc::default();
        let heard = Arc::clone(&told);
        let inner = MemoryStore::new(Arc::new(SystemClock), Limits::default());
        (Hooked::new(Arc::new(inner), Arc::new(move |events| heard.lock().push(events))), told)
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn batch(writes: Vec<Write>) -> Batch {
        Batch::of(writes)
    }

    fn take(told: &Told) -> Vec<(String, What)> {
        let all: Vec<Event> = told.lock().drain(..).flatten().collect();
        all.into_iter().map(|event| (event.key.to_string(), event.what)).collect()
    }

    fn touch(name: &str, seconds: i64) -> Write {
        Write::Touch { key: key(name), expires: Some(Time::from_secs(4_000_000_000 + seconds)) }
    }

    #[tokio::test]
    async fn a_change_is_told_once_for_each_key() {
        let (store, told) = hooked();
        let bucket = Bucket::default();
        let put = |name: &str, value: &'static str| Write::put(key(name), value);
        store.apply(&bucket, batch(vec![put("a", "1"), put("b", "1"), put("a", "2")])).await.unwrap();
        assert_eq!(take(&told), [("b".into(), What::Set), ("a".into(), What::Set)]);
        store.apply(&bucket, batch(vec![touch("a", 0), Write::Delete { key: key("b") }])).await.unwrap();
        assert_eq!(take(&told), [("a".into(), What::Touch), ("b".into(), What::Delete)]);
        store.apply(&bucket, batch(vec![Write::Increment { key: key("n"), by: 1 }])).await.unwrap();
        assert_eq!(take(&told), [("n".into(), What::Set)]);
    }

    #[tokio::test]
    async fn what_changed_nothing_is_told_to_nobody() {
        let (store, told) = hooked();
        let bucket = Bucket::default();
        store.apply(&bucket, batch(vec![Write::put(key("a"), "1"), touch("a", 0)])).await.unwrap();
        take(&told);
        let idle = vec![
            Write::Delete { key: key("gone") },
            touch("gone", 1),
            touch("a", 0),
            Write::Look { key: key("a") },
            Write::put(key("brief"), "1"),
            Write::Delete { key: key("brief") },
        ];
        store.apply(&bucket, batch(idle)).await.unwrap();
        let absent = Expectation { key: key("a"), condition: Condition::Absent };
        let refused = batch(vec![Write::put(key("a"), "2")]).expecting(vec![absent]);
        store.apply(&bucket, refused).await.unwrap();
        store.apply(&bucket, batch(vec![Write::Increment { key: key("a"), by: i64::MAX }])).await.unwrap_err();
        store.apply(&Bucket::new("_kvs.throttle").unwrap(), batch(vec![Write::put(key("a"), "1")])).await.unwrap();
        assert_eq!(take(&told), []);
    }

    #[tokio::test]
    async fn revisions_told_grow_and_a_value_has_its_own() {
        let (store, told) = hooked();
        let bucket = Bucket::default();
        for writes in [
            vec![Write::put(key("a"), "1"), Write::put(key("b"), "1")],
            vec![touch("a", 1)],
            vec![Write::Delete { key: key("a") }, Write::put(key("c"), "1")],
        ] {
            store.apply(&bucket, batch(writes)).await.unwrap();
        }
        let events: Vec<Event> = told.lock().drain(..).flatten().collect();
        let of_a: Vec<_> = events.iter().filter(|e| e.key == key("a")).map(|e| e.revision).collect();
        assert!(of_a.len() == 3 && of_a.is_sorted_by(|x, y| x < y), "{events:?}");
        let snapshot = store.get(&bucket, &[key("b"), key("c")]).await.unwrap();
        for (name, entry) in ["b", "c"].iter().zip(snapshot.entries) {
            let event = events.iter().find(|e| e.key == key(name)).unwrap();
            assert_eq!(event.revision, entry.unwrap().revision);
        }
    }

    #[tokio::test]
    async fn what_the_caller_does_not_ask_the_listener_is_told() {
        let (store, told) = hooked();
        let writes = vec![Write::put(key("a"), "1"), Write::Delete { key: key("b") }];
        let outcome = store.apply(&Bucket::default(), batch(writes).untold()).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed { changes, .. } if changes.is_empty()));
        assert_eq!(take(&told), [("a".into(), What::Set)]);
    }

    #[tokio::test]
    async fn a_write_that_nobody_waits_for_is_told() {
        let (store, told) = hooked();
        let bucket = Bucket::default();
        {
            let mut write = store.apply(&bucket, batch(vec![Write::put(key("a"), "1")]));
            // Begun, then left alone.
            assert!(futures_util::poll!(&mut write).is_pending());
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(take(&told), [("a".into(), What::Set)]);
    }
}
