//! Reading one document: lines of kvs fast, all others with care; and splitting it into items, so that it can be
//! rewritten.

use std::ops::Range;

use super::long_document::PackedSnapshot;
use super::parse_error::ParseError;
use super::parsed::ParsedLine;
use super::stream::{RawDocument, has_bare_return, newlines, wrong_end_mark};
use super::{block, document, handwritten, line, long_document};
use crate::model::Key;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Document {
    pub(crate) lines: Vec<ParsedLine>,
    /// Whether a person wrote some of its entries.
    pub(crate) by_hand: bool,
    /// Whether it has comments or empty lines of a person.
    pub(crate) has_notes: bool,
    /// Its entries, if there are no lines because it is packed.
    pub(crate) packed: Option<PackedSnapshot>,
}

/// Gets the lines of a document in their order. `None` means that the document must be read with care as a whole.
trait Visitor {
    /// An entry that kvs wrote.
    fn ours(&mut self, range: Range<usize>, line: ParsedLine) -> Option<()>;
    /// Comments, empty lines, and the line `---`.
    fn note(&mut self, range: Range<usize>) -> Option<()>;
    /// Lines of a person that can be read alone. `number` is that of the first one.
    fn by_hand(&mut self, range: Range<usize>, number: u64) -> Option<()>;
}

/// Reads a document, and keeps its lines.
///
/// A line of kvs can be read alone. The lines between two of them are read together. If they make no sense, or begin
/// indented, a line that looks like one of kvs may be a part of theirs, so the whole document is read with care.
pub(crate) fn read(raw: &RawDocument<'_>) -> Result<Document, ParseError> {
    let text = text(raw)?;
    let mut visit = DocumentReader { text, document: Document::default(), sorted: true };
    if walk(text, raw.line, &mut visit).is_some() && visit.has_each_key_once() {
        return Ok(visit.document);
    }
    let lines = handwritten::read(text, raw.line)?.into_iter().map(|(line, _)| line).collect();
    Ok(Document { lines, by_hand: true, has_notes: true, packed: None })
}

/// Reads the first document of a file, and packs its entries if it is long and kvs wrote each of its lines.
pub(crate) fn read_snapshot(raw: &RawDocument<'_>) -> Result<Document, ParseError> {
    if raw.text.len() >= long_document::MIN_BYTES
        && let Some(packed) = long_document::read(text(raw)?)
    {
        return Ok(Document { packed: Some(packed), ..Document::default() });
    }
    read(raw)
}

fn text<'a>(raw: &RawDocument<'a>) -> Result<&'a str, ParseError> {
    let text = std::str::from_utf8(raw.text).map_err(|e| {
        let before = raw.text.get(..e.valid_up_to()).unwrap_or_default();
        ParseError::new(raw.line + newlines(before), "these bytes are not UTF-8; store such values by base64:")
    })?;
    if let Some(at) = wrong_end_mark(raw.text) {
        let before = raw.text.get(..at).unwrap_or_default();
        let advice = "`...` ends a document, so nothing may follow it on its line; put the rest on a line of its own";
        return Err(ParseError::new(raw.line + newlines(before), advice));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn walk(text: &str, first_line: u64, visitor: &mut impl Visitor) -> Option<()> {
    let (mut at, mut number) = (0, first_line);
    let mut other: Option<(usize, u64)> = None;
    let mut entries = 0;
    while at < text.len() {
        let rest = text.get(at..)?;
        let (own, line) = next_line(rest)?;
        let end = (at + own.len() + 1).min(text.len());
        if own.starts_with('#') && has_bare_return(own.as_bytes()) {
            return None;
        }
        // An empty line after a line of a person may belong to its text (`|+` keeps it).
        let is_note = own.is_empty() && other.is_none()
            || own.starts_with('#')
            || (own == "---" && entries == 0 && other.is_none());
        if is_note || line.is_some() {
            if let Some((from, line)) = other.take() {
                visitor.by_hand(from..at, line)?;
            }
            match line {
                Some(line) => visitor.ours(at..end, line)?,
                None => visitor.note(at..end)?,
            }
            entries += usize::from(!is_note);
        } else if other.is_none() {
            if own.starts_with([' ', '\t', '%', '-', '.', '{', '[']) {
                return None;
            }
            other = Some((at, number));
        }
        number += newlines(text.as_bytes().get(at..end)?);
        at = end;
    }
    other.map_or(Some(()), |(from, line)| visitor.by_hand(from..text.len(), line))
}

/// The first line of a text without its line feed, and the entry in it if kvs wrote it. Some entries have several
/// lines.
fn next_line(text: &str) -> Option<(&str, Option<ParsedLine>)> {
    let mut end = memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
    if text.starts_with("? ") {
        // The explicit form of a long key has a second line.
        let second = text.get(end + 1..).filter(|second| second.starts_with(": "))?;
        end += 1 + memchr::memchr(b'\n', second.as_bytes()).unwrap_or(second.len());
    }
    let own = text.get(..end)?;
    if own.is_empty() || own.starts_with('#') {
        return Some((own, None));
    }
    if own.ends_with(':')
        && let Some((line, len)) = block::read(text)
    {
        return Some((text.get(..len)?.strip_suffix('\n')?, Some(line)));
    }
    Some((own, line::read(own)))
}

/// A part of a document, in the order of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DocumentItem {
    /// Lines without entries: comments, empty lines, directives, the line `---`.
    Note(Range<usize>),
    /// An entry that kvs wrote.
    Ours(ParsedLine, Range<usize>),
    /// An entry that a person wrote.
    ByHand(handwritten::Placed),
}

