//! A fast store in front of a slow one, such as memory in front of PostgreSQL.
//!
//! The front is a copy of the back, bucket by bucket, and not a cache with holes: a bucket is copied at its first use,
//! and then follows the changes of the back. So the front answers scans too, and every answer is a state that the back
//! had at one moment. Writes are evaluated by the back alone.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::detached::detached;
use super::replica::Replica;
use crate::model::{
    Batch, BlobId, Bucket, ChangesPage, ChangesQuery, Error, ErrorKind, Key, Outcome, Page, Result, Revision, Scan,
    Snapshot,
};
use crate::store::{BlobReader, Blobs, Changes, Logs, NewBlob, Report, Store, Task};

/// The pauses after a failed attempt of the follower to read the back.
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(500);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// When the front gets the writes that are made through the layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WritePolicy {
    /// Before the write returns. The front is updated after the back has committed, so a write takes a little longer
    /// and the next read is fast.
    #[default]
    Through,
    /// With the next read that asks the back, or when the follower notices. For data that is seldom read soon.
    Around,
}

/// How old an answer may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadPolicy {
    /// Answers are at most this much older than the back. If the front was not compared with the back within this time,
    /// the read first asks for the changes since then, which is one call. If the back cannot be reached, that read
    /// fails.
    FrontFirst {
        /// The bound. Zero: every read asks the back.
        max_age: Duration,
    },
    /// Only the front answers, so reads work while the back cannot be reached (waiting for changes does not). A task
    /// follows the back: answers are usually as old as the store takes to [notice](Store::changed) a change, and as old
    /// as the connection is down.
    /// With [`WritePolicy::Through`] a write is seen when it returns; with `Around` it may be seen later.
    FrontOnly,
}

/// A fast store in front of a slow one.
///
/// ```
/// # kvs::example::run(async |_| {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use kvs::client::Client;
/// use kvs::layers::{ReadPolicy, Tiered, WritePolicy};
/// use kvs::memory::MemoryStore;
///
/// let (front, back) = (Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default()));
/// let slow = Client::new(back.clone());
/// slow.set("door", "open").await?;
///
/// let read = ReadPolicy::FrontFirst { max_age: Duration::from_secs(60) };
/// let store = Arc::new(Tiered::new(front, back, WritePolicy::Through, read)?);
/// let client = Client::new(store.clone());
/// store.warm_up(client.bucket()).await?; // otherwise the first read does this
/// assert_eq!(client.get_string("door").await?.as_deref(), Some("open"));
///
/// client.set("door", "shut").await?;
/// assert_eq!(slow.get_string("door").await?.as_deref(), Some("shut"));
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Tiered {
    tiers: Arc<Tiers>,
}

struct Tiers {
    front: Arc<dyn Store>,
    back: Arc<dyn Store>,
    write: WritePolicy,
    read: ReadPolicy,
    buckets: Mutex<HashMap<Bucket, FollowedBucket>>,
}

/// A bucket that was used.
#[derive(Default)]
struct FollowedBucket {
    replica: Arc<Replica>,
    /// The task that follows the back, if there is one. It ends with the layer.
    follower: Option<AbortHandle>,
}

impl FollowedBucket {
    /// Whether a task follows the back. It ends early with its runtime.
    fn is_followed(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| !follower.is_finished())
    }
}

impl Drop for Tiers {
    fn drop(&mut self) {
        for bucket in self.buckets.get_mut().values() {
            if let Some(follower) = &bucket.follower {
                follower.abort();
            }
        }
    }
}

impl Tiered {
    /// Puts `front` in front of `back`. Nobody else may write to `front`; what is in it is compared at the first use.
    /// It must accept every value of the back. If `back` has blobs, put [`LargeValues`](super::large_values::LargeValues)
    /// around the result, and not around `back`, so that the front gets references and not long values.
    ///
    /// With [`ReadPolicy::FrontOnly`] the layer must be used on a tokio runtime.
    ///
    /// # Errors
    /// `Invalid` if `back` [remembers no changes](Store::changes).
    pub fn new(front: Arc<dyn Store>, back: Arc<dyn Store>, write: WritePolicy, read: ReadPolicy) -> Result<Self> {
        if back.changes().is_none() {
            let text = "the back of a tiered store must remember changes, or the front could not follow it";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self { tiers: Arc::new(Tiers { front, back, write, read, buckets: Mutex::default() }) })
    }

