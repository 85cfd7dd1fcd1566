//! The bounds of a log: its first and its next index, its last time and its retention; and what an append makes of
//! them. All stores use these functions.

use std::time::Duration;

use super::evaluate::Limits;
use crate::model::{
    AppendOutcome, Error, ErrorKind, Key, LogAppend, LogEntry, LogQuery, LogStart, NewLogEntry, Result, Retention, Time,
};

/// The greatest index of an entry.
const MAX_INDEX: u64 = i64::MAX as u64 - 1;

/// The bounds of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogBounds {
    /// No entry before this index is in the log.
    pub first: u64,
    /// The index of the next entry.
    pub next: u64,
    /// The time of the last entry that was ever appended.
    pub last_time: Time,
    /// How much of the log is kept.
    pub retention: Retention,
}

impl LogBounds {
    /// The entries of an append with their indices and times. They have not been stored yet. `self` becomes the bounds
    /// after the append. Nothing changes if the index of the append is taken.
    ///
    /// # Errors
    /// `TooLarge` if a value exceeds the limit; `Invalid` if the index is too great.
    pub fn append(
        &mut self,
        key: &Key,
        append: LogAppend,
        limits: Limits,
        now: Time,
    ) -> Result<(AppendOutcome, Vec<LogEntry>)> {
        check_append(key, &append, limits)?;
        let index = append.index.unwrap_or(self.next);
        if index < self.next {
            return Ok((AppendOutcome::IndexTaken { next: self.next }, vec![]));
        }
        check_index(key, index, append.entries.len())?;
        // What the old retention did not keep stays removed.
        self.first = self.first_kept();
        self.retention = append.retention.unwrap_or(self.retention);
        if append.entries.is_empty() {
            return Ok((AppendOutcome::Appended { index }, vec![]));
        }
        if self.next == self.first {
            self.first = index;
        }
        self.next = index;
        let mut entries = Vec::with_capacity(append.entries.len());
        for new in append.entries {
            self.last_time = self.last_time.max(log_time(&new, now));
            entries.push(LogEntry {
                index: self.next,
                value: new.value,
                content_type: new.content_type,
                updated: self.last_time,
            });
            self.next = self.next.saturating_add(1);
        }
        self.first = self.first.max(self.first_kept());
        Ok((AppendOutcome::Appended { index }, entries))
    }

    /// The first index that `max_entries` keeps. Entries that are too old are not in it.
    #[must_use]
    pub fn first_kept(&self) -> u64 {
        self.retention.max_entries.map_or(self.first, |max| self.first.max(self.next.saturating_sub(max)))
    }

    /// The time before which entries are not kept.
    #[must_use]
    pub fn oldest_kept(&self, now: Time) -> Option<Time> {
        self.retention.max_age.map(|age| now.minus(age))
    }

    /// The first index that a query asks for.
    #[must_use]
    pub fn start(&self, query: &LogQuery) -> u64 {
        match query.start {
            LogStart::Index(index) => index,
            LogStart::FromEnd(number) => self.next.saturating_sub(number),
        }
        .max(self.first_kept())
    }

    /// The time of the first entry that a query asks for, if the query or the retention limits it.
    #[must_use]
    pub fn start_time(&self, query: &LogQuery, now: Time) -> Option<Time> {
        query.since.max(self.oldest_kept(now))
    }
}

/// The time of an entry that is appended now, unless the last one is later. A millisecond is exact enough, and reads
/// better than nanoseconds.
#[must_use]
pub fn log_time(entry: &NewLogEntry, now: Time) -> Time {
    entry.updated.unwrap_or_else(|| now.floor_to_millisecond()).min(Time::LATEST_COMMIT)
}

