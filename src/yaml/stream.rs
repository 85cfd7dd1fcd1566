//! The bytes of a file, cut into documents.
//!
//! A line that begins with `...` ends a document and is its commit mark. At rest a file is one document without a mark; the
//! first append adds the mark. What follows the last mark is a torn tail (an append that a crash cut off, never
//! acknowledged), or what a person added; [`cut`] finds out which.

use super::hand::Fault;
use super::reader::read;

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
/// An append begins with `---`, in a file at rest after the mark of the document there. So a last document that follows a
/// mark, begins so, or with a part of it, and has no mark is torn. No YAML has a NUL byte, but a file that grew before its
/// data reached the disk does: an append with one is torn, and so is all that follows, because nothing is appended before
/// everything up to there is durable.
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
    if marked && !rest.is_empty() && begins_append(rest) {
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
    for (n, piece) in pieces.iter_mut().enumerate().filter(|(_, piece)| memchr::memchr(0, piece.text).is_some()) {
        let follows_mark =
            if piece.start == 0 { !whole } else { bytes.get(..piece.start).is_some_and(|b| b.ends_with(b"...\n")) };
        let is_append = follows_mark && begins_append(piece.text);
        // What a person added stays, if it is only the append to it that is not whole.
        let at = if is_append { Some(0) } else { unwritten_append(piece.text) };
        let Some(at) = at.or((n > 0 || !whole).then_some(0)) else { continue };
        torn = Some(piece.start + at);
        (piece.text, piece.end, piece.ended) = (piece.text.get(..at).unwrap_or_default(), piece.start + at, false);
        pieces.truncate(if at > 0 { n + 1 } else { n });
        break;
    }
    Cut { pieces, torn }
}

/// Whether a text that follows a mark begins as an append does, as far as it got on the disk.
fn begins_append(text: &[u8]) -> bool {
    text.starts_with(b"---") || text.iter().zip(b"---\n").all(|(byte, wanted)| byte == wanted || *byte == 0)
}

/// What is appended to a document without a mark begins with one of these, the second if the document has no entries; with
/// the line feed if the document does not end with one.
const APPENDS: [&[u8]; 2] = [b"\n...\n---\n", b"\n---\n...\n---\n"];

/// Where an append to this document begins of which only a part of the mark got on the disk.
fn cut_off_mark(text: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\n...\n";
    let is_part = |tail: &[u8], mark: &[u8]| tail.len() < mark.len() && tail.contains(&b'.') && mark.starts_with(tail);
    let last = text.len().saturating_sub(MARK.len())..text.len();
    let found = find_append(text, last, |tail, skip| is_part(tail, MARK.get(skip..).unwrap_or_default()));
    // The beginning of a document, in a text that has none yet.
    let is_begun = |len: usize| {
        let (before, tail) = text.split_at_checked(text.len().checked_sub(len)?)?;
        (b"---".starts_with(tail) && before.split_inclusive(|b| *b == b'\n').all(|l| is_idle(l) && l.ends_with(b"\n")))
            .then_some(before.len())
    };
    found.or_else(|| is_begun(2)).or_else(|| is_begun(1)).or_else(|| unwritten_append(text))
}

/// Where an append to this document begins of which a part is missing and reads as NUL bytes, from its first bytes on.
fn unwritten_append(text: &[u8]) -> Option<usize> {
    let first = memchr::memchr(0, text)?;
    APPENDS.iter().find_map(|append| {
        let fits = |tail: &[u8], skip: usize| {
            tail.iter().zip(append.iter().skip(skip)).all(|(byte, wanted)| byte == wanted || *byte == 0)
        };
        find_append(text, first.saturating_sub(append.len() - 1)..first + 1, fits)
    })
}

/// The offset among these where an append begins: on a line of its own, or else after a line that has no line feed.
fn find_append(text: &[u8], offsets: std::ops::Range<usize>, fits: impl Fn(&[u8], usize) -> bool) -> Option<usize> {
    let begins_at = |at: usize, skip: usize| {
        let (before, tail) = text.split_at_checked(at).unwrap_or_default();
        let is_own_line = before.is_empty() || before.ends_with(b"\n");
        is_own_line == (skip == 1) && fits(tail, skip)
    };
    offsets.clone().find(|at| begins_at(*at, 1)).or_else(|| offsets.clone().find(|at| begins_at(*at, 0)))
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

pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How many lines end in these bytes.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

pub(super) fn is_mark(line: &[u8], mark: [u8; 3]) -> bool {
    line.strip_prefix(&mark).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a line says nothing: blank, or a comment.
pub(super) fn is_idle(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"#")
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
        fn an_append_of_which_a_part_is_missing_is_torn(from in 0_usize..40, len in 1_usize..60, end in 0_usize..40) {
            let mut append = b"...\n---\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n...\n".to_vec();
            append.truncate(append.len() - end);
            for byte in append.iter_mut().skip(from).take(len) {
                *byte = 0;
            }
            let text = [b"# mine\na: 1\n", append.as_slice()].concat();
            let found = cut(&text, true);
            prop_assert_eq!(found.pieces[0].text, b"# mine\na: 1\n".as_slice());
            prop_assert!(found.torn.is_some_and(|at| (12..=16).contains(&at)), "{:?}", found);
        }
    }
}
