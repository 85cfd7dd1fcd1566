//! The client for programs without `async`: the same verbs, each returning when it is done.
//!
//! It adds nothing of its own: every method waits for the one of the same name of [`api::Client`](super::Client), whose
//! description and errors hold here too.

mod read;
mod transaction;
mod typed;
mod write;

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

pub use transaction::Transaction;
pub use typed::Typed;

use crate::model::{Bucket, Clock, Error, Result};
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
/// assert!(client.get("").unwrap_err().is_invalid(), "that is no key");
/// # Ok(())
/// # }
/// ```
///
/// Clones may be used from several threads at once. Like all that blocks it must not be used within an `async`
/// function, where its methods panic.
#[derive(Clone)]
pub struct Client {
    inner: super::Client,
    runtime: Waiting,
}

/// Where the futures are driven.
#[derive(Clone)]
enum Waiting {
    Own(Arc<Runtime>),
    Theirs(Handle),
}

impl Waiting {
    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        match self {
            Self::Own(runtime) => runtime.block_on(answer),
            Self::Theirs(handle) => handle.block_on(answer),
        }
    }
}

impl Client {
    /// A client of the bucket `default`, with a runtime of its own on the threads that call it.
    ///
    /// # Errors
    /// `Failed` if the operating system gives no means to wait for events.
    pub fn new(store: Arc<dyn Store>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("starting a runtime for the blocking client", error))?;
        Ok(Self { inner: super::Client::new(store), runtime: Waiting::Own(Arc::new(runtime)) })
    }

    /// The blocking twin of a client, on a runtime with several threads that runs already.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # fn main() -> kvs::model::Result<()> {
    /// let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    /// let client = kvs::api::Client::new(Arc::new(kvs::memory::MemoryStore::default()));
    /// let blocking = kvs::blocking::Client::on(runtime.handle().clone(), client.clone());
    /// blocking.set("door", "open")?;
    /// assert!(runtime.block_on(client.exists("door"))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on(runtime: Handle, client: super::Client) -> Self {
        Self { inner: client, runtime: Waiting::Theirs(runtime) }
    }

    /// The same client on another bucket.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket) -> Self {
        Self { inner: self.inner.with_bucket(bucket), runtime: self.runtime.clone() }
    }

    /// The same client with another clock, from which times to live are counted.
    #[must_use]
    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { inner: self.inner.with_clock(clock), runtime: self.runtime.clone() }
    }

    /// The bucket it works on.
    pub fn bucket(&self) -> &Bucket {
        self.inner.bucket()
    }

    /// The store it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.inner.store()
    }

    /// The client that it waits for.
    pub fn inner(&self) -> &super::Client {
        &self.inner
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.wait(answer)
    }
}
