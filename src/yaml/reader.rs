//! One document, read: our own lines fast, all others with care; and what its lines are, for whoever writes it anew.

use std::ops::Range;

use super::hand::{self, Fault};
use super::line::{self, Line};
use super::stream::{Piece, newlines};
use super::{block, document};
use crate::model::Key;

/// A document, read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Document {
    pub(super) lines: Vec<Line>,
    /// Whether a person wrote a part of its entries.
    pub(super) by_hand: bool,
    /// Whether it has anything else of a person: comments, empty lines.
    pub(super) has_notes: bool,
}

/// Whoever is given the lines of a document, in their order. None: the document must be read with care as a whole.
trait Visitor {
    /// An entry that kvs wrote.
    fn ours(&mut self, range: Range<usize>, line: Line) -> Option<()>;
    /// Comments, empty lines, and the line `---`.
    fn note(&mut self, range: Range<usize>) -> Option<()>;
    /// Lines of a person that stand for themselves; the number of the first one.
    fn by_hand(&mut self, range: Range<usize>, number: u64) -> Option<()>;
}

/// Reads a document.
///
/// A line of ours stands for itself. The lines between two of ours are read together; if they make no sense so, or begin
/// indented, a line that looks like ours is perhaps a part of theirs, so the whole document is read with care.
pub(super) fn read(piece: &Piece<'_>) -> Result<Document, Fault> {
    let text = text(piece)?;
    let mut visit = Reading { text, document: Document::default(), sorted: true };
    if walk(text, piece.line, &mut visit).is_some() && visit.has_each_key_once() {
        return Ok(visit.document);
    }
    let lines = hand::read(text, piece.line)?.into_iter().map(|(line, _)| line).collect();
    Ok(Document { lines, by_hand: true, has_notes: true })
}

fn text<'a>(piece: &Piece<'a>) -> Result<&'a str, Fault> {
    let text = std::str::from_utf8(piece.text).map_err(|e| {
        let before = piece.text.get(..e.valid_up_to()).unwrap_or_default();
        Fault {
            line: piece.line + newlines(before),
            text: "these bytes are not UTF-8; store such values by base64:".into(),
        }
    })?;
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
        // An empty line after a line of a person may belong to a text of theirs (`|+` keeps it).
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

/// The line with which a text begins, without its line feed, and the entry in it if kvs wrote it; some entries take several
/// lines.
fn next_line(text: &str) -> Option<(&str, Option<Line>)> {
    let mut end = memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
    if text.starts_with("? ") {
        // The explicit form of a long key: its second line belongs to it.
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
pub(super) enum Item {
    /// Lines that say nothing: comments, empty lines, directives, the line `---`.
    Note(Range<usize>),
    /// An entry that kvs wrote.
    Ours(Line, Range<usize>),
    /// An entry that a person wrote.
    ByHand(hand::Placed),
}

/// Takes a document that can be read apart. The offsets count in its text without a byte order mark.
pub(super) fn items<'a>(piece: &Piece<'a>) -> Result<(&'a str, Vec<Item>), Fault> {
    let text = text(piece)?;
    let mut visit = Splitting { text, items: Vec::new() };
    if walk(text, piece.line, &mut visit).is_none() {
        visit.items.clear();
        visit.split(0..text.len(), piece.line)?;
    }
    Ok((text, visit.items))
}

/// The keys that a document deletes, each with its line.
pub(super) fn deletions(piece: &Piece<'_>) -> Vec<(u64, Key)> {
    let Ok((text, items)) = items(piece) else { return Vec::new() };
    let deletion = |item| {
        let (line, lines) = match item {
            Item::Note(_) => return None,
            Item::Ours(line, lines) => (line, lines),
            Item::ByHand(placed) => (placed.line, placed.lines),
        };
        let before = text.as_bytes().get(..lines.start)?;
        line.given.is_none().then(|| (piece.line + newlines(before), line.key))
    };
    items.into_iter().filter_map(deletion).collect()
}

struct Splitting<'a> {
    text: &'a str,
    items: Vec<Item>,
}

