//! The client itself: a store, a bucket of it, and a clock.

use std::sync::Arc;

use crate::model::{Batch, Bucket, Change, Clock, Condition, Entry, Error, Expectation, Key, Kind, Outcome, Result};
use crate::model::{Revision, SystemClock, Write};
use crate::store::Store;

/// Works on one bucket of a store.
///
/// ```
/// use std::sync::Arc;
/// use kvs::api::Client;
/// use kvs::memory::MemoryStore;
/// use kvs::model::Bucket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kvs::model::Result<()> {
/// let client = Client::new(Arc::new(MemoryStore::default()));
/// client.set("kitchen/temp", "21.5").await?;
/// assert_eq!(client.get_string("kitchen/temp").await?.as_deref(), Some("21.5"));
///
/// let garden = client.with_bucket(Bucket::new("garden")?);
/// assert_eq!(garden.get("kitchen/temp").await?, None);
/// # Ok(())
/// # }
/// ```
///
/// Keys are given as text; one that is no [`Key`] is an error of [`Kind::Invalid`]. Further errors are those of
/// [`Store`].
#[derive(Clone)]
pub struct Client {
    pub(super) store: Arc<dyn Store>,
    pub(super) bucket: Bucket,
    pub(super) clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of the bucket `default`, which tells the time by the system's clock.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, bucket: Bucket::default(), clock: Arc::new(SystemClock) }
    }

    /// The same client on another bucket.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket) -> Self {
        Self { bucket, ..self.clone() }
    }

    /// The same client with another clock, from which times to live are counted. It should be that of the store.
    #[must_use]
    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self.clone() }
    }

    /// The bucket it works on.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The store it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The buckets of the store that have been written, ordered by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.store.buckets().await
    }

    /// Does the writes and gives what each did.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Change>> {
        Ok(self.apply(Batch::of(writes)).await?.1)
    }

    /// Does the writes, whatever stood there, and gives the revision after them.
    pub(super) async fn commit_untold(&self, writes: Vec<Write>) -> Result<Revision> {
        Ok(self.apply(Batch::of(writes).untold()).await?.0)
    }

    /// Does a batch that expects nothing.
    async fn apply(&self, batch: Batch) -> Result<(Revision, Vec<Change>)> {
        match self.store.apply(&self.bucket, batch).await? {
            Outcome::Committed { revision, changes } => Ok((revision, changes)),
            Outcome::Refused { .. } => Err(broken("refused a batch that expects nothing")),
        }
    }

    /// Does one write and gives what it did.
    pub(super) async fn commit_one(&self, write: Write) -> Result<Change> {
        self.commit(vec![write]).await?.pop().ok_or_else(|| broken("lost the account of a write"))
    }

    /// Does one write if the condition holds of its key; else gives what stood there.
    pub(super) async fn commit_if(&self, condition: Condition, write: Write) -> Result<Result<Change, Option<Entry>>> {
        let expectations = vec![Expectation { key: write.key().clone(), condition }];
        match self.store.apply(&self.bucket, Batch::of(vec![write]).expecting(expectations)).await? {
            Outcome::Committed { mut changes, .. } => {
                Ok(Ok(changes.pop().ok_or_else(|| broken("lost the account of a write"))?))
            }
            Outcome::Refused { found, .. } => Ok(Err(found)),
        }
    }

    /// The entry under a key.
    pub(super) async fn look(&self, key: &Key) -> Result<Option<Entry>> {
        let mut entries = self.store.get(&self.bucket, std::slice::from_ref(key)).await?.entries;
        Ok(entries.pop().flatten())
    }
}

/// The store broke its contract: whether the write was done is open.
pub(super) fn broken(how: &str) -> Error {
    Error::new(Kind::Failed, format!("the store {how}; run the suite of kvs::store on it"))
}
