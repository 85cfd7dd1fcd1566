//! Append-only logs: entries under a key, numbered from 0 in the order in which they were appended.
//!
//! A log is not the value of its key: a key may have a value, a log, both or neither.

use std::time::Duration;

use bytes::Bytes;

use super::content_type::ContentType;
use super::error::{Error, ErrorKind};
use super::json::JsonValue;
use super::name::Key;
use super::time::Time;

/// An entry of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// The number of the entry. Each entry has a greater one than the entry before it, usually by 1.
    pub index: u64,
    /// The bytes of the value.
    pub value: Bytes,
    /// The media type of the value.
    pub content_type: ContentType,
    /// When it was appended; never earlier than the entry before it.
    pub updated: Time,
}

impl LogEntry {
    /// The value as text, if it is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// The value as JSON on one line, if its type is JSON and it is JSON. Numbers keep their spelling.
    #[must_use]
    pub fn as_json_line(&self) -> Option<String> {
        let text = self.as_text().filter(|_| self.content_type.is_json())?;
        JsonValue::parse(text).ok()?;
        // A line break in JSON can only be white space.
        Some(text.trim().replace(['\n', '\r'], " "))
    }
}

/// An entry to append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLogEntry {
    /// The bytes of the value.
    pub value: Bytes,
    /// The media type of the value.
    pub content_type: ContentType,
    /// The time of the entry, for copies of other logs; `None`: now. A time before that of the last entry counts as
    /// the time of the last entry.
    pub updated: Option<Time>,
}

impl NewLogEntry {
    /// A value as JSON, appended now.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written as JSON.
    pub fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, Error> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("cannot write the entry as JSON: {error}")))?;
        Ok(Self { content_type: ContentType::json(), ..Self::new(json) })
    }

    /// A text, appended now.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into(), content_type: ContentType::default(), updated: None }
    }
}

/// How much of a log is kept. The oldest entries are removed first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// Only entries whose index is one of this many before the next one; `None`: no limit. Without gaps in the indices
    /// these are the last so many entries.
    pub max_entries: Option<u64>,
    /// Only entries that are not older than this, in whole milliseconds; `None`: no limit.
    pub max_age: Option<Duration>,
}

/// An append: all of its entries are stored, or none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogAppend {
    /// The entries, in their order. They may be none, to change the retention only.
    pub entries: Vec<NewLogEntry>,
    /// The index of the first one. `None`: the next index of the log. A later index than the next one leaves a gap. If
    /// the index is taken, nothing is appended; so a client can repeat an append whose outcome it does not know.
    pub index: Option<u64>,
    /// How much of the log is kept, from now on; `None`: as before. A new log keeps everything.
    pub retention: Option<Retention>,
}

/// The result of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOutcome {
    /// The entries were appended. The first one has this index.
    Appended {
        /// The index of the first entry.
        index: u64,
    },
    /// The log is longer than the append expected, and nothing was done.
    IndexTaken {
        /// The index of the next entry of the log.
        next: u64,
    },
}

/// Where a part of a log begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStart {
    /// At this index.
    Index(u64),
    /// This many entries before the end.
    FromEnd(u64),
}

/// Which entries of a log to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogQuery {
    /// The first entry.
    pub start: LogStart,
    /// Only entries of this time or later.
    pub since: Option<Time>,
    /// The maximum number of entries of a page.
    pub limit: usize,
}

impl Default for LogQuery {
    /// The first 1,000 entries.
    fn default() -> Self {
        Self { start: LogStart::Index(0), since: None, limit: 1_000 }
    }
}

impl LogQuery {
    /// The maximum number of bytes in the values of a page. A page has at least one entry, however large it is.
    pub const MAX_PAGE_BYTES: usize = 16 << 20;

    /// The entries from this index on.
    #[must_use]
    pub fn from_index(index: u64) -> Self {
        Self { start: LogStart::Index(index), ..Self::default() }
    }

    /// The last entries.
    #[must_use]
    pub fn last(number: usize) -> Self {
        Self { start: LogStart::FromEnd(number as u64), since: None, limit: number }
    }
}

/// A part of a log, as it is at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogPage {
    /// The entries, in the order of their indices.
    pub entries: Vec<LogEntry>,
    /// The log has no entries before this index.
    pub first: u64,
    /// The index that the next entry of the log gets.
    pub next: u64,
    /// How much of the log is kept.
    pub retention: Retention,
}

impl LogPage {
    /// The index where the next page begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.entries.last().map_or(self.next, |entry| entry.index.saturating_add(1))
    }
}

/// Which logs of a bucket to list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKeysQuery {
    /// Only keys that begin with this; empty: all keys.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<Key>,
    /// The maximum number of keys.
    pub limit: usize,
}

impl Default for LogKeysQuery {
    /// The first 1,000 logs.
    fn default() -> Self {
        Self { prefix: String::new(), after: None, limit: 1_000 }
    }
}

impl LogKeysQuery {
    /// Whether the query asks for this key.
    #[must_use]
    pub fn includes(&self, key: &Key) -> bool {
        key.as_str().starts_with(&self.prefix) && self.after.as_ref().is_none_or(|after| key > after)
    }
}
