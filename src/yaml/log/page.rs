//! Finds entries in a log file and reads them. The file has no index: indices and times only grow, so entries are found
//! by bisection.

use super::known_log::KnownLog;
use super::log_path::LogPath;
use super::tail::unreadable_line;
use crate::model::{LogEntry, LogPage, LogQuery, Result, Time};
use crate::yaml::format::log_line;
use crate::yaml::fs::File;

/// How much is read at a time: little at first, since most pages are short.
const FIRST_READ_BYTES: u64 = 8 << 10;
const MAX_READ_BYTES: u64 = 1 << 20;

/// The bisection ends at this distance, and the entries are read one after another.
const BISECTED_BYTES: u64 = 8 << 10;

/// An entry and where its line is.
struct Located {
    entry: LogEntry,
    begin: u64,
    end: u64,
}

/// Reads lines from an offset on.
struct Lines<'a> {
    file: &'a dyn File,
    path: &'a LogPath,
    /// The offset of `bytes`.
    offset: u64,
    bytes: Vec<u8>,
    /// How much of `bytes` has been read.
    used: usize,
    end: u64,
    next_read: u64,
}

impl<'a> Lines<'a> {
    fn new(file: &'a dyn File, path: &'a LogPath, offset: u64, end: u64) -> Self {
        Self { file, path, offset, bytes: vec![], used: 0, end, next_read: FIRST_READ_BYTES }
    }

    /// Skips the rest of a line.
    fn skip_line(&mut self) -> Result<()> {
        self.line().map(drop)
    }

    /// The next line with its offset, without its line feed; `None` at the end.
    fn line(&mut self) -> Result<Option<(u64, std::ops::Range<usize>)>> {
        let mut searched = self.used;
        loop {
            let rest = self.bytes.get(searched..).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', rest) {
                let (begin, end) = (self.used, searched + length);
                self.used = end + 1;
                return Ok(Some((self.offset + begin as u64, begin..end)));
            }
            searched = self.bytes.len();
            if !self.read_more(&mut searched)? {
                let begin = self.used;
                self.used = self.bytes.len();
                let line = begin..self.bytes.len();
                return Ok(if line.is_empty() { None } else { Some((self.offset + begin as u64, line)) });
            }
        }
    }

    /// Reads more, and returns whether there was more.
    fn read_more(&mut self, searched: &mut usize) -> Result<bool> {
        let from = self.offset + self.bytes.len() as u64;
        let length = self.next_read.min(self.end.saturating_sub(from));
        if length == 0 {
            return Ok(false);
        }
        let read = self.file.read(from, length).map_err(|e| self.path.failed("read", e))?;
        self.next_read = (2 * self.next_read).min(MAX_READ_BYTES);
        self.bytes.drain(..self.used);
        (self.offset, *searched) = (self.offset + self.used as u64, *searched - self.used);
        self.used = 0;
        self.bytes.extend_from_slice(&read);
        // A file that became shorter meanwhile has no more.
        Ok(!read.is_empty())
    }

    fn entry(&mut self) -> Result<Option<Located>> {
        loop {
            let Some((begin, line)) = self.line()? else { return Ok(None) };
            let end = begin + line.len() as u64 + 1;
            let text = std::str::from_utf8(self.bytes.get(line).unwrap_or_default()).ok();
            let text = text.map(|text| text.strip_suffix('\r').unwrap_or(text));
            if text.is_some_and(log_line::is_empty) {
                continue;
            }
            let Some(line) = text.and_then(log_line::read) else {
                return Err(unreadable_line(self.file, self.path, begin));
            };
            return Ok(Some(Located { entry: line.entry, begin, end }));
        }
    }
}

/// Index and time of the first entry of a file.
pub(crate) fn first_entry(file: &dyn File, path: &LogPath, begin: u64, end: u64) -> Result<Option<(u64, Time)>> {
    let first = Lines::new(file, path, begin, end).entry()?;
    Ok(first.map(|first| (first.entry.index, first.entry.updated)))
}