impl Splitting<'_> {
    /// Takes lines of a person apart.
    fn split(&mut self, range: Range<usize>, number: u64) -> Result<(), Fault> {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let mut at = 0;
        for placed in hand::layout(text, number)? {
            if placed.lines.start > at {
                self.note(range.start + at..range.start + placed.lines.start);
            }
            at = placed.lines.end;
            let moved = |part: &Range<usize>| range.start + part.start..range.start + part.end;
            let (lines, comments) = (moved(&placed.lines), placed.comments.iter().map(moved).collect());
            self.items.push(Item::ByHand(hand::Placed { lines, comments, ..placed }));
        }
        if at < text.len() {
            self.note(range.start + at..range.end);
        }
        Ok(())
    }
}

impl Visitor for Splitting<'_> {
    fn ours(&mut self, range: Range<usize>, line: Line) -> Option<()> {
        self.items.push(Item::Ours(line, range));
        Some(())
    }

    fn note(&mut self, range: Range<usize>) -> Option<()> {
        match self.items.last_mut() {
            Some(Item::Note(before)) if before.end == range.start => before.end = range.end,
            _ => self.items.push(Item::Note(range)),
        }
        Some(())
    }

    fn by_hand(&mut self, range: Range<usize>, number: u64) -> Option<()> {
        self.split(range, number).ok()
    }
}

/// Takes the entries.
struct Reading<'a> {
    text: &'a str,
    document: Document,
    sorted: bool,
}

impl Reading<'_> {
    /// In order, no key can come twice; else the careful reader finds out where it does.
    fn has_each_key_once(&self) -> bool {
        let mut seen = std::collections::HashSet::new();
        self.sorted || self.document.lines.iter().all(|line| seen.insert(&line.key))
    }
}

impl Visitor for Reading<'_> {
    fn ours(&mut self, _: Range<usize>, line: Line) -> Option<()> {
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
        let lines = hand::read(self.text.get(range)?, number).ok()?;
        self.document.lines.extend(lines.into_iter().map(|(line, _)| line));
        (self.document.by_hand, self.sorted) = (true, false);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(text: &str) -> Result<Document, Fault> {
        read(&Piece { text: text.as_bytes(), line: 1, start: 0, end: text.len(), ended: true })
    }

    #[test]
    fn lines_of_ours_and_of_a_person_mix() {
        let ours = "b: {value: x, updated: 2026-11-20T12:00:00Z}\n";
        let found = document(&format!("# c\n{ours}a: 1\nc:\n  value: y\n{}", ours.replace('b', "d"))).unwrap();
        let keys: Vec<_> = found.lines.iter().map(|l| l.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c", "d"]);
        assert!(found.by_hand);
        assert!(!document(ours).unwrap().by_hand);
    }

    #[test]
    fn a_line_of_ours_within_a_text_belongs_to_the_text() {
        let found = document("a: \"one\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n  two\"\n");
        assert!(found.is_err() || found.unwrap().lines.len() == 1);
        let found = document("a: |\n b: {value: x, updated: 2026-11-20T12:00:00Z}\n").unwrap();
        assert_eq!(found.lines.len(), 1);
        let fault = document("b: {value: x, updated: 2026-11-20T12:00:00Z}\n  a: 1\n").unwrap_err();
        assert!((1..=2).contains(&fault.line));
    }

    #[test]
    fn a_key_given_twice_is_refused_wherever_it_stands() {
        let ours = "b: {value: x, updated: 2026-11-20T12:00:00Z}\n";
        assert_eq!(document(&format!("{ours}a: 1\n{ours}")).unwrap_err().line, 3);
        assert_eq!(document(&format!("{ours}{ours}")).unwrap_err().line, 2);
        assert_eq!(document(&format!("{ours}b: 1\n")).unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn fast_and_careful_readers_agree(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..5), hand in "[a-c: \n\"'{}x]{0,30}") {
            let ours: String = keys.iter().map(|k| k.replace(['n', 'y'], "x") + ": {value: v, updated: 2026-11-20T12:00:00Z}\n").collect();
            let text = format!("{ours}{hand}\n");
            let mut fast = Reading { text: &text, document: Document::default(), sorted: true };
            if walk(&text, 1, &mut fast).is_some() && fast.has_each_key_once() {
                let careful: Vec<_> = hand::read(&text, 1).unwrap().into_iter().map(|l| l.0).collect();
                prop_assert_eq!(fast.document.lines, careful);
            }
        }
    }
}
