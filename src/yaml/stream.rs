//! The bytes of a file, cut into documents, and each document read.
//!
//! A line that begins with `...` ends a document and is its commit mark. What stands behind the last one is a torn tail
//! (an append that a crash cut off, never acknowledged), or what a person added; [`cut`] tells which.

use super::hand::{self, Fault};
use super::line::{self, Line};

/// A document within a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    /// Its lines, from behind the mark before to its own.
    pub(super) text: &'a [u8],
    /// The number of its first line, from 1.
    pub(super) line: u64,
    /// The offset of its first byte.
    pub(super) start: usize,
    /// The offset behind its mark.
    pub(super) end: usize,
    /// Whether a mark ends it, or at least another document follows.
    pub(super) ended: bool,
}

/// The documents of a file, or of the part of it that has been added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cut<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// Where the torn tail begins, if there is one: no piece lies behind it.
    pub(super) torn: Option<usize>,
}

/// Cuts `bytes` into documents. `whole`: they are a whole file, whose first document is no append.
///
/// An append begins with `---`. So a last document that begins so, or with a part of it, and has no mark is torn. No
/// YAML holds a NUL, but a file that grew before its data reached the disk does: an append with one is torn, and all
/// behind it, for nothing is appended before what stands there is durable.
pub(super) fn cut(bytes: &[u8], whole: bool) -> Cut<'_> {
    let mut pieces = Vec::new();
    let (mut start, mut line, mut number) = (0, 1, 1);
    let mut at = 0;
    let mut begun = false;
    // Whether what stands before is ended by a mark, as all is that we append to.
    let mut marked = !whole;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).map_or(bytes.len(), |n| at + n + 1);
        let text = bytes.get(at..end).unwrap_or_default();
        // A byte order mark may precede any document.
        let text = if begun { text } else { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) };
        let piece = |to: usize, end: usize| Piece {
            text: bytes.get(start..to).unwrap_or_default(),
            line,
            start,
            end,
            ended: true,
        };
        if is_mark(text, *b"...") {
            pieces.push(piece(at, end));
            (start, line, begun, marked) = (end, number + 1, false, true);
        } else if is_mark(text, *b"---") && begun {
            pieces.push(piece(at, at));
            (start, line, marked) = (at, number, false);
        } else {
            begun |= !is_idle(text) && !text.starts_with(b"%");
        }
        number += 1;
        at = end;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let mut torn = None;
    if marked && (rest.starts_with(b"---") || (!rest.is_empty() && b"---\n".starts_with(rest))) {
        torn = Some(start);
    } else if !rest.is_empty() {
        let end = cut_off_mark(rest).map_or(bytes.len(), |at| start + at);
        if end < bytes.len() {
            torn = Some(end);
        }
        if end > start {
            let text = bytes.get(start..end).unwrap_or_default();
            pieces.push(Piece { text, line, start, end, ended: false });
        }
    }
    let is_torn = |(n, piece): &(usize, &Piece<'_>)| (*n > 0 || !whole) && memchr::memchr(0, piece.text).is_some();
    if let Some((n, piece)) = pieces.iter().enumerate().find(is_torn) {
        torn = Some(piece.start);
        pieces.truncate(n);
    }
    Cut { pieces, torn }
}

/// Where a mark begins that was being added to what a person wrote, and did not get on the disk as a whole: bytes are
/// missing at its end, or are NUL.
fn cut_off_mark(text: &[u8]) -> Option<usize> {
    let is_part = |tail: &[u8], mark: &[u8]| {
        let fits = tail.iter().zip(mark).all(|(byte, wanted)| byte == wanted || *byte == 0);
        let is_more = tail.contains(&0) || tail.len() < mark.len() && tail.contains(&b'.');
        tail.len() <= mark.len() && fits && is_more
    };
    let begins_at = |at: usize, is_own_line: bool| {
        let (before, tail) = text.split_at_checked(at).unwrap_or_default();
        let mark: &[u8] = if is_own_line { b"...\n" } else { b"\n...\n" };
        (before.is_empty() || before.ends_with(b"\n")) == is_own_line && is_part(tail, mark)
    };
    let last = text.len().saturating_sub(5)..text.len();
    last.clone().find(|at| begins_at(*at, true)).or_else(|| last.clone().find(|at| begins_at(*at, false)))
}