    /// Brings the front up to date with the back, whatever the policy is. At the first use of a bucket this copies it.
    ///
    /// # Errors
    /// Those of both stores.
    pub async fn warm_up(&self, bucket: &Bucket) -> Result<()> {
        self.refresh(&self.replica(bucket), bucket, None).await
    }

    /// The copy of a bucket.
    fn replica<'a>(&'a self, bucket: &'a Bucket) -> UsedReplica<'a> {
        let replica = Arc::clone(&self.tiers.buckets.lock().entry(bucket.clone()).or_default().replica);
        UsedReplica { tiers: &self.tiers, bucket, replica }
    }

    /// Makes sure that the front is as current as the policy demands. The result is the copy to read.
    async fn current<'a>(&'a self, bucket: &'a Bucket) -> Result<UsedReplica<'a>> {
        let replica = self.replica(bucket);
        let is_current = match self.tiers.read {
            ReadPolicy::FrontFirst { max_age } => replica.is_checked_within(max_age).await,
            ReadPolicy::FrontOnly => self.is_followed(bucket),
        };
        if !is_current {
            let refreshed = self.refresh(&replica, bucket, None).await;
            // A front without a copy has no answer.
            if self.tiers.read != ReadPolicy::FrontOnly || !self.is_followed(bucket) {
                refreshed?;
            }
        }
        Ok(replica)
    }

    /// Brings the front up to date if possible. Otherwise the log has the reason.
    async fn try_refresh(&self, bucket: &Bucket, goal: Option<Revision>) {
        if let Err(error) = self.refresh(&self.replica(bucket), bucket, goal).await {
            tracing::warn!("the front of bucket {bucket} could not be updated: {error}");
        }
    }

    async fn apply_to_back(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let applied = self.tiers.back.apply(bucket, batch).await;
        // Also after an error: the batch may have been done.
        let known = self.tiers.buckets.lock().get(bucket).map(|known| Arc::clone(&known.replica));
        if let Some(known) = known {
            known.mark_outdated().await;
        }
        let outcome = applied?;
        // After a failed expectation the caller reads again, and must not get the same old entry.
        let must_refresh = self.tiers.write == WritePolicy::Through || !matches!(outcome, Outcome::Committed { .. });
        if must_refresh {
            // The batch is done. If this fails, the next read that may ask the back does so.
            self.try_refresh(bucket, None).await;
        }
        Ok(outcome)
    }

    fn is_followed(&self, bucket: &Bucket) -> bool {
        self.tiers.buckets.lock().get(bucket).is_some_and(FollowedBucket::is_followed)
    }

    /// Brings the front up to date. A bucket that exists is followed from now on, if the policy needs that.
    async fn refresh(&self, replica: &UsedReplica<'_>, bucket: &Bucket, goal: Option<Revision>) -> Result<()> {
        let refreshed = self.tiers.refresh(replica, bucket, goal).await;
        let exists = match &refreshed {
            Ok(()) => replica.position().await.is_some_and(|position| position > Revision::ZERO),
            // The back cannot be reached, but the front may have a copy from an earlier run.
            Err(_) => self.tiers.front.get(bucket, &[]).await?.revision > Revision::ZERO,
        };
        if exists && self.tiers.read == ReadPolicy::FrontOnly {
            let mut buckets = self.tiers.buckets.lock();
            let known = buckets.entry(bucket.clone()).or_default();
            if let (false, Ok(runtime)) = (known.is_followed(), Handle::try_current()) {
                let follow = follow(Arc::downgrade(&self.tiers), bucket.clone(), Arc::clone(&known.replica));
                known.follower = Some(runtime.spawn(follow).abort_handle());
            }
        }
        refreshed
    }
}

/// The copy of a bucket while it is used. After its last use the copy of a bucket that does not exist is forgotten, so
/// that reads of random names do not fill the memory.
struct UsedReplica<'a> {
    tiers: &'a Tiers,
    bucket: &'a Bucket,
    replica: Arc<Replica>,
}

impl Deref for UsedReplica<'_> {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl Drop for UsedReplica<'_> {
    fn drop(&mut self) {
        let mut buckets = self.tiers.buckets.lock();
        // One reference is in the map, one is ours. Nobody gets another one as long as the map is locked.
        if Arc::strong_count(&self.replica) == 2 && self.replica.is_of_no_bucket() {
            buckets.remove(self.bucket);
        }
    }
}

