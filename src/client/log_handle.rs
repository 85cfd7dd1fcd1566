//! Append-only logs.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::stream::try_unfold;
use futures_util::{Stream, TryStreamExt as _};

use super::client::{Client, contract_violation};
use super::value::IntoValue;
use crate::model::{
    AppendOutcome, Error, ErrorKind, Key, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, NewLogEntry, Result,
};
use crate::store::{LogPosition, Logs};

/// The entries of a log, one after another.
pub type LogEntries = Pin<Box<dyn Stream<Item = Result<LogEntry>> + Send>>;

/// A log of a bucket: entries in the order in which they were appended, numbered from 0.
///
/// ```
/// # kvs::example::run(async |client| {
/// use futures_util::TryStreamExt as _;
///
/// let temperatures = client.log("kitchen/temp")?;
/// assert_eq!(temperatures.append("21.5").await?, 0);
/// assert_eq!(temperatures.append("22.5").await?, 1);
///
/// let entries: Vec<_> = temperatures.entries(0).try_collect().await?;
/// assert_eq!(entries[1].value, "22.5");
///
/// let sum = temperatures.reduce(0.0, |sum, entry| sum + entry.as_text().unwrap_or("").parse().unwrap_or(0.0)).await?;
/// assert!((44.0_f64 - sum).abs() < 0.001);
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Log {
    client: Client,
    key: Key,
}

impl Client {
    /// The log of a key. It need not exist; the first append creates it. A log is not the value of its key.
    ///
    /// # Errors
    /// `Invalid` if the store [has no logs](crate::store::Store::logs).
    pub fn log(&self, key: &str) -> Result<Log> {
        let log = Log { client: self.clone(), key: Key::new(key)? };
        log.logs()?;
        Ok(log)
    }

