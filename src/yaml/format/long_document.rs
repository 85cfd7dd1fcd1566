//! Reading a long document on all processors, if kvs wrote each of its lines.

use std::thread;

use super::{document, line};
use crate::model::Revision;
use crate::store::{Entries, EntriesBuilder};

/// A shorter document is read faster by one thread.
pub(crate) const MIN_BYTES: usize = 4 << 20;

/// More threads than this wait for the memory.
const MAX_THREADS: usize = 8;

/// The entries of a long document that kvs wrote, and the greatest revision of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PackedSnapshot {
    pub(crate) entries: Entries,
    pub(crate) revision: Revision,
}

/// The entries of a document, if each line is one that kvs wrote, and the keys are in order. Otherwise `None`.
///
/// Each line can be read alone. A line in this form may belong to the line before it, but then that one is not in this
/// form, so the document is not read here.
pub(crate) fn read(text: &str) -> Option<PackedSnapshot> {
    let header = document::read_header(text).map_or(0, |(len, _)| len);
    let text = text.get(header..)?;
    let parts = parts(text.strip_prefix("---\n").unwrap_or(text));
    let (first, others) = parts.split_first()?;
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|part| thread::Builder::new().name("kvs read".into()).spawn_scoped(scope, || PackedPart::read(part)))
            .collect();
        let mut all = PackedPart::read(first)?;
        for (other, part) in others.into_iter().zip(parts.iter().skip(1)) {
            let part = match other {
                Ok(thread) => thread.join().ok()??,
                // No thread could be started.
                Err(_) => PackedPart::read(part)?,
            };
            if !all.entries.append(part.entries) {
                return None;
            }
            all.revision = all.revision.max(part.revision);
        }
        Some(PackedSnapshot { entries: all.entries.into(), revision: all.revision })
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

/// The entries of a part, and the greatest revision of them.
#[derive(Default)]
struct PackedPart {
    entries: EntriesBuilder,
    revision: Revision,
}

impl PackedPart {
    fn read(text: &str) -> Option<Self> {
        let mut all = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest.as_bytes())?;
            let (own, after) = (rest.get(..end)?, rest.get(end + 1..)?);
            if own.starts_with(['?', '#']) {
                return None;
            }
            let line = line::read(own)?;
            all.revision = all.revision.max(line.revision_reached());
            let parsed = line.parsed?;
            let revision = parsed.updated.map(Revision::from).filter(|revision| *revision != Revision::ZERO)?;
            if !all.entries.push(line.key, parsed.at(revision)) {
                return None;
            }
            rest = after;
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::format::reader;
    use crate::yaml::format::stream::RawDocument;

    fn entries(numbers: std::ops::Range<usize>) -> String {
        numbers.map(|n| format!("k{n:07}: {{value: \"{n}\", updated: 2026-11-20T12:00:00Z}}\n")).collect()
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
        let read_back = read(&format!("---\n{text}")).unwrap();
        let keys: Vec<_> = read_back.entries.iter().map(|view| view.key.to_owned()).collect();
        assert_eq!(keys, (0..1000).map(|n| format!("k{n:07}")).collect::<Vec<_>>());
        for other in ["b: 1\n", "# note\n", "\n", "a:\n  value: 1\n", "a: {deleted: true}\n", "b: {value: \"1\"}\n"] {
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
            reader::read_snapshot(&raw).unwrap()
        };
        let long = document(&format!("---\n{text}"));
        let noted = document(&format!("---\n{text}# a note\n"));
        assert!(long.packed.is_some() && !long.has_notes && !long.by_hand);
        assert!(noted.packed.is_none() && noted.has_notes);
        let entries = noted.lines.into_iter().map(|line| {
            let revision = line.revision_reached();
            (line.key, line.parsed.unwrap().at(revision))
        });
        assert_eq!(long.packed.unwrap().entries, entries.collect());
    }
}