impl Tiers {
    async fn refresh(&self, replica: &Replica, bucket: &Bucket, goal: Option<Revision>) -> Result<()> {
        replica.refresh(&*self.front, &*self.back, bucket, goal).await
    }

    fn back_blobs(&self) -> Result<&dyn Blobs> {
        let none = || Error::new(ErrorKind::Invalid, "the back of this tiered store has no blobs");
        self.back.blobs().ok_or_else(none)
    }
}

/// Follows a bucket of the back as long as the layer exists.
async fn follow(tiers: Weak<Tiers>, bucket: Bucket, replica: Arc<Replica>) {
    let mut pause = MIN_RETRY_PAUSE;
    loop {
        // The layer is not kept alive while the task waits.
        let Some(back) = tiers.upgrade().map(|tiers| Arc::clone(&tiers.back)) else { return };
        let changed = match replica.position().await {
            Some(position) => back.changed(&bucket, position).await.map(drop),
            None => Ok(()),
        };
        let Some(tiers) = tiers.upgrade() else { return };
        let refreshed = match changed {
            Ok(()) => tiers.refresh(&replica, &bucket, None).await,
            Err(error) => Err(error),
        };
        drop(tiers);
        match refreshed {
            Ok(()) => pause = MIN_RETRY_PAUSE,
            Err(error) => {
                tracing::warn!("the front of bucket {bucket} cannot follow the back and may be old: {error}");
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(MAX_RETRY_PAUSE);
            }
        }
    }
}

#[async_trait]
impl Store for Tiered {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let copy = self.current(bucket).await?;
        copy.read(async |revision| Ok(Snapshot { revision, ..self.tiers.front.get(bucket, keys).await? })).await
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let copy = self.current(bucket).await?;
        copy.read(async |_| self.tiers.front.get_values(bucket, keys).await).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        // If the caller gives up, the front must still notice a commit.
        let (this, bucket) = (self.clone(), bucket.clone());
        detached(async move { this.apply_to_back(&bucket, batch).await }).await
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        let copy = self.current(bucket).await?;
        copy.read(async |revision| Ok(Page { revision, ..self.tiers.front.scan(bucket, query).await? })).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        let revision = self.tiers.back.changed(bucket, since).await?;
        // A caller that wakes up must see the change when it reads.
        let replica = self.replica(bucket);
        if replica.position().await.is_none_or(|position| position < revision) {
            self.refresh(&replica, bucket, Some(revision)).await?;
        }
        Ok(revision)
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        match self.tiers.read {
            ReadPolicy::FrontFirst { .. } => self.tiers.back.buckets().await,
            ReadPolicy::FrontOnly => self.tiers.front.buckets().await,
        }
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let mut report = self.tiers.back.maintain(bucket, task).await?;
        if task == Task::Status && *bucket == Bucket::default() {
            // The list shows whether the back responds. It is the same for all buckets.
            self.tiers.back.buckets().await?;
        }
        // The front is a copy without the blobs that it refers to, so a check would find them missing.
        if task != Task::Check {
            report.findings.extend(self.tiers.front.maintain(bucket, task).await?.findings);
        }
        Ok(report)
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    /// Those of the back: the front has no copy of them.
    fn logs(&self) -> Option<&dyn Logs> {
        self.tiers.back.logs()
    }

    /// Those of the back: the front has the references only.
    fn blobs(&self) -> Option<&dyn Blobs> {
        self.tiers.back.blobs().map(|_| self as &dyn Blobs)
    }
}

#[async_trait]
impl Blobs for Tiered {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.get(bucket, keys).await
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        self.tiers.back_blobs()?.create_blob(bucket).await
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        let found = self.tiers.back_blobs()?.open_blob(bucket, id).await?;
        if found.is_none() {
            // Another program has replaced the value since the front was compared. The caller reads the entry again.
            self.try_refresh(bucket, None).await;
        }
        Ok(found)
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        self.tiers.back_blobs()?.remove_unused_blobs(bucket, ids).await
    }
}

#[async_trait]
impl Changes for Tiered {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.tiers.back.changes() else { return Ok(None) };
        let page = changes.changes_since(bucket, query).await?;
        // A caller that gets a change, or must read again, reads at least that state.
        self.try_refresh(bucket, page.as_ref().map(|page| page.next)).await;
        Ok(page)
    }
}