fn check_index(key: &Key, index: u64, entries: usize) -> Result<()> {
    if index.saturating_add(entries as u64) <= MAX_INDEX {
        return Ok(());
    }
    let text = format!("log {key:?}: index {index} is too great; the greatest is {MAX_INDEX}; nothing was appended");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Checks that a log can keep its entries so long.
///
/// # Errors
/// `Invalid` if it cannot.
pub fn check_retention(key: &Key, retention: Option<Retention>) -> Result<()> {
    let is_storable = |age: Duration| {
        (Duration::from_millis(1)..=Time::MAX_TTL).contains(&age) && age.subsec_nanos().is_multiple_of(1_000_000)
    };
    if retention.and_then(|retention| retention.max_age).is_none_or(is_storable) {
        return Ok(());
    }
    let text =
        format!("log {key:?}: entries must be kept for 1 ms to 36500 days, in whole milliseconds; nothing was done");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Checks the index that an append asks for, its retention, and its values against the limit of a store.
///
/// # Errors
/// `Invalid` if the index is too great or the retention cannot be stored; `TooLarge` if a value exceeds the limit, or all
/// of them together exceed that of a batch.
pub fn check_append(key: &Key, append: &LogAppend, limits: Limits) -> Result<()> {
    check_index(key, append.index.unwrap_or(0), append.entries.len())?;
    check_retention(key, append.retention)?;
    let max = limits.max_value_bytes;
    let too_large = |what: &str, max: usize| {
        let text = format!("log {key:?}: {what}; the limit is {max} bytes, and nothing was appended");
        Err(Error::new(ErrorKind::TooLarge, text))
    };
    if append.entries.iter().any(|entry| entry.value.len() > max) {
        return too_large("a value is too large", max);
    }
    let whole = Limits::MAX_BATCH_BYTES.max(max);
    if append.entries.iter().map(|entry| entry.value.len()).sum::<usize>() > whole {
        return too_large("the values are too large together", whole);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(bounds: &mut LogBounds, append: LogAppend, second: i64) -> (AppendOutcome, Vec<(u64, i64)>) {
        let key = Key::new("k").unwrap();
        let (outcome, entries) = bounds.append(&key, append, Limits::default(), Time::from_secs(second)).unwrap();
        (outcome, entries.iter().map(|entry| (entry.index, entry.updated.secs())).collect())
    }

    fn two() -> LogAppend {
        LogAppend { entries: vec![NewLogEntry::new("a"), NewLogEntry::new("b")], ..LogAppend::default() }
    }

    #[test]
    fn entries_are_numbered_and_their_times_never_go_back() {
        let mut bounds = LogBounds::default();
        assert_eq!(append(&mut bounds, two(), 9), (AppendOutcome::Appended { index: 0 }, vec![(0, 9), (1, 9)]));
        assert_eq!(append(&mut bounds, two(), 5), (AppendOutcome::Appended { index: 2 }, vec![(2, 9), (3, 9)]));
        assert_eq!((bounds.first, bounds.next), (0, 4));
        let at = |index| LogAppend { index: Some(index), ..two() };
        assert_eq!(append(&mut bounds, at(3), 9), (AppendOutcome::IndexTaken { next: 4 }, vec![]));
        assert_eq!(append(&mut bounds, at(7), 9), (AppendOutcome::Appended { index: 7 }, vec![(7, 9), (8, 9)]));
        assert_eq!((bounds.first, bounds.next), (0, 9));
        let key = Key::new("k").unwrap();
        assert!(bounds.append(&key, at(u64::MAX), Limits::default(), Time::from_secs(9)).is_err());
    }

    #[test]
    fn retention_moves_the_first_index() {
        let mut bounds = LogBounds::default();
        let keep = |max_entries| Some(Retention { max_entries, max_age: Some(Duration::from_secs(5)) });
        append(&mut bounds, LogAppend { retention: keep(Some(3)), ..two() }, 9);
        append(&mut bounds, two(), 9);
        assert_eq!((bounds.first, bounds.next), (1, 4));
        append(&mut bounds, LogAppend { retention: keep(None), ..two() }, 9);
        assert_eq!((bounds.first, bounds.next), (1, 6));
        assert_eq!(bounds.start_time(&LogQuery::default(), Time::from_secs(12)), Some(Time::from_secs(7)));
        assert_eq!(bounds.start(&LogQuery::last(2)), 4);
        assert_eq!(bounds.start(&LogQuery::last(9)), 1);
    }

    #[test]
    fn values_over_the_limit_are_refused() {
        let limits = Limits { max_value_bytes: 1 };
        let key = Key::new("k").unwrap();
        assert!(check_append(&key, &two(), limits).is_ok());
        let large = LogAppend { entries: vec![NewLogEntry::new("ab")], ..LogAppend::default() };
        assert_eq!(check_append(&key, &large, limits).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