/// Splits a document into items. Offsets count in its text without a byte order mark.
pub(crate) fn items<'a>(raw: &RawDocument<'a>) -> Result<(&'a str, Vec<DocumentItem>), ParseError> {
    let text = text(raw)?;
    let mut visit = ItemSplitter { text, items: Vec::new() };
    if walk(text, raw.line, &mut visit).is_none() {
        visit.items.clear();
        visit.split(0..text.len(), raw.line)?;
    }
    Ok((text, visit.items))
}

/// The keys that a document deletes, each with its line.
pub(crate) fn deletions(raw: &RawDocument<'_>) -> Vec<(u64, Key)> {
    let Ok((text, items)) = items(raw) else { return Vec::new() };
    let deletion = |item| {
        let (line, lines) = match item {
            DocumentItem::Note(_) => return None,
            DocumentItem::Ours(line, lines) => (line, lines),
            DocumentItem::ByHand(placed) => (placed.line, placed.lines),
        };
        let before = text.as_bytes().get(..lines.start)?;
        line.parsed.is_none().then(|| (raw.line + newlines(before), line.key))
    };
    items.into_iter().filter_map(deletion).collect()
}

struct ItemSplitter<'a> {
    text: &'a str,
    items: Vec<DocumentItem>,
}

impl ItemSplitter<'_> {
    /// Splits lines of a person into items.
    fn split(&mut self, range: Range<usize>, number: u64) -> Result<(), ParseError> {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let mut at = 0;
        for placed in handwritten::layout(text, number)? {
            if placed.lines.start > at {
                self.note(range.start + at..range.start + placed.lines.start);
            }
            at = placed.lines.end;
            let moved = |part: &Range<usize>| range.start + part.start..range.start + part.end;
            let (lines, comments) = (moved(&placed.lines), placed.comments.iter().map(moved).collect());
            self.items.push(DocumentItem::ByHand(handwritten::Placed { lines, comments, ..placed }));
        }
        if at < text.len() {
            self.note(range.start + at..range.end);
        }
        Ok(())
    }
}

impl Visitor for ItemSplitter<'_> {
    fn ours(&mut self, range: Range<usize>, line: ParsedLine) -> Option<()> {
        self.items.push(DocumentItem::Ours(line, range));
        Some(())
    }

    fn note(&mut self, range: Range<usize>) -> Option<()> {
        match self.items.last_mut() {
            Some(DocumentItem::Note(before)) if before.end == range.start => before.end = range.end,
            _ => self.items.push(DocumentItem::Note(range)),
        }
        Some(())
    }

    fn by_hand(&mut self, range: Range<usize>, number: u64) -> Option<()> {
        self.split(range, number).ok()
    }
}

/// Collects the entries.
struct DocumentReader<'a> {
    text: &'a str,
    document: Document,
    sorted: bool,
}

