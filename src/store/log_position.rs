//! Where a follower of a log is: it gets each entry once, in order, and learns when it may have missed some.
//!
//! A log that was removed begins again at index 0. The time of the last entry shows whether it is still the same log.

use std::fmt;
use std::str::FromStr;

use crate::model::{LogEntry, LogPage, LogQuery, Revision};

/// The position of a follower of a log.
///
/// Read [`query`](Self::query), give the page to [`advance`](Self::advance), and repeat this until the step
/// [is at the end](LogStep::is_at_end). Then wait until the next index is not [`end`](Self::end).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogPosition {
    /// Index and time of the last entry that the follower has seen, if it is in the log.
    last: Option<(u64, Revision)>,
    /// The follower wants entries from this index on.
    next: u64,
    /// The index of the next entry of the log, as the follower knows it.
    end: u64,
}

/// What a page brings a follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStep {
    /// The position after the page.
    pub position: LogPosition,
    /// The new entries.
    pub entries: Vec<LogEntry>,
    /// Whether entries may have been missed: the log was removed, or has forgotten them. The follower goes on with the
    /// oldest entry.
    pub has_missed: bool,
    /// Whether there was nothing more to read.
    pub is_at_end: bool,
}

impl LogPosition {
    /// Before the entry of this index. Nothing is known of the entries before it.
    #[must_use]
    pub fn before(index: u64) -> Self {
        Self { last: None, next: index, end: 0 }
    }

    /// After this entry.
    #[must_use]
    pub fn after(entry: &LogEntry) -> Self {
        let next = entry.index.saturating_add(1);
        Self { last: Some((entry.index, entry.updated.into())), next, end: next }
    }

    /// The index of the next entry of the log, as the follower knows it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The next page. It begins with the last entry, if the follower has seen one: the proof that none is missing.
    #[must_use]
    pub fn query(&self, limit: usize) -> LogQuery {
        let start = self.last.map_or(self.next, |(index, _)| index);
        LogQuery { limit: limit.saturating_add(1), ..LogQuery::from_index(start) }
    }

    /// Takes in a page of [`query`](Self::query); an empty page if there is no log.
    #[must_use]
    pub fn advance(self, page: LogPage) -> LogStep {
        let LogPage { entries, first, next: end, .. } = page;
        let proof = entries.first().map(|entry| (entry.index, Revision::from(entry.updated)));
        let has_missed = match (self.last, proof) {
            (None, _) => false,
            (Some(last), Some(proof)) if last.0 == proof.0 => last != proof,
            // It is no longer kept. That is all right if no later entry is missing.
            (Some((index, _)), _) => first > self.next || end < self.end || first <= index,
        };
        if has_missed {
            let position = Self { last: None, next: first, end };
            return LogStep { position, entries: vec![], has_missed, is_at_end: false };
        }
        let has_proof = !entries.is_empty();
        let new: Vec<LogEntry> = entries.into_iter().filter(|entry| entry.index >= self.next).collect();
        let position = match new.last() {
            Some(entry) => Self { end, ..Self::after(entry) },
            // Later entries did not fit onto the page with the proof. They are read without it.
            None if has_proof && end > self.next => Self { last: None, next: self.next, end },
            None => Self { end, ..self },
        };
        let is_at_end = new.is_empty() && (position == Self { end, ..self });
        LogStep { position, entries: new, has_missed, is_at_end }
    }
}

impl fmt::Display for LogPosition {
    /// `INDEX-TIME` of the last entry; `begin` without one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some((index, time)) => write!(f, "{index}-{time}"),
            None => f.write_str("begin"),
        }
    }
}

/// The text is not a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPosition;

impl FromStr for LogPosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text == "begin" {
            return Ok(Self::default());
        }
        let (index, time) = text.split_once('-').ok_or(InvalidPosition)?;
        let index: u64 = index.parse().map_err(|_| InvalidPosition)?;
        let time = time.parse().map_err(|_| InvalidPosition)?;
        let next = index.checked_add(1).ok_or(InvalidPosition)?;
        Ok(Self { last: Some((index, time)), next, end: next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Time};

    fn page(first: u64, entries: std::ops::Range<u64>, next: u64) -> LogPage {
        let entry = |index| LogEntry {
            index,
            value: "a".into(),
            content_type: ContentType::default(),
            updated: Time::from_secs(100 + i64::try_from(index).unwrap()),
        };
        LogPage { entries: entries.map(entry).collect(), first, next, ..LogPage::default() }
    }

    /// The indices of the new entries, whether some were missed, and whether that was all.
    fn step(position: LogPosition, page: LogPage) -> (Vec<u64>, bool, bool) {
        let step = position.advance(page);
        (step.entries.iter().map(|entry| entry.index).collect(), step.has_missed, step.is_at_end)
    }

    #[test]
    fn missed_entries_are_noticed() {
        let position = LogPosition::before(0).advance(page(0, 0..8, 8)).position;
        assert_eq!((position.end(), position.to_string().parse()), (8, Ok(position)));
        assert_eq!(step(position, page(0, 7..10, 10)), (vec![8, 9], false, false));
        assert_eq!(step(position, page(0, 7..8, 8)), (vec![], false, true));
        // The last entry is no longer kept, but no later one is missing.
        assert_eq!(step(position, page(8, 8..10, 10)), (vec![8, 9], false, false));
        assert_eq!(step(position, page(8, 8..8, 8)), (vec![], false, true));
        assert_eq!(step(position, page(9, 9..10, 10)), (vec![], true, false));
        // The log was removed and began again.
        assert_eq!(step(position, page(0, 3..3, 3)), (vec![], true, false));
        let mut again = page(0, 7..9, 9);
        again.entries[0].updated = Time::from_secs(1);
        let missed = position.advance(again);
        assert!(missed.has_missed);
        assert_eq!(step(missed.position, page(0, 0..9, 9)), ((0..9).collect(), false, false));
        for bad in ["", "7", "x-y", "7-", "-7"] {
            assert_eq!(bad.parse::<LogPosition>(), Err(InvalidPosition), "{bad}");
        }
    }

    #[test]
    fn a_follower_always_comes_to_an_end() {
        // Only the proof fits onto the page.
        let position = LogPosition::before(0).advance(page(0, 0..8, 8)).position;
        let proof_only = position.advance(page(0, 7..8, 9));
        assert!(!proof_only.is_at_end && proof_only.entries.is_empty());
        assert_eq!(step(proof_only.position, page(0, 8..9, 9)), (vec![8], false, false));
        // Entries came and went, or the log was removed: the follower waits for the next change.
        let empty = LogPosition::before(5).advance(page(5, 5..5, 5)).position;
        for (first, end) in [(6, 6), (0, 0)] {
            let step = empty.advance(page(first, first..first, end));
            assert!(step.is_at_end);
            assert_eq!(step.position.end(), end);
        }
        // A position after the end of the log waits for its entry.
        let ahead = LogPosition::before(100).advance(page(0, 0..0, 10));
        assert!(ahead.is_at_end && ahead.position.end() == 10);
        assert_eq!(step(ahead.position, page(0, 100..101, 101)), (vec![100], false, false));
    }
}