    /// The keys of the logs of the bucket that begin with `prefix`, in their order.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.log("kitchen/temp")?.append("21.5").await?;
    /// assert_eq!(client.log_keys("kitchen/").await?, [kvs::model::Key::new("kitchen/temp")?]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the store has no logs.
    pub async fn log_keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let logs = self.store.logs().ok_or_else(no_logs)?;
        let mut query = LogKeysQuery { prefix: prefix.to_owned(), ..LogKeysQuery::default() };
        let mut all = vec![];
        loop {
            let page = logs.log_keys(&self.bucket, query.clone()).await?;
            query.after = page.last().cloned();
            let is_last = page.len() < query.limit;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

fn no_logs() -> Error {
    Error::new(ErrorKind::Invalid, "this store has no logs")
}

impl Log {
    fn logs(&self) -> Result<&dyn Logs> {
        self.client.store.logs().ok_or_else(no_logs)
    }

    /// The key of the log.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Appends a text or bytes, and returns the index of the entry.
    pub async fn append(&self, value: impl IntoValue + Send) -> Result<u64> {
        self.append_all(vec![NewLogEntry::new(value.into_value())]).await
    }

    /// Appends entries, all or none, and returns the index of the first one.
    pub async fn append_all(&self, entries: Vec<NewLogEntry>) -> Result<u64> {
        match self.append_with(LogAppend { entries, ..LogAppend::default() }).await? {
            AppendOutcome::Appended { index } => Ok(index),
            AppendOutcome::IndexTaken { .. } => Err(contract_violation("refused an index that nobody asked for")),
        }
    }

    /// Appends entries at a certain index, or changes how much of the log is kept.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::model::{LogAppend, LogQuery, NewLogEntry, Retention};
    ///
    /// let last_thousand = Retention { max_entries: Some(1_000), max_age: None };
    /// let entries = (0..3_000).map(|number| NewLogEntry::new(number.to_string())).collect();
    /// let append = LogAppend { entries, retention: Some(last_thousand), ..LogAppend::default() };
    /// let log = client.log("numbers")?;
    /// log.append_with(append).await?;
    /// assert_eq!(log.page(LogQuery::default()).await?.map(|page| page.first), Some(2_000));
    /// # Ok(()) });
    /// ```
    pub async fn append_with(&self, append: LogAppend) -> Result<AppendOutcome> {
        self.logs()?.append(&self.client.bucket, &self.key, append).await
    }

    /// A part of the log; `None` if it does not exist.
    pub async fn page(&self, query: LogQuery) -> Result<Option<LogPage>> {
        self.logs()?.read_log(&self.client.bucket, &self.key, query).await
    }

    /// The last entries, at most `number`, the oldest first.
    pub async fn last(&self, number: usize) -> Result<Vec<LogEntry>> {
        Ok(self.page(LogQuery::last(number)).await?.map(|page| page.entries).unwrap_or_default())
    }

    /// The entries from an index on, to the end that the log has when the stream reaches it.
    pub fn entries(&self, from: u64) -> LogEntries {
        self.stream(from, false)
    }

    /// The entries from an index on, those of the log first, and then each one when it is appended. The stream ends
    /// only with an error. If the log is removed, the stream goes on with the first entry of the next log of that name.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use futures_util::TryStreamExt as _;
    ///
    /// let log = client.log("kitchen/temp")?;
    /// log.append("21.5").await?;
    /// let mut entries = log.follow(0);
    /// assert_eq!(entries.try_next().await?.map(|entry| entry.value), Some("21.5".into()));
    /// log.append("22.5").await?;
    /// assert_eq!(entries.try_next().await?.map(|entry| entry.value), Some("22.5".into()));
    /// # Ok(()) });
    /// ```
    pub fn follow(&self, from: u64) -> LogEntries {
        self.stream(from, true)
    }

    fn stream(&self, from: u64, follows: bool) -> LogEntries {
        let position = LogPosition::before(from);
        let reader = LogReader { log: self.clone(), position, pending: VecDeque::new(), follows };
        let next = |mut reader: LogReader| async move { Ok(reader.next_entry().await?.map(|entry| (entry, reader))) };
        Box::pin(try_unfold(reader, next))
    }

    /// Combines all entries, the oldest first.
    pub async fn reduce<T>(&self, init: T, combine: impl FnMut(T, LogEntry) -> T) -> Result<T> {
        let mut combine = combine;
        let mut entries = self.entries(0);
        let mut combined = init;
        while let Some(entry) = entries.try_next().await? {
            combined = combine(combined, entry);
        }
        Ok(combined)
    }

    /// Removes the log. Returns how many entries it had; `None` if it does not exist. The next append begins a new log
    /// at index 0.
    pub async fn remove(&self) -> Result<Option<u64>> {
        self.logs()?.remove_log(&self.client.bucket, &self.key, None).await
    }

    /// Removes the entries before an index. Returns how many there were; `None` if the log does not exist.
    pub async fn remove_before(&self, index: u64) -> Result<Option<u64>> {
        self.logs()?.remove_log(&self.client.bucket, &self.key, Some(index)).await
    }
}

/// The number of entries that a stream reads at a time.
const PAGE_ENTRIES: usize = 1_000;

/// Reads a log page by page.
struct LogReader {
    log: Log,
    position: LogPosition,
    /// Entries that were read and not yet returned.
    pending: VecDeque<LogEntry>,
    /// Whether the reader waits at the end.
    follows: bool,
}

impl LogReader {
    async fn next_entry(&mut self) -> Result<Option<LogEntry>> {
        loop {
            if let Some(entry) = self.pending.pop_front() {
                return Ok(Some(entry));
            }
            let page = self.log.page(self.position.query(PAGE_ENTRIES)).await?.unwrap_or_default();
            let step = self.position.advance(page);
            self.position = step.position;
            self.pending = step.entries.into();
            if step.is_at_end {
                if !self.follows {
                    return Ok(None);
                }
                let Log { client, key } = &self.log;
                self.log.logs()?.log_changed(&client.bucket, key, self.position.end()).await?;
            }
        }
    }
}
