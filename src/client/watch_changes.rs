//! Watching: the changes of a bucket as a stream.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::client::Client;
use crate::model::{ChangesPage, ChangesQuery, Entry, Error, ErrorKind, Key, KeyChange, Result, Revision};

/// The changes of a bucket, as they happen. The stream ends only with an error.
pub type Watch = Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>;

/// What a watch has seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchEvent {
    /// The key has this entry now.
    Put {
        /// The revision of the change.
        revision: Revision,
        /// The key that was put.
        key: Key,
        /// Its entry.
        entry: Entry,
    },
    /// The key was deleted, or has expired since it was changed.
    Delete {
        /// The revision of the change.
        revision: Revision,
        /// The key that was deleted.
        key: Key,
    },
    /// Changes before this revision may have been missed: read the bucket again now. All later changes follow.
    Reset {
        /// The revision from which the watch goes on.
        revision: Revision,
    },
}

impl WatchEvent {
    /// The revision of the change. A later watch continues after it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { revision, .. } | Self::Delete { revision, .. } | Self::Reset { revision } => *revision,
        }
    }
}

impl From<KeyChange> for WatchEvent {
    fn from(change: KeyChange) -> Self {
        let KeyChange { revision, key, entry } = change;
        match entry {
            Some(entry) => Self::Put { revision, key, entry },
            None => Self::Delete { revision, key },
        }
    }
}

impl Client {
    /// The changes of the keys that begin with `prefix`, from now on, no matter who makes them.
    ///
    /// If a key is changed several times before the stream is polled, only its last change is seen. An entry that
    /// expires is not a change.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use futures_util::TryStreamExt as _;
    /// use kvs::client::WatchEvent;
    ///
    /// client.set("kitchen/temp", "21.5").await?;
    /// let mut changes = client.watch("kitchen/").await?;
    /// client.set("attic/temp", "9").await?;
    /// client.delete("kitchen/temp").await?;
    /// client.set("kitchen/hum", "40").await?;
    /// let first = changes.try_next().await?.expect("it has no end");
    /// assert!(matches!(first, WatchEvent::Delete { key, .. } if key.as_str() == "kitchen/temp"));
    /// let second = changes.try_next().await?.expect("it has no end");
    /// assert!(matches!(second, WatchEvent::Put { entry, .. } if entry.value == "40"));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the store [remembers no changes](crate::store::Store::changes).
    pub async fn watch(&self, prefix: &str) -> Result<Watch> {
        let now = self.store.get(&self.bucket, &[]).await?.revision;
        self.watch_since(prefix, now)
    }

    /// Like [`watch`](Self::watch), but with the changes since a revision: that of a
    /// [page](crate::model::Page::revision) or of the last event. If they are not all known, the first event is
    /// [`WatchEvent::Reset`].
    ///
    /// # Errors
    /// `Invalid` if the store remembers no changes.
    pub fn watch_since(&self, prefix: &str, since: Revision) -> Result<Watch> {
        if self.store.changes().is_none() {
            return Err(remembers_nothing());
        }
        let query = ChangesQuery { prefix: prefix.to_owned(), ..ChangesQuery::since(since) };
        let watch = Watching { client: self.clone(), query, pending: VecDeque::new() };
        let next = |mut watch: Watching| async move {
            let event = watch.next().await?;
            Ok(Some((event, watch)))
        };
        Ok(Box::pin(try_unfold(watch, next)))
    }
}

fn remembers_nothing() -> Error {
    Error::new(ErrorKind::Invalid, "this store remembers no changes; poll the bucket instead")
}

/// The state of a watch.
struct Watching {
    client: Client,
    query: ChangesQuery,
    /// Changes that were read and not yet seen.
    pending: VecDeque<KeyChange>,
}

impl Watching {
    async fn next(&mut self) -> Result<WatchEvent> {
        let Client { store, bucket, .. } = &self.client;
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change.into());
            }
            let changes = store.changes().ok_or_else(remembers_nothing)?;
            let page = changes.changes_since(bucket, self.query.clone()).await?;
            let Some(ChangesPage { changes, next, has_more }) = page else {
                let revision = store.get(bucket, &[]).await?.revision;
                self.query.since = revision;
                return Ok(WatchEvent::Reset { revision });
            };
            self.query.since = next;
            self.pending = changes.into();
            if self.pending.is_empty() && !has_more {
                store.changed(bucket, next).await?;
            }
        }
    }
}
