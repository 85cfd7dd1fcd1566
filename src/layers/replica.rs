//! The copy of one bucket in the front of a [`Tiered`](super::tiered::Tiered), and how it follows the back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use crate::model::{
    Batch, Bucket, ChangesPage, ChangesQuery, Entry, Error, ErrorKind, Key, KeyChange, Outcome, Projection, Result,
    Revision, Scan, Write,
};
use crate::store::Store;

/// How many entries are copied in one step.
const PAGE_ENTRIES: usize = 100;

/// The state of a copy. Readers share the lock, so that they never see a part of an update.
#[derive(Default)]
pub(super) struct Replica(RwLock<Copied>);

#[derive(Default)]
struct Copied {
    /// The revision of the back that the front is at; `None` before the first copy.
    position: Option<Revision>,
    /// When the front was known to be as new as the back.
    checked: Option<Instant>,
}

impl Replica {
    /// The revision of the back that the front is at.
    pub(super) async fn position(&self) -> Option<Revision> {
        self.0.read().await.position
    }

    /// Whether the front was as new as the back within this time.
    pub(super) async fn is_checked_within(&self, time: Duration) -> bool {
        self.0.read().await.checked.is_some_and(|checked| checked.elapsed() < time)
    }

    /// Notes that the back has changed.
    pub(super) async fn distrust(&self) {
        self.0.write().await.checked = None;
    }

    /// Reads from the front; `work` gets the revision of the bucket.
    pub(super) async fn read<T>(&self, work: impl AsyncFnOnce(Revision) -> Result<T>) -> Result<T> {
        let copied = self.0.read().await;
        work(copied.position.unwrap_or_default()).await
    }

    /// Makes the front as new as the back is now.
    pub(super) async fn refresh(&self, front: &dyn Store, back: &dyn Store, bucket: &Bucket) -> Result<()> {
        let wanted = Instant::now();
        let mut copied = self.0.write().await;
        if copied.checked.is_some_and(|checked| checked >= wanted) {
            return Ok(());
        }
        let start = Instant::now();
        let tiers = Tiers { front, back, bucket };
        copied.checked = None;
        let mut position = match copied.position {
            Some(position) => position,
            None => tiers.copy().await?,
        };
        loop {
            match tiers.apply_changes(position).await? {
                Some(ChangesPage { next, has_more, .. }) => {
                    position = next;
                    copied.position = Some(position);
                    if !has_more {
                        break;
                    }
                }
                None => position = tiers.copy().await?,
            }
        }
        copied.checked = Some(start);
        Ok(())
    }
}

/// The bucket in both stores.
struct Tiers<'a> {
    front: &'a dyn Store,
    back: &'a dyn Store,
    bucket: &'a Bucket,
}

impl Tiers<'_> {
    /// Applies a page of changes to the front.
    async fn apply_changes(&self, since: Revision) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.back.changes() else { return Ok(None) };
        let query = ChangesQuery { limit: PAGE_ENTRIES, ..ChangesQuery::since(since) };
        let page = changes.changes_since(self.bucket, query).await?;
        if let Some(page) = &page {
            let writes = page.changes.iter().flat_map(|KeyChange { key, entry, .. }| replace(key, entry.clone()));
            self.write(writes.collect()).await?;
        }
        Ok(page)
    }

    /// Copies the bucket: what is missing or differs in the front, and removes what the back does not have. Returns the
    /// revision from which on changes are missing.
    async fn copy(&self) -> Result<Revision> {
        let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
        let mut gone = self.keys_in_front().await?;
        let mut start = None;
        loop {
            let page = self.back.scan(self.bucket, query.clone()).await?;
            let start_of_copy = *start.get_or_insert(page.revision);
            let keys: Vec<Key> = page.entries.iter().map(|(key, _)| key.clone()).collect();
            let present = self.front.get(self.bucket, &keys).await?.entries;
            let mut writes = vec![];
            for ((key, entry), present) in page.entries.into_iter().zip(present) {
                gone.remove(&key);
                if entry != present {
                    writes.extend(replace(&key, entry));
                }
            }
            self.write(writes).await?;
            let Some(cursor) = page.cursor else {
                self.write(gone.into_iter().map(|key| Write::Delete { key }).collect()).await?;
                return Ok(start_of_copy);
            };
            query.after = Some(cursor.as_str().to_owned());
        }
    }

    async fn keys_in_front(&self) -> Result<BTreeSet<Key>> {
        let mut query = Scan { projection: Projection::Keys, limit: 10_000, ..Scan::default() };
        let mut keys = BTreeSet::new();
        loop {
            let page = self.front.scan(self.bucket, query.clone()).await?;
            keys.extend(page.entries.into_iter().map(|(key, _)| key));
            let Some(cursor) = page.cursor else { return Ok(keys) };
            query.after = Some(cursor.as_str().to_owned());
        }
    }

    async fn write(&self, writes: Vec<Write>) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        match self.front.apply(self.bucket, Batch::new(writes).returning_nothing()).await? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::PreconditionFailed { .. } => {
                Err(Error::new(ErrorKind::Unavailable, "the front rejected a batch without expectations"))
            }
        }
    }
}

/// The writes that give a key this entry, whatever the front has: a restore alone would not replace a later entry.
fn replace(key: &Key, entry: Option<Entry>) -> impl Iterator<Item = Write> + use<> {
    let delete = Write::Delete { key: key.clone() };
    std::iter::once(delete).chain(entry.map(|entry| Write::Restore { key: key.clone(), entry }))
}