/// The offset of the first entry that is not before `start` and `since`, or of an entry a little before it.
fn bisect(file: &dyn File, path: &LogPath, known: &KnownLog, is_before: impl Fn(&LogEntry) -> bool) -> Result<u64> {
    let (mut low, mut high) = (known.begin, known.tail.end);
    // Most readers want the end, which is found at once.
    let mut middle = high.saturating_sub(BISECTED_BYTES);
    while high.saturating_sub(low) > BISECTED_BYTES {
        let mut lines = Lines::new(file, path, middle, known.tail.end);
        lines.skip_line()?;
        match lines.entry()? {
            Some(found) if is_before(&found.entry) => low = found.end,
            // The wanted entry is that one, or begins before the middle.
            Some(_) | None => high = middle,
        }
        middle = low + high.saturating_sub(low) / 2;
    }
    // This is always the begin of a line.
    Ok(low)
}

/// The offset of the first entry with this index or a later one, and not older than `since`.
pub(crate) fn offset_of(
    file: &dyn File,
    path: &LogPath,
    known: &KnownLog,
    (start, since): (u64, Option<Time>),
) -> Result<u64> {
    let is_before = |entry: &LogEntry| is_before(entry, start, since);
    let mut lines = Lines::new(file, path, bisect(file, path, known, is_before)?, known.tail.end);
    while let Some(found) = lines.entry()? {
        if !is_before(&found.entry) {
            return Ok(found.begin);
        }
    }
    Ok(known.tail.end)
}

fn is_before(entry: &LogEntry, start: u64, since: Option<Time>) -> bool {
    entry.index < start || since.is_some_and(|since| entry.updated < since)
}

/// Reads a page.
pub(crate) fn read(file: &dyn File, path: &LogPath, known: &KnownLog, query: &LogQuery, now: Time) -> Result<LogPage> {
    let bounds = &known.bounds;
    let first = first_kept(file, path, known, now)?;
    let (start, since) = (bounds.start(query).max(first), query.since);
    let mut page = LogPage { entries: vec![], first, next: bounds.next, retention: bounds.retention };
    if start >= bounds.next || query.limit == 0 {
        return Ok(page);
    }
    let is_before = |entry: &LogEntry| is_before(entry, start, since);
    let mut lines = Lines::new(file, path, bisect(file, path, known, is_before)?, known.tail.end);
    let mut bytes = 0_usize;
    while let Some(Located { entry, .. }) = lines.entry()? {
        if is_before(&entry) {
            continue;
        }
        bytes = bytes.saturating_add(entry.value.len());
        if page.entries.len() >= query.limit || !page.entries.is_empty() && bytes > LogQuery::MAX_PAGE_BYTES {
            break;
        }
        page.entries.push(entry);
    }
    Ok(page)
}

/// The index of the first entry that the retention keeps.
pub(crate) fn first_kept(file: &dyn File, path: &LogPath, known: &KnownLog, now: Time) -> Result<u64> {
    let bounds = &known.bounds;
    let first = bounds.first_kept();
    let Some(oldest_kept) = bounds.oldest_kept(now) else { return Ok(first) };
    if known.oldest.is_none_or(|(_, time)| time >= oldest_kept) {
        return Ok(first);
    }
    let offset = offset_of(file, path, known, (first, Some(oldest_kept)))?;
    let found = first_entry(file, path, offset, known.tail.end)?;
    Ok(found.map_or(bounds.next, |(index, _)| index))
}

/// The number of entries with these indices. If they begin at 0, all lines of the file before their end are read.
pub(crate) fn count(file: &dyn File, path: &LogPath, known: &KnownLog, indices: std::ops::Range<u64>) -> Result<u64> {
    let offset = offset_of(file, path, known, (indices.start, None))?;
    let mut lines = Lines::new(file, path, offset, known.tail.end);
    let mut count = 0;
    while let Some(found) = lines.entry()?.filter(|found| found.entry.index < indices.end) {
        count += u64::from(found.entry.index >= indices.start);
    }
    Ok(count)
}
