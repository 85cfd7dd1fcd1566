//! The client for programs without `async`: the same verbs, each returning when it is done.
//!
//! It adds nothing of its own: every method waits for the one of the same name of [`api::Client`](super::Client).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{Next, Options, Swap};
use crate::model::{Bucket, Clock, Entry, Error, Key, Page, Query, Result, Revision};
use crate::store::Store;

/// Works on one bucket of a store, waiting for each answer.
///
/// ```
/// use std::sync::Arc;
/// use kvs::blocking::Client;
/// use kvs::memory::MemoryStore;
/// use kvs::model::SystemClock;
///
/// # fn main() -> kvs::model::Result<()> {
/// let client = Client::new(Arc::new(MemoryStore::new(Arc::new(SystemClock), Default::default())))?;
/// client.set("visits", "41")?;
/// assert_eq!(client.increment("visits", 1)?, 42);
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

    /// The client that it waits for.
    pub fn inner(&self) -> &super::Client {
        &self.inner
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        match &self.runtime {
            Waiting::Own(runtime) => runtime.block_on(answer),
            Waiting::Theirs(handle) => handle.block_on(answer),
        }
    }

    /// See [`Client::get`](super::Client::get).
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait(self.inner.get(key))
    }

    /// See [`Client::get_string`](super::Client::get_string).
    pub fn get_string(&self, key: &str) -> Result<Option<String>> {
        self.wait(self.inner.get_string(key))
    }

    /// See [`Client::get_entry`](super::Client::get_entry).
    pub fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.wait(self.inner.get_entry(key))
    }

    /// See [`Client::get_many`](super::Client::get_many).
    pub fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        self.wait(self.inner.get_many(names))
    }

    /// See [`Client::newest`](super::Client::newest).
    pub fn newest(&self, names: &[impl AsRef<str>]) -> Result<Option<(Key, Entry)>> {
        self.wait(self.inner.newest(names))
    }

    /// See [`Client::exists`](super::Client::exists).
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.exists(key))
    }

    /// See [`Client::scan`](super::Client::scan).
    pub fn scan(&self, query: Query) -> Result<Page> {
        self.wait(self.inner.scan(query))
    }

    /// See [`Client::keys`](super::Client::keys).
    pub fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.wait(self.inner.keys(prefix))
    }

    /// See [`Client::count`](super::Client::count).
    pub fn count(&self, prefix: &str) -> Result<u64> {
        self.wait(self.inner.count(prefix))
    }

    /// See [`Client::buckets`](super::Client::buckets).
    pub fn buckets(&self) -> Result<Vec<Bucket>> {
        self.wait(self.inner.buckets())
    }

    /// See [`Client::set`](super::Client::set).
    pub fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Revision> {
        self.wait(self.inner.set(key, value))
    }

    /// See [`Client::set_with`](super::Client::set_with).
    pub fn set_with(&self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<Revision> {
        self.wait(self.inner.set_with(key, value, options))
    }

    /// See [`Client::set_many`](super::Client::set_many).
    pub fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        self.wait(self.inner.set_many(pairs))
    }

    /// See [`Client::set_nx`](super::Client::set_nx).
    pub fn set_nx(&self, key: &str, value: impl Into<Bytes>) -> Result<bool> {
        self.wait(self.inner.set_nx(key, value))
    }

    /// See [`Client::get_and_set`](super::Client::get_and_set).
    pub fn get_and_set(&self, key: &str, value: impl Into<Bytes>) -> Result<Option<Bytes>> {
        self.wait(self.inner.get_and_set(key, value))
    }

    /// See [`Client::delete`](super::Client::delete).
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.delete(key))
    }

    /// See [`Client::delete_many`](super::Client::delete_many).
    pub fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        self.wait(self.inner.delete_many(names))
    }

    /// See [`Client::increment`](super::Client::increment).
    pub fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.increment(key, by))
    }

    /// See [`Client::decrement`](super::Client::decrement).
    pub fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.decrement(key, by))
    }

    /// See [`Client::expire`](super::Client::expire).
    pub fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.expire(key, ttl))
    }

    /// See [`Client::persist`](super::Client::persist).
    pub fn persist(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.persist(key))
    }

    /// See [`Client::compare_and_swap`](super::Client::compare_and_swap).
    pub fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: impl Into<Bytes>) -> Result<Swap> {
        self.wait(self.inner.compare_and_swap(key, expected, new))
    }

    /// See [`Client::update`](super::Client::update).
    pub fn update(&self, key: &str, f: impl FnMut(Option<&Entry>) -> Next) -> Result<Option<Entry>> {
        self.wait(self.inner.update(key, f))
    }
}