/// What is wrong if the torn tail begins before `durable`: all up to there was stored, so it is damaged, not torn.
pub(super) fn lost(bytes: &[u8], cut: &Cut<'_>, durable: u64) -> Option<Fault> {
    let start = cut.torn.filter(|at| (*at as u64) < durable)?;
    let (before, text) = bytes.split_at_checked(start)?;
    let line = 1 + newlines(before);
    if let Some(at) = memchr::memchr(0, text) {
        let line = line + newlines(text.get(..at).unwrap_or_default());
        let text = "a NUL byte, which no text has, in what was stored; put the line back from a backup".into();
        return Some(Fault { line, text });
    }
    let piece = Piece { text, line, start, end: bytes.len(), ended: false };
    // Mostly a fault in the text is the reason that its end mark was not found.
    let text = "what begins here was stored, but its end mark, a line `...`, is missing; put the mark back";
    Some(read(&piece).err().unwrap_or_else(|| Fault { line, text: text.into() }))
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How many lines end in these bytes.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

fn is_mark(line: &[u8], mark: [u8; 3]) -> bool {
    line.strip_prefix(&mark).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a line says nothing: blank, or a comment.
fn is_idle(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"#")
}

/// A document, read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Document {
    pub(super) lines: Vec<Line>,
    /// Whether a person wrote a part of it, so that it should be written anew.
    pub(super) by_hand: bool,
}

