//! The client itself: a store, one of its buckets, and a clock.

use std::sync::Arc;

use crate::model::{
    Batch, Bucket, Change, Clock, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning, Revision,
    SystemClock, Write,
};
use crate::store::Store;

/// Works on one bucket of a store.
///
/// ```
/// use std::sync::Arc;
/// use kvs::client::Client;
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
/// Keys are given as text. One that is not a valid [`Key`] is an error of [`ErrorKind::Invalid`]. Other errors are
/// those of the [`Store`].
#[derive(Clone)]
pub struct Client {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bucket: Bucket,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of the bucket `default` with the system's clock.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, bucket: Bucket::default(), clock: Arc::new(SystemClock) }
    }

    /// The same client on another bucket.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket) -> Self {
        Self { bucket, ..self.clone() }
    }

    /// The same client with another clock, which expiry times are computed from. It should be that of the store.
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

    /// Does the writes and returns the change of each. The values in the changes cannot be used.
    pub(crate) async fn commit_returning_metadata(&self, writes: Vec<Write>) -> Result<Vec<Change>> {
        Ok(self.apply(Batch::new(writes).returning(Returning::Metadata)).await?.1)
    }

    /// Does the writes and returns the revision of the bucket.
    pub(crate) async fn commit_returning_nothing(&self, writes: Vec<Write>) -> Result<Revision> {
        Ok(self.apply(Batch::new(writes).returning(Returning::Nothing)).await?.0)
    }

    /// Does a batch without expectations.
    async fn apply(&self, batch: Batch) -> Result<(Revision, Vec<Change>)> {
        match self.store.apply(&self.bucket, batch).await? {
            Outcome::Committed { revision, changes } => Ok((revision, changes)),
            Outcome::PreconditionFailed { .. } => Err(contract_violation("rejected a batch without expectations")),
        }
    }

    /// Does one write and returns its change.
    pub(crate) async fn commit_one(&self, write: Write) -> Result<Change> {
        let change = self.apply(Batch::new(vec![write])).await?.1.pop();
        change.ok_or_else(|| contract_violation("returned no result for a write"))
    }

    /// Does one write if the expectation holds, else returns the entry that was found.
    pub(crate) async fn commit_if(&self, expected: Expectation, write: Write) -> Result<Result<Change, Option<Entry>>> {
        let batch = Batch::new(vec![write]).with_expectations(vec![expected]);
        match self.store.apply(&self.bucket, batch).await? {
            Outcome::Committed { mut changes, .. } => {
                Ok(Ok(changes.pop().ok_or_else(|| contract_violation("returned no result for a write"))?))
            }
            Outcome::PreconditionFailed { found, .. } => Ok(Err(found)),
        }
    }

    /// The entry under a key.
    pub(crate) async fn find(&self, key: &Key) -> Result<Option<Entry>> {
        let mut entries = self.store.get(&self.bucket, std::slice::from_ref(key)).await?.entries;
        Ok(entries.pop().flatten())
    }
}

/// The store broke its contract, so it is unknown whether the write was done.
pub(crate) fn contract_violation(how: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the store {how} (contract violation); test it with kvs::store::suite"))
}
