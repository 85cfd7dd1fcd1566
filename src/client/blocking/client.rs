//! The blocking client itself: an async client, and the runtime that it waits on.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::executor::Executor;
use crate::client::client;
use crate::model::{Bucket, Clock, Result};
use crate::store::Store;

/// Works on one bucket of a store, waiting for each answer.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use kvs::blocking::Client;
/// use kvs::memory::MemoryStore;
///
/// # fn main() -> kvs::model::Result<()> {
/// let client = Client::new(Arc::new(MemoryStore::default()))?;
/// client.set("visits", "41")?;
/// assert_eq!(client.increment("visits", 1)?, 42);
/// client.set_ex("session/7", "Ada", Duration::from_secs(3600))?;
/// assert_eq!(client.get_many(&["visits", "session/8"])?, [Some("42".into()), None]);
/// assert!(client.get("").unwrap_err().is_invalid(), "a key must not be empty");
/// # Ok(())
/// # }
/// ```
///
/// Clones can be used from several threads at once. In async code, which must not block, every method fails with
/// `Invalid`: use [`kvs::client::Client`](crate::client::client::Client) there, or call the method from
/// `tokio::task::spawn_blocking`.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: client::Client,
    pub(super) executor: Executor,
}

impl Client {
    /// A client of the bucket `default`. Its runtime has no threads and runs on those that call it.
    ///
    /// # Errors
    /// `Unavailable` if the operating system denies what the runtime needs, such as file descriptors.
    pub fn new(store: Arc<dyn Store>) -> Result<Self> {
        Ok(Self { inner: client::Client::new(store), executor: Executor::new()? })
    }

    /// The blocking form of a client, on a running multi-threaded runtime.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # fn main() -> kvs::model::Result<()> {
    /// let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    /// let client = kvs::client::Client::new(Arc::new(kvs::memory::MemoryStore::default()));
    /// let blocking = kvs::blocking::Client::on(runtime.handle().clone(), client.clone());
    /// blocking.set("door", "open")?;
    /// assert!(runtime.block_on(client.exists("door"))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on(runtime: Handle, client: client::Client) -> Self {
        Self { inner: client, executor: Executor::Shared(runtime) }
    }

    /// The same client on another bucket.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket) -> Self {
        Self { inner: self.inner.with_bucket(bucket), executor: self.executor.clone() }
    }

    /// The same client with another clock, which expiry times are computed from.
    #[must_use]
    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { inner: self.inner.with_clock(clock), executor: self.executor.clone() }
    }

    /// The bucket it works on.
    pub fn bucket(&self) -> &Bucket {
        self.inner.bucket()
    }

    /// The store it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.inner.store()
    }

    /// The async client that does the work.
    pub fn inner(&self) -> &client::Client {
        &self.inner
    }

    pub(super) fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.executor.wait(answer)
    }
}