impl DocumentReader<'_> {
    /// If the keys are in order, none can occur twice; else the careful reader finds where.
    fn has_each_key_once(&self) -> bool {
        let mut seen = std::collections::HashSet::new();
        self.sorted || self.document.lines.iter().all(|line| seen.insert(&line.key))
    }
}

impl Visitor for DocumentReader<'_> {
    fn ours(&mut self, _: Range<usize>, line: ParsedLine) -> Option<()> {
        self.sorted &= self.document.lines.last().is_none_or(|last| last.key < line.key);
        self.document.lines.push(line);
        Some(())
    }

    fn note(&mut self, range: Range<usize>) -> Option<()> {
        if !self.document.has_notes {
            let note = self.text.get(range.clone())?.trim_end();
            let header = document::read_header(self.text).map_or(0, |(len, _)| len);
            self.document.has_notes = range.start >= header && note != "---";
        }
        Some(())
    }

    fn by_hand(&mut self, range: Range<usize>, number: u64) -> Option<()> {
        let lines = handwritten::read(self.text.get(range)?, number).ok()?;
        self.document.lines.extend(lines.into_iter().map(|(line, _)| line));
        (self.document.by_hand, self.sorted) = (true, false);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(text: &str) -> Result<Document, ParseError> {
        read(&RawDocument { text: text.as_bytes(), line: 1, start: 0, end: text.len(), ended: true })
    }

    #[test]
    fn lines_of_kvs_and_of_a_person_can_be_mixed() {
        let ours = "b: {value: x, updated: 2026-11-20T12:00:00Z}\n";
        let found = document(&format!("# c\n{ours}a: 1\nc:\n  value: y\n{}", ours.replace('b', "d"))).unwrap();
        let keys: Vec<_> = found.lines.iter().map(|l| l.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c", "d"]);
        assert!(found.by_hand);
        assert!(!document(ours).unwrap().by_hand);
    }

    #[test]
    fn text_after_an_end_mark_is_an_error_with_its_line() {
        for text in ["a: 1\n... b: 2\n", "a: 1\n...\tx\n", "a: |\n x\n...  t", "... b: 2\n"] {
            let error = document(text).unwrap_err().of("f");
            let line = text.lines().position(|line| line.starts_with("...")).unwrap() + 1;
            assert!(error.contains(&format!("line {line}")) && error.contains("ends a document"), "{text:?}: {error}");
        }
        for text in ["a: |\n ... b\n", "a: '... b'\n", "a: ...b\n", "# ... x\na: 1\n"] {
            assert!(document(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn line_of_kvs_within_a_text_belongs_to_the_text() {
        let found = document("a: \"one\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n  two\"\n");
        assert!(found.is_err() || found.unwrap().lines.len() == 1);
        let found = document("a: |\n b: {value: x, updated: 2026-11-20T12:00:00Z}\n").unwrap();
        assert_eq!(found.lines.len(), 1);
        let error = document("b: {value: x, updated: 2026-11-20T12:00:00Z}\n  a: 1\n").unwrap_err();
        assert!((1..=2).contains(&error.line));
    }

    #[test]
    fn duplicate_keys_are_refused_everywhere() {
        let ours = "b: {value: x, updated: 2026-11-20T12:00:00Z}\n";
        assert_eq!(document(&format!("{ours}a: 1\n{ours}")).unwrap_err().line, 3);
        assert_eq!(document(&format!("{ours}{ours}")).unwrap_err().line, 2);
        assert_eq!(document(&format!("{ours}b: 1\n")).unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn fast_and_careful_readers_agree(
            keys in proptest::collection::btree_set("[a-z]{1,3}", 0..5),
            hand in "[a-c: \n\"'{}x]{0,30}",
        ) {
            let line = |key: &String| key.replace(['n', 'y'], "x") + ": {value: v, updated: 2026-11-20T12:00:00Z}\n";
            let ours: String = keys.iter().map(line).collect();
            let text = format!("{ours}{hand}\n");
            let mut fast = DocumentReader { text: &text, document: Document::default(), sorted: true };
            if walk(&text, 1, &mut fast).is_some() && fast.has_each_key_once() {
                let careful: Vec<_> = handwritten::read(&text, 1).unwrap().into_iter().map(|l| l.0).collect();
                prop_assert_eq!(fast.document.lines, careful);
            }
        }
    }
}
