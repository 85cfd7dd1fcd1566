//! The copy of one bucket in the front of a [`Tiered`](super::tiered::Tiered), and how it follows the back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, RwLock};

use crate::model::{
    Batch, Bucket, ChangesPage, ChangesQuery, Entry, Error, ErrorKind, Key, Outcome, Projection, Result, Returning,
    Revision, Scan, Write,
};
use crate::store::{Store, Task};

/// How many entries are copied in one step.
const PAGE_ENTRIES: usize = 100;

/// How often a bucket is copied in one refresh.
const MAX_COPIES: usize = 3;

/// How often expired entries are removed from the front. The back reports no change when it removes them.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(60);

/// The state of a copy.
#[derive(Default)]
pub(super) struct Replica {
    /// Held during a refresh, so that there is one at a time. Readers do not wait for it.
    refreshing: Mutex<()>,
    /// Readers share the lock while they read the front, so that they never see a part of an update.
    copied: RwLock<ReplicaState>,
}

#[derive(Default)]
struct ReplicaState {
    /// The revision of the back that the front is at; `None` before the first copy.
    position: Option<Revision>,
    /// When the front was known to be as new as the back.
    checked: Option<Instant>,
    /// When the back was last changed through this layer.
    outdated: Option<Instant>,
    /// When expired entries were last removed from the front.
    removed_expired: Option<Instant>,
}

/// What a refresh has read: the writes that bring the front to this revision of the back.
struct Update {
    writes: Vec<Write>,
    position: Revision,
}

impl Replica {
    /// The revision of the back that the front is at.
    pub(super) async fn position(&self) -> Option<Revision> {
        self.copied.read().await.position
    }

    /// Whether it is known to be a copy of a bucket that does not exist, or is a copy of nothing yet.
    pub(super) fn is_of_no_bucket(&self) -> bool {
        self.copied.try_read().is_ok_and(|copied| copied.position.is_none_or(|position| position == Revision::ZERO))
    }

    /// Whether the front was as new as the back within this time.
    pub(super) async fn is_checked_within(&self, time: Duration) -> bool {
        let copied = self.copied.read().await;
        let is_trusted = |checked: &Instant| copied.outdated.is_none_or(|outdated| *checked > outdated);
        copied.checked.filter(is_trusted).is_some_and(|checked| checked.elapsed() < time)
    }

    /// Notes that the back has changed.
    pub(super) async fn mark_outdated(&self) {
        self.copied.write().await.outdated = Some(Instant::now());
    }

    /// Reads from the front; `work` gets the revision of the bucket.
    pub(super) async fn read<T>(&self, work: impl AsyncFnOnce(Revision) -> Result<T>) -> Result<T> {
        let copied = self.copied.read().await;
        work(copied.position.unwrap_or_default()).await
    }

    /// Makes the front as new as the back is now, or at least as new as `goal`. The back is read first; then the front
    /// gets all changes in one batch.
    pub(super) async fn refresh(
        &self,
        front: &dyn Store,
        back: &dyn Store,
        bucket: &Bucket,
        goal: Option<Revision>,
    ) -> Result<()> {
        let wanted = Instant::now();
        let _turn = self.refreshing.lock().await;
        let position = {
            let copied = self.copied.read().await;
            let is_reached = goal.is_some() && copied.position >= goal;
            if is_reached || copied.checked.is_some_and(|checked| checked >= wanted) {
                return Ok(());
            }
            copied.position
        };
        let start = Instant::now();
        let tiers = BucketTiers { front, back, bucket };
        let Update { writes, position } = tiers.update(position).await?;
        let mut copied = self.copied.write().await;
        tiers.write(writes).await?;
        copied.position = Some(position);
        copied.checked = Some(start);
        if copied.removed_expired.get_or_insert(start).elapsed() >= REMOVAL_INTERVAL {
            copied.removed_expired = Some(start);
            front.maintain(bucket, Task::RemoveExpired).await?;
        }
        Ok(())
    }
}

/// The bucket in both stores.
struct BucketTiers<'a> {
    front: &'a dyn Store,
    back: &'a dyn Store,
    bucket: &'a Bucket,
}

impl BucketTiers<'_> {
    /// What the front needs to be as new as the back, if it is at this revision.
    async fn update(&self, position: Option<Revision>) -> Result<Update> {
        if let Some(position) = position
            && let Some(update) = self.completed(Update { writes: vec![], position }).await?
        {
            return Ok(update);
        }
        for _ in 0..MAX_COPIES {
            if let Some(update) = self.completed(self.copy().await?).await? {
                return Ok(update);
            }
        }
        let text =
            format!("bucket {}: the back forgets its changes faster than it can be copied; try again", self.bucket);
        Err(Error::new(ErrorKind::Busy, text))
    }

    /// The update with all later changes of the back; `None` if they are not all known.
    async fn completed(&self, mut update: Update) -> Result<Option<Update>> {
        loop {
            let Some(page) = self.changes_since(update.position).await? else { return Ok(None) };
            let ChangesPage { changes, next, has_more } = page;
            update.writes.extend(changes.into_iter().flat_map(|change| replace(&change.key, change.entry)));
            update.position = next;
            if !has_more {
                return Ok(Some(update));
            }
        }
    }

    async fn changes_since(&self, since: Revision) -> Result<Option<ChangesPage>> {
        let none = || Error::new(ErrorKind::Invalid, "the back of this tiered store remembers no changes");
        let changes = self.back.changes().ok_or_else(none)?;
        let query = ChangesQuery { limit: PAGE_ENTRIES, ..ChangesQuery::since(since) };
        changes.changes_since(self.bucket, query).await
    }

    /// The writes that copy the bucket: what is missing or differs in the front, and the removal of what the back does
    /// not have. The position is the revision from which on changes are missing.
    async fn copy(&self) -> Result<Update> {
        let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
        let mut gone = self.keys_in_front().await?;
        let (mut writes, mut start) = (vec![], None);
        loop {
            let page = self.back.scan(self.bucket, query.clone()).await?;
            let position = *start.get_or_insert(page.revision);
            let keys: Vec<Key> = page.entries.iter().map(|(key, _)| key.clone()).collect();
            let present = self.front.get(self.bucket, &keys).await?.entries;
            for ((key, entry), present) in page.entries.into_iter().zip(present) {
                gone.remove(&key);
                if entry != present {
                    writes.extend(replace(&key, entry));
                }
            }
            let Some(cursor) = page.cursor else {
                writes.extend(gone.into_iter().map(|key| Write::Delete { key }));
                return Ok(Update { writes, position });
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
        match self.front.apply(self.bucket, Batch::new(writes).returning(Returning::Nothing)).await? {
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
