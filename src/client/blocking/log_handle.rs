//! Append-only logs, for programs without `async`.

use futures_util::TryStreamExt as _;

use super::client::Client;
use crate::client::log_handle;
use crate::client::log_handle::LogEntries;
use crate::client::value::IntoValue;
use crate::model::{AppendOutcome, Key, LogAppend, LogEntry, LogPage, LogQuery, NewLogEntry, Result};

/// See [`Log`](crate::client::log_handle::Log).
///
/// ```
/// # kvs::example::run_blocking(|client| {
/// let temperatures = client.log("kitchen/temp")?;
/// temperatures.append("21.5")?;
/// temperatures.append("22.5")?;
/// assert_eq!(temperatures.last(1)?[0].value, "22.5");
/// assert_eq!(temperatures.entries(0).count(), 2);
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Log {
    client: Client,
    inner: log_handle::Log,
}

impl Client {
    /// See [`Client::log`](crate::client::client::Client::log).
    pub fn log(&self, key: &str) -> Result<Log> {
        Ok(Log { client: self.clone(), inner: self.inner.log(key)? })
    }

    /// See [`Client::log_keys`](crate::client::client::Client::log_keys).
    pub fn log_keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.wait(self.inner.log_keys(prefix))
    }
}

impl Log {
    /// The key of the log.
    pub fn key(&self) -> &Key {
        self.inner.key()
    }

    /// See [`Log::append`](log_handle::Log::append).
    pub fn append(&self, value: impl IntoValue + Send) -> Result<u64> {
        self.client.wait(self.inner.append(value))
    }

    /// See [`Log::append_all`](log_handle::Log::append_all).
    pub fn append_all(&self, entries: Vec<NewLogEntry>) -> Result<u64> {
        self.client.wait(self.inner.append_all(entries))
    }

    /// See [`Log::append_with`](log_handle::Log::append_with).
    pub fn append_with(&self, append: LogAppend) -> Result<AppendOutcome> {
        self.client.wait(self.inner.append_with(append))
    }

    /// See [`Log::page`](log_handle::Log::page).
    pub fn page(&self, query: LogQuery) -> Result<Option<LogPage>> {
        self.client.wait(self.inner.page(query))
    }

    /// See [`Log::last`](log_handle::Log::last).
    pub fn last(&self, number: usize) -> Result<Vec<LogEntry>> {
        self.client.wait(self.inner.last(number))
    }

    /// See [`Log::entries`](log_handle::Log::entries). The iterator waits for each entry.
    pub fn entries(&self, from: u64) -> impl Iterator<Item = Result<LogEntry>> + Send + use<> {
        self.iterate(self.inner.entries(from))
    }

    /// See [`Log::follow`](log_handle::Log::follow). The iterator waits for each entry.
    pub fn follow(&self, from: u64) -> impl Iterator<Item = Result<LogEntry>> + Send + use<> {
        self.iterate(self.inner.follow(from))
    }

    fn iterate(&self, mut entries: LogEntries) -> impl Iterator<Item = Result<LogEntry>> + Send + use<> {
        let client = self.client.clone();
        std::iter::from_fn(move || client.wait(entries.try_next()).transpose())
    }

    /// See [`Log::reduce`](log_handle::Log::reduce).
    pub fn reduce<T>(&self, init: T, combine: impl FnMut(T, LogEntry) -> T) -> Result<T> {
        self.client.wait(self.inner.reduce(init, combine))
    }

    /// See [`Log::remove`](log_handle::Log::remove).
    pub fn remove(&self) -> Result<Option<u64>> {
        self.client.wait(self.inner.remove())
    }

    /// See [`Log::remove_before`](log_handle::Log::remove_before).
    pub fn remove_before(&self, index: u64) -> Result<Option<u64>> {
        self.client.wait(self.inner.remove_before(index))
    }
}
