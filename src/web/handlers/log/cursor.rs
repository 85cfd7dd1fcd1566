//! Where a reader of a log is: `from` and `since` in a query, and the position of an event stream.

use std::fmt;
use std::str::FromStr;

use crate::model::{LogEntry, LogPage, LogQuery, LogStart, Revision, Time, parse_since};
use crate::web::request::form::QueryString;
use crate::web::response::api_error::ApiError;

/// The largest `limit`, and the one if the client sends none.
const MAX_LIMIT: i64 = 100_000;
const DEFAULT_LIMIT: i64 = 1_000;

/// The part of a log that a query asks for.
pub(super) fn query(query: QueryString<'_>, now: Time) -> Result<LogQuery, ApiError> {
    let start = match query.number("from", -i64::MAX..=i64::MAX)?.unwrap_or(0) {
        from @ 0.. => LogStart::Index(from.unsigned_abs()),
        from => LogStart::FromEnd(from.unsigned_abs()),
    };
    let since = query.text("since")?.map(|text| parse_since(&text, now)).transpose();
    let since = since.map_err(|error| ApiError::invalid(format!("since: {error}")))?;
    let limit = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(LogQuery { start, since, limit })
}

/// The position of an event stream: the last entry that the client has seen.
///
/// A log that was removed begins again at index 0. The time of the entry shows whether it is still the same log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct LogPosition {
    /// Index and time of the last entry; `None` if there was none.
    last: Option<(u64, Revision)>,
    /// The index of the next entry.
    pub(super) next: u64,
}

impl LogPosition {
    /// The position after an entry.
    pub(super) fn after(entry: &LogEntry) -> Self {
        Self { last: Some((entry.index, entry.updated.into())), next: entry.index.saturating_add(1) }
    }

    /// The position before the entry of this index, if nothing is known of the entries before it.
    pub(super) fn before(next: u64) -> Self {
        Self { last: None, next }
    }

    /// The position after the entries of a page; `self` if it has none.
    pub(super) fn after_page(self, page: &LogPage) -> Self {
        page.entries.last().map_or(self, Self::after)
    }

    /// The query for the entries after this position, with the last one as the proof that none was missed.
    pub(super) fn query(self, limit: usize) -> LogQuery {
        let start = self.last.map_or(0, |(index, _)| index);
        LogQuery { limit: limit.saturating_add(1), ..LogQuery::from_index(start) }
    }

    /// Removes the last entry from a page of [`query`](Self::query). Returns whether entries may have been missed.
    pub(super) fn skip_last(self, page: &mut LogPage) -> bool {
        let Some((index, time)) = self.last else { return false };
        let is_last = |entry: &LogEntry| entry.index == index;
        match page.entries.first() {
            Some(first) if is_last(first) => {
                let is_same = Revision::from(first.updated) == time;
                if is_same {
                    page.entries.remove(0);
                }
                !is_same
            }
            // It is no longer kept.
            _ => page.first > self.next || page.next < self.next || page.first <= index,
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some((index, time)) => write!(f, "{index}-{time}"),
            None => f.write_str("begin"),
        }
    }
}

impl FromStr for LogPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "begin" {
            return Ok(Self::default());
        }
        let (index, time) = text.split_once('-').ok_or(())?;
        let (index, time): (u64, Revision) = (index.parse().map_err(|_| ())?, time.parse().map_err(|_| ())?);
        Ok(Self { last: Some((index, time)), next: index.checked_add(1).ok_or(())? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::ContentType;

    fn page(first: u64, entries: std::ops::Range<u64>, next: u64) -> LogPage {
        let entry = |index| LogEntry {
            index,
            value: "a".into(),
            content_type: ContentType::default(),
            updated: Time::from_secs(100 + i64::try_from(index).unwrap()),
        };
        LogPage { entries: entries.map(entry).collect(), first, next, ..LogPage::default() }
    }

    #[test]
    fn queries_are_parsed_or_rejected() {
        let now = Time::from_secs(1_000_000);
        let parse = |text| query(QueryString::new(Some(text)).unwrap(), now);
        assert_eq!(parse("from=-3&limit=2").unwrap(), LogQuery { limit: 2, ..LogQuery::last(3) });
        assert_eq!(parse("").unwrap(), LogQuery::default());
        assert_eq!(parse("since=1h").unwrap().since, Some(now.minus(Duration::from_secs(3_600))));
        for bad in
            ["from=x", "from=1.5", "since=", "since=x", "since=-1", "since=2026-13-01", "limit=0", "limit=100001"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn missed_entries_are_noticed() {
        let position = LogPosition::default().after_page(&page(0, 0..8, 8));
        assert_eq!((position.next, position.to_string().parse()), (8, Ok(position)));
        let missed = |mut page: LogPage| (position.skip_last(&mut page), page.entries.len());
        assert_eq!(missed(page(0, 7..10, 10)), (false, 2));
        assert_eq!(missed(page(0, 7..8, 8)), (false, 0));
        // The last entry is no longer kept, but no later one is missing.
        assert_eq!(missed(page(8, 8..10, 10)), (false, 2));
        assert_eq!(missed(page(8, 8..8, 8)), (false, 0));
        assert!(missed(page(9, 9..10, 10)).0);
        // The log was removed and began again.
        assert!(missed(page(0, 3..3, 3)).0);
        let mut again = page(0, 7..9, 9);
        again.entries[0].updated = Time::from_secs(1);
        assert!(missed(again).0);
        assert_eq!("begin".parse(), Ok(LogPosition::default()));
        for bad in ["", "7", "x-y", "7-", "-7"] {
            assert_eq!(bad.parse::<LogPosition>(), Err(()), "{bad}");
        }
    }
}