/// Reads a document: our own lines fast, all others with care.
///
/// A line of ours stands for itself. The lines between two of ours are read together; if they make no sense so, or begin
/// indented, a line that looks like ours is perhaps a part of theirs, so the whole document is read with care.
pub(super) fn read(piece: &Piece<'_>) -> Result<Document, Fault> {
    let text = std::str::from_utf8(piece.text).map_err(|e| {
        let before = piece.text.get(..e.valid_up_to()).unwrap_or_default();
        Fault {
            line: piece.line + newlines(before),
            text: "these bytes are not UTF-8; store such values by base64:".into(),
        }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(document) = read_fast(text, piece.line) {
        return Ok(document);
    }
    let lines = hand::read(text, piece.line)?.into_iter().map(|(line, _)| line).collect();
    Ok(Document { lines, by_hand: true })
}

fn read_fast(text: &str, first_line: u64) -> Option<Document> {
    let mut document = Document::default();
    let mut sorted = true;
    let (mut at, mut number) = (0, first_line);
    let mut other: Option<(usize, u64)> = None;
    while at < text.len() {
        let rest = text.get(at..)?;
        let mut end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let mut lines = 1;
        if rest.starts_with("? ") {
            // The explicit form of a long key: its second line belongs to it.
            let second = rest.get(end + 1..).filter(|second| second.starts_with(": "))?;
            end += 1 + memchr::memchr(b'\n', second.as_bytes()).unwrap_or(second.len());
            lines = 2;
        }
        let own = rest.get(..end)?;
        // An empty line after a line of a person may belong to a text of theirs (`|+` keeps it).
        let is_ours = own.is_empty() && other.is_none()
            || own.starts_with('#')
            || (own == "---" && document.lines.is_empty() && other.is_none());
        let read = if is_ours { None } else { line::read(own) };
        if is_ours || read.is_some() {
            if let Some((from, line)) = other.take() {
                document.take(hand::read(text.get(from..at)?, line).ok()?);
                sorted = false;
            }
            if let Some(line) = read {
                sorted &= document.lines.last().is_none_or(|last| last.key < line.key);
                document.lines.push(line);
            }
        } else if other.is_none() {
            if own.starts_with([' ', '\t', '%', '-', '.', '{', '[']) {
                return None;
            }
            other = Some((at, number));
        }
        at += end + 1;
        number += lines;
    }
    if let Some((from, line)) = other {
        document.take(hand::read(text.get(from..)?, line).ok()?);
        sorted = false;
    }
    // In order, no key can stand twice; else the careful reader tells where it does.
    (sorted || document.has_each_key_once()).then_some(document)
}

impl Document {
    fn take(&mut self, lines: Vec<(Line, u64)>) {
        self.lines.extend(lines.into_iter().map(|(line, _)| line));
        self.by_hand = true;
    }

    fn has_each_key_once(&self) -> bool {
        let mut seen = std::collections::HashSet::new();
        self.lines.iter().all(|line| seen.insert(&line.key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(bytes: &str, whole: bool) -> (Vec<&str>, Option<usize>) {
        let cut = cut(bytes.as_bytes(), whole);
        (cut.pieces.iter().map(|p| std::str::from_utf8(p.text).unwrap()).collect(), cut.torn)
    }

    #[test]
    fn documents_end_at_their_mark() {
        assert_eq!(texts("a: 1\n...\n---\nb: 2\n...\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("a: 1\n---\nb: 2\n...\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("---\na: 1\r\n...\r\nb: 2\n... # x\n", true), (vec!["---\na: 1\r\n", "b: 2\n"], None));
        assert_eq!(texts("a: |\n ...\n ---\n...\n", true), (vec!["a: |\n ...\n ---\n"], None));
        assert_eq!(texts("", true), (vec![], None));
    }

    #[test]
    fn an_append_without_its_mark_is_torn() {
        let head = "a: 1\n...\n";
        for tail in ["-", "--", "---", "---\n", "---\nb: 2\n", "---\nb: 2\n.."] {
            assert_eq!(texts(&format!("{head}{tail}"), true), (vec!["a: 1\n"], Some(9)), "{tail:?}");
        }
        assert_eq!(texts("---\nb: 2\n", false), (vec![], Some(0)));
        assert_eq!(texts("---\nb: 2\n...\n---\nc\0: 2\n...\n---\nd: 2\n...\n", false), (vec!["---\nb: 2\n"], Some(13)));
        assert_eq!(texts("a: 1\n...\n\0\0\0\0\nb: 2\n...\n", true).1, Some(9));
    }

    #[test]
    fn a_mark_that_was_cut_off_is_torn() {
        for tail in [".", "..", "\0", "..\0\0", "\0\0.\n", "\0\0\0\0"] {
            assert_eq!(texts(&format!("a: 1\n{tail}"), true), (vec!["a: 1\n"], Some(5)), "{tail:?}");
            assert_eq!(texts(&format!("a: 1\n...\nb: 2\n{tail}"), true), (vec!["a: 1\n", "b: 2\n"], Some(14)));
            assert_eq!(texts(&format!("a: 1\n{tail}"), true).1, Some(5));
            assert_eq!(texts(tail, true), (vec![], Some(0)));
        }
        for tail in ["\n.", "\n..", "\0\0\0\0\0", "\n..\0\0", "\0..."] {
            // Whether the line feed was the person's cannot be known, and makes no difference.
            let text = format!("a: b{tail}");
            let (pieces, torn) = texts(&text, true);
            assert_eq!((pieces.len(), pieces[0].trim_end(), torn), (1, "a: b", Some(pieces[0].len())), "{tail:?}");
        }
        for text in ["a: b\n..c", "a: b.", "a: b..", "a: b\0c\n", "a: b\n"] {
            assert_eq!(texts(text, true), (vec![text], None));
        }
    }

    #[test]
    fn what_a_person_added_is_not_torn() {
        assert_eq!(texts("a: 1\n", true), (vec!["a: 1\n"], None));
        assert_eq!(texts("---\na: 1\n", true), (vec!["---\na: 1\n"], None));
        assert_eq!(texts("a: 1\n---\nb: 2\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("a: 1\n...\nb: 2", true), (vec!["a: 1\n", "b: 2"], None));
    }

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
        fn no_bytes_make_it_fail(bytes in any::<Vec<u8>>(), text in "[-.#?:{}~\"'a-c \n\0]{0,60}", whole in any::<bool>()) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                for piece in cut(bytes, whole).pieces {
                    let _ = read(&piece);
                }
            }
        }

        #[test]
        fn fast_and_careful_readers_agree(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..5), hand in "[a-c: \n\"'{}x]{0,30}") {
            let ours: String = keys.iter().map(|k| k.replace(['n', 'y'], "x") + ": {value: v, updated: 2026-11-20T12:00:00Z}\n").collect();
            let text = format!("{ours}{hand}\n");
            if let Some(fast) = read_fast(&text, 1) {
                let careful: Vec<_> = hand::read(&text, 1).unwrap().into_iter().map(|l| l.0).collect();
                prop_assert_eq!(fast.lines, careful);
            }
        }
    }
}
