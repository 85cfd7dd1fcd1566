//! Finds where the last whole append of a log file ends.
//!
//! A killed writer leaves a part of an append, and after a power failure a part may be zeros. Such a tail was never
//! acknowledged. Anything else that is no entry was written by a person, and is an error.

use super::log_path::LogPath;
use crate::model::{Result, Time};
use crate::yaml::format::log_line;
use crate::yaml::fs::File;

/// How much of the end of a file is read at first. More is read if the last append is longer.
const FIRST_READ_BYTES: u64 = 16 << 10;

/// The end of the whole appends of a log file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tail {
    /// The offset after the last whole append.
    pub(crate) end: u64,
    /// Whether there is a line feed before it.
    pub(crate) is_ended: bool,
    /// Index and time of the last entry; `None` if there is none.
    pub(crate) last: Option<(u64, Time)>,
}

/// What a part of a file shows.
enum Scanned {
    Tail(Tail),
    /// The last append begins before this part.
    BeginsEarlier,
    /// At this offset is something that no writer leaves.
    Foreign(u64),
}

/// The end of the whole appends of a file of this length, whose entries begin at `begin`.
pub(crate) fn find(file: &dyn File, path: &LogPath, begin: u64, len: u64) -> Result<Tail> {
    let mut length = FIRST_READ_BYTES;
    loop {
        let from = len.saturating_sub(length).max(begin);
        let bytes = file.read(from, len.saturating_sub(from)).map_err(|e| path.failed("read", e))?;
        match scan(&bytes, from, from == begin) {
            Scanned::Tail(tail) => return Ok(tail),
            Scanned::BeginsEarlier => length = length.saturating_mul(4),
            Scanned::Foreign(at) => return Err(unreadable_line(file, path, at)),
        }
    }
}

/// The error for the line at an offset. It counts the lines before it.
pub(crate) fn unreadable_line(file: &dyn File, path: &LogPath, at: u64) -> crate::model::Error {
    const PART_BYTES: u64 = 1 << 20;
    let (mut line, mut from) = (1, 0);
    while from < at {
        let Ok(bytes) = file.read(from, PART_BYTES.min(at - from)) else { break };
        line += memchr::memchr_iter(b'\n', &bytes).count();
        from += PART_BYTES;
    }
    path.corrupt(&format!(
        "line {line} is no entry as kvs writes it; correct the line or remove it. Until then nothing from there on can be \
         read and, if it is near the end, nothing can be appended"
    ))
}

fn scan(bytes: &[u8], from: u64, is_whole: bool) -> Scanned {
    let mut tail = Tail { end: from, is_ended: true, last: None };
    let mut offset = from;
    // The number of appends that end here, and whether the line is within one.
    let (mut appends, mut is_within) = (0, false);
    for (number, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let at = offset;
        offset += line.len() as u64;
        // The first line of a part is a part of a line.
        if number == 0 && !is_whole {
            tail.end = offset;
            continue;
        }
        let ended = line.strip_suffix(b"\n");
        let text = std::str::from_utf8(ended.unwrap_or(line)).ok();
        let text = text.map(|text| text.strip_suffix('\r').unwrap_or(text));
        if let Some(line) = text.and_then(log_line::read) {
            is_within = line.continues;
            if !is_within {
                appends += 1;
                tail =
                    Tail { end: offset, is_ended: ended.is_some(), last: Some((line.entry.index, line.entry.updated)) };
            }
        } else if text.is_some_and(log_line::is_empty) && ended.is_some() {
            if !is_within {
                tail.end = offset;
            }
        } else if let Some(zero) = memchr::memchr(0, line) {
            // After a power failure, the line feed after a last entry may be the begin of zeros.
            let before = line.get(..zero).and_then(|line| std::str::from_utf8(line).ok()).and_then(log_line::read);
            if let Some(line) = before.filter(|line| !line.continues) {
                appends += 1;
                let last = Some((line.entry.index, line.entry.updated));
                tail = Tail { end: at + zero as u64, is_ended: false, last };
            }
            break;
        } else if ended.is_none() {
            break;
        } else {
            return Scanned::Foreign(at);
        }
    }
    // The begin of the last append must have been seen, or a part of it could be missing.
    if is_whole || appends >= 2 { Scanned::Tail(tail) } else { Scanned::BeginsEarlier }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(index: u64, continues: bool) -> String {
        let continues = if continues { "continues: true, " } else { "" };
        format!("- {{index: {index}, {continues}value: a, updated: 2026-11-28T12:00:00Z}}\n")
    }

    fn tail(text: &[u8]) -> Option<(u64, Option<u64>, bool)> {
        match scan(text, 0, true) {
            Scanned::Tail(tail) => Some((tail.end, tail.last.map(|(index, _)| index), tail.is_ended)),
            Scanned::BeginsEarlier | Scanned::Foreign(_) => None,
        }
    }

    #[test]
    fn part_of_an_append_is_not_counted() {
        let one = line(0, false);
        let three = line(1, true) + &line(2, true) + &line(3, false);
        let whole = format!("{one}{three}");
        assert_eq!(tail(whole.as_bytes()), Some((whole.len() as u64, Some(3), true)));
        for end in one.len()..whole.len() - 1 {
            assert_eq!(tail(&whole.as_bytes()[..end]), Some((one.len() as u64, Some(0), true)), "{end}");
        }
        let mut zeros = whole.clone().into_bytes();
        zeros[one.len() + 5..one.len() + 60].fill(0);
        assert_eq!(tail(&zeros), Some((one.len() as u64, Some(0), true)));
        // Without its line feed an entry is whole all the same.
        assert_eq!(tail(one.trim_end().as_bytes()), Some((one.len() as u64 - 1, Some(0), false)));
        assert_eq!(tail(b""), Some((0, None, true)));
    }

    #[test]
    fn text_of_a_person_is_an_error_unless_it_is_a_comment() {
        let text = format!("{}# a note\n\n{}", line(0, false), line(4, false));
        assert_eq!(tail(text.as_bytes()), Some((text.len() as u64, Some(4), true)));
        assert_eq!(tail(format!("{}hello\n", line(0, false)).as_bytes()), None);
        assert_eq!(tail(format!("hello\n{}", line(0, false)).as_bytes()), None);
    }

    #[test]
    fn begin_of_the_last_append_must_be_seen() {
        let text = line(0, true) + &line(1, true) + &line(2, false);
        let part = &text.as_bytes()[9..];
        assert!(matches!(scan(part, 9, false), Scanned::BeginsEarlier));
        let two = line(0, false) + &line(1, false) + &line(2, false);
        assert!(matches!(scan(&two.as_bytes()[9..], 9, false), Scanned::Tail(_)));
    }
}
