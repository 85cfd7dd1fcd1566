//! Reading a long document on all processors, if kvs wrote each of its lines.

use std::thread;

use super::parsed::ParsedLine;
use super::{document, line};

/// A shorter document is read faster by one thread.
pub(crate) const MIN_BYTES: usize = 4 << 20;

/// More threads than this wait for the memory.
const MAX_THREADS: usize = 8;

/// The lines of a document, if each is an entry on one line that kvs wrote, and the keys are in order. Otherwise
/// `None`.
///
/// Each line can be read alone. A line in this form may belong to the line before it, but then that one is not in this
/// form, so the document is not read here.
pub(crate) fn read(text: &str) -> Option<Vec<ParsedLine>> {
    let header = document::read_header(text).map_or(0, |(len, _)| len);
    let text = text.get(header..)?;
    let parts = parts(text.strip_prefix("---\n").unwrap_or(text));
    let (first, others) = parts.split_first()?;
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|part| {
                thread::Builder::new().name("kvs read".into()).spawn_scoped(scope, || read_part(part, part.len()))
            })
            .collect();
        let mut lines = read_part(first, text.len())?;
        for (other, part) in others.into_iter().zip(parts.iter().skip(1)) {
            let more = match other {
                Ok(thread) => thread.join().ok()??,
                // No thread could be started.
                Err(_) => read_part(part, part.len())?,
            };
            let (last, next) = (lines.last(), more.first());
            if last.zip(next).is_some_and(|(last, next)| last.key >= next.key) {
                return None;
            }
            lines.extend(more);
        }
        Some(lines)
    })
}

/// Cuts a text into parts of about the same length, between two lines.
fn parts(mut text: &str) -> Vec<&str> {
    let mut left = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut parts = Vec::with_capacity(left);
    while left > 1 {
        let from = text.len() / left;
        let end = memchr::memchr(b'\n', text.as_bytes().get(from..).unwrap_or_default()).map(|n| from + n + 1);
        let Some((part, rest)) = end.and_then(|end| text.split_at_checked(end)) else { break };
        parts.push(part);
        (text, left) = (rest, left - 1);
    }
    parts.push(text);
    parts
}

/// The lines of a part, with room for those of a text of `len` bytes.
fn read_part(text: &str, len: usize) -> Option<Vec<ParsedLine>> {
    let mut lines: Vec<ParsedLine> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest.as_bytes())?;
        let (own, after) = (rest.get(..end)?, rest.get(end + 1..)?);
        if own.starts_with(['?', '#']) {
            return None;
        }
        let line = line::read(own)?;
        if lines.last().is_some_and(|last| last.key >= line.key) {
            return None;
        }
        reserve(&mut lines, text.len() - after.len(), len);
        lines.push(line);
        rest = after;
    }
    Some(lines)
}

/// Makes room for another line, and for all lines of a text of `len` bytes if they are as long as those in the first
/// `read` bytes. Otherwise a vector that grows moves many lines several times.
pub(crate) fn reserve(lines: &mut Vec<ParsedLine>, read: usize, len: usize) {
    if lines.len() < lines.capacity() {
        return;
    }
    // A few short lines may be followed by long ones.
    let most = if lines.len() < 1024 { lines.len().saturating_mul(8).max(64) } else { usize::MAX };
    let all = lines.len().saturating_mul(len) / read.max(1);
    // If there is not so much memory, the vector grows as usual.
    let _ = lines.try_reserve((all + all / 16).saturating_sub(lines.len()).clamp(64, most));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::format::reader;
    use crate::yaml::format::stream::RawDocument;

    fn entries(numbers: std::ops::Range<usize>) -> String {
        numbers.map(|n| format!("k{n:07}: {{value: \"{n}\", updated: 2026-11-20T12:00:00Z}}\n")).collect()
    }

    fn keys(lines: &[ParsedLine]) -> Vec<String> {
        lines.iter().map(|line| line.key.to_string()).collect()
    }

    #[test]
    fn parts_are_whole_lines() {
        let text = entries(0..1000);
        let parts = parts(&text);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.ends_with('\n')));
        assert_eq!(super::parts("a"), ["a"]);
    }

    #[test]
    fn only_sorted_lines_of_kvs_are_read() {
        let text = entries(0..1000);
        let lines = read(&format!("---\n{text}")).unwrap();
        assert_eq!(keys(&lines), (0..1000).map(|n| format!("k{n:07}")).collect::<Vec<_>>());
        for other in ["b: 1\n", "# note\n", "\n", "a:\n  value: 1\n"] {
            assert!(read(&format!("{text}{other}")).is_none(), "{other:?}");
            assert!(read(&format!("{other}{text}")).is_none(), "{other:?}");
        }
        assert!(read(&format!("{text}{}", entries(500..501))).is_none(), "a key twice");
        assert!(read(text.trim_end()).is_none(), "the end of the last line is missing");
    }

    #[test]
    fn long_document_is_read_as_a_short_one() {
        let text = entries(0..(MIN_BYTES / 40));
        assert!(text.len() > MIN_BYTES);
        let document = |text: &str| {
            let raw = RawDocument { text: text.as_bytes(), line: 1, start: 0, end: text.len(), ended: true };
            reader::read(&raw).unwrap()
        };
        let long = document(&format!("---\n{text}"));
        let noted = document(&format!("---\n{text}# a note\n"));
        assert_eq!(long.lines, noted.lines);
        assert!(!long.has_notes && !long.by_hand && noted.has_notes);
    }
}
