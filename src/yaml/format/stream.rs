//! Splitting the bytes of a file, a YAML stream, into documents.
//!
//! A line that begins with `...` ends a document and is its commit mark. At rest a file is one document without a mark;
//! the first append adds the mark. After the last mark there may be a torn tail (an append that a crash cut off, never
//! acknowledged), or an addition by a person; [`split`] finds out which.

/// A document of a file, not parsed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RawDocument<'a> {
    /// Its lines, without the end mark.
    pub(crate) text: &'a [u8],
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    /// The offset of its first byte.
    pub(crate) start: usize,
    /// The offset after its end mark.
    pub(crate) end: usize,
    /// Whether it has an end mark, or another document follows.
    pub(crate) ended: bool,
}

/// The documents of a file, or of what was appended to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct YamlStream<'a> {
    pub(crate) documents: Vec<RawDocument<'a>>,
    /// The offset of the torn tail, if there is one. No document is after it.
    pub(crate) torn: Option<usize>,
}

/// Splits a whole file, whose first document is not an append.
pub(crate) fn split(bytes: &[u8]) -> YamlStream<'_> {
    split_from(bytes, true)
}

/// Splits what was appended to a file.
pub(crate) fn split_appended(bytes: &[u8]) -> YamlStream<'_> {
    split_from(bytes, false)
}

/// Splits `bytes` into documents.
///
/// An append begins with `---`, after the end mark of the document before. So a last document is torn if it follows an
/// end mark, begins with `---` or a part of it, and has no end mark. YAML has no NUL bytes, but a file that grew before
/// its data reached the disk has: an append with one is torn, and so is everything after it, because an append is
/// written only when everything before it is durable.
fn split_from(bytes: &[u8], whole: bool) -> YamlStream<'_> {
    let mut documents = Vec::new();
    let (mut start, mut line, mut number) = (0, 1, 1);
    let mut at = 0;
    let mut has_content = false;
    // Whether an end mark comes before. An append always follows one.
    let mut marked = !whole;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).map_or(bytes.len(), |n| at + n + 1);
        let text = bytes.get(at..end).unwrap_or_default();
        // A byte order mark may precede any document.
        let text = if has_content { text } else { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) };
        let raw = |to: usize, end: usize| RawDocument {
            text: bytes.get(start..to).unwrap_or_default(),
            line,
            start,
            end,
            ended: true,
        };
        if is_end_mark(text) {
            documents.push(raw(at, end));
            (start, line, has_content, marked) = (end, number + 1, false, true);
        } else if is_mark(text, *b"---") && has_content {
            documents.push(raw(at, at));
            (start, line, marked) = (at, number, false);
        } else {
            has_content |= !is_blank_or_comment(text) && !text.starts_with(b"%");
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
            documents.push(RawDocument { text, line, start, end, ended: false });
        }
    }
    for (n, raw) in documents.iter_mut().enumerate().filter(|(_, raw)| memchr::memchr(0, raw.text).is_some()) {
        let follows_mark =
            if raw.start == 0 { !whole } else { bytes.get(..raw.start).is_some_and(|b| b.ends_with(b"...\n")) };
        let is_append = follows_mark && begins_append(raw.text);
        // An addition by a person stays, if only the append after it is torn.
        let at = if is_append { Some(0) } else { unwritten_append(raw.text) };
        let Some(at) = at.or((n > 0 || !whole).then_some(0)) else { continue };
        torn = Some(raw.start + at);
        (raw.text, raw.end, raw.ended) = (raw.text.get(..at).unwrap_or_default(), raw.start + at, false);
        documents.truncate(if at > 0 { n + 1 } else { n });
        break;
    }
    YamlStream { documents, torn }
}

/// Whether a text after an end mark begins like an append, as far as it reached the disk.
fn begins_append(text: &[u8]) -> bool {
    text.starts_with(b"---") || text.iter().zip(b"---\n").all(|(byte, wanted)| byte == wanted || *byte == 0)
}

/// An append to a document without an end mark begins with one of these, the second if the document has no entries;
/// with the line feed if the document does not end with one.
const APPENDS: [&[u8]; 2] = [b"\n...\n---\n", b"\n---\n...\n---\n"];

/// The offset of an append if only a part of its end mark reached the disk.
fn cut_off_mark(text: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\n...\n";
    let is_part = |tail: &[u8], mark: &[u8]| tail.len() < mark.len() && tail.contains(&b'.') && mark.starts_with(tail);
    let last = text.len().saturating_sub(MARK.len())..text.len();
    let found = find_append(text, last, |tail, skip| is_part(tail, MARK.get(skip..).unwrap_or_default()));
    // The beginning of a document, in a text that has none yet.
    let is_started = |len: usize| {
        let (before, tail) = text.split_at_checked(text.len().checked_sub(len)?)?;
        (b"---".starts_with(tail)
            && before.split_inclusive(|b| *b == b'\n').all(|l| is_blank_or_comment(l) && l.ends_with(b"\n")))
        .then_some(before.len())
    };
    found.or_else(|| is_started(2)).or_else(|| is_started(1)).or_else(|| unwritten_append(text))
}

/// The offset of an append if a part of it is missing and reads as NUL bytes.
fn unwritten_append(text: &[u8]) -> Option<usize> {
    let first = memchr::memchr(0, text)?;
    APPENDS.iter().find_map(|append| {
        let fits = |tail: &[u8], skip: usize| {
            tail.iter().zip(append.iter().skip(skip)).all(|(byte, wanted)| byte == wanted || *byte == 0)
        };
        find_append(text, first.saturating_sub(append.len() - 1)..first + 1, fits)
    })
}

/// The offset in this range where an append begins: at the start of a line, or else after a line without a line feed.
fn find_append(text: &[u8], offsets: std::ops::Range<usize>, fits: impl Fn(&[u8], usize) -> bool) -> Option<usize> {
    let begins_at = |at: usize, skip: usize| {
        let (before, tail) = text.split_at_checked(at).unwrap_or_default();
        let is_own_line = before.is_empty() || before.ends_with(b"\n");
        is_own_line == (skip == 1) && fits(tail, skip)
    };
    offsets.clone().find(|at| begins_at(*at, 1)).or_else(|| offsets.clone().find(|at| begins_at(*at, 0)))
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The number of line feeds.
pub(crate) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

pub(crate) fn is_mark(line: &[u8], mark: [u8; 3]) -> bool {
    line.strip_prefix(&mark).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a line is the end mark of a document, perhaps with a comment.
fn is_end_mark(line: &[u8]) -> bool {
    let rest = line.get(3..).unwrap_or_default().trim_ascii_start();
    is_mark(line, *b"...") && (rest.is_empty() || rest.starts_with(b"#"))
}

/// The offset of an end mark with something after it, which no document may have.
pub(crate) fn wrong_end_mark(text: &[u8]) -> Option<usize> {
    let starts = std::iter::once(0).chain(memchr::memmem::find_iter(text, b"\n...").map(|at| at + 1));
    starts.into_iter().find(|at| {
        let line = text.get(*at..).and_then(|rest| rest.split(|byte| *byte == b'\n').next()).unwrap_or_default();
        is_mark(line, *b"...") && !is_end_mark(line)
    })
}

/// Whether a line is blank or a comment.
pub(crate) fn is_blank_or_comment(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"#") && !has_bare_return(line)
}

/// Whether a carriage return is within a line. For YAML a line ends there, so something may follow a comment.
pub(crate) fn has_bare_return(line: &[u8]) -> bool {
    memchr::memchr(b'\r', line).is_some_and(|at| !matches!(line.get(at + 1..), None | Some(b"" | b"\n")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::format::reader::read;

    fn texts(bytes: &str, whole: bool) -> (Vec<&str>, Option<usize>) {
        let stream = split_from(bytes.as_bytes(), whole);
        (stream.documents.iter().map(|p| std::str::from_utf8(p.text).unwrap()).collect(), stream.torn)
    }

    #[test]
    fn documents_end_at_their_mark() {
        assert_eq!(texts("a: 1\n...\n---\nb: 2\n...\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("a: 1\n---\nb: 2\n...\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("---\na: 1\r\n...\r\nb: 2\n... # x\n", true), (vec!["---\na: 1\r\n", "b: 2\n"], None));
        assert_eq!(texts("a: |\n ...\n ---\n...\n", true), (vec!["a: |\n ...\n ---\n"], None));
        assert_eq!(texts("", true), (vec![], None));
        assert_eq!(texts("a: 1\n... b: 2\n", true), (vec!["a: 1\n... b: 2\n"], None));
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
    fn incomplete_end_mark_is_torn() {
        for tail in [".", "..", "\0", "..\0\0", "\0\0.\n", "\0\0\0\0"] {
            assert_eq!(texts(&format!("a: 1\n{tail}"), true), (vec!["a: 1\n"], Some(5)), "{tail:?}");
            assert_eq!(texts(&format!("a: 1\n...\nb: 2\n{tail}"), true), (vec!["a: 1\n", "b: 2\n"], Some(14)));
            assert_eq!(texts(&format!("a: 1\n{tail}"), true).1, Some(5));
            assert_eq!(texts(tail, true), (vec![], Some(0)));
        }
        for tail in ["\n.", "\n..", "\0\0\0\0\0", "\n..\0\0", "\0..."] {
            // It cannot be known, and makes no difference, whether the line feed was the person's.
            let text = format!("a: b{tail}");
            let (documents, torn) = texts(&text, true);
            assert_eq!(
                (documents.len(), documents[0].trim_end(), torn),
                (1, "a: b", Some(documents[0].len())),
                "{tail:?}"
            );
        }
        for text in ["a: b\n..c", "a: b.", "a: b..", "a: b\0c\n", "a: b\n"] {
            assert_eq!(texts(text, true), (vec![text], None));
        }
    }

    #[test]
    fn addition_by_a_person_is_not_torn() {
        assert_eq!(texts("a: 1\n", true), (vec!["a: 1\n"], None));
        assert_eq!(texts("---\na: 1\n", true), (vec!["---\na: 1\n"], None));
        assert_eq!(texts("a: 1\n---\nb: 2\n", true), (vec!["a: 1\n", "---\nb: 2\n"], None));
        assert_eq!(texts("a: 1\n...\nb: 2", true), (vec!["a: 1\n", "b: 2"], None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_fail(
            bytes in any::<Vec<u8>>(),
            text in "[-.#?:{}~\"'a-c \n\0]{0,60}",
            whole in any::<bool>(),
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                for raw in split_from(bytes, whole).documents {
                    let _ = read(&raw);
                }
            }
        }

        #[test]
        fn append_with_missing_bytes_is_torn(from in 0_usize..40, len in 1_usize..60, end in 0_usize..40) {
            let mut append = b"...\n---\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n...\n".to_vec();
            append.truncate(append.len() - end);
            for byte in append.iter_mut().skip(from).take(len) {
                *byte = 0;
            }
            let text = [b"# mine\na: 1\n", append.as_slice()].concat();
            let found = split(&text);
            prop_assert_eq!(found.documents[0].text, b"# mine\na: 1\n".as_slice());
            prop_assert!(found.torn.is_some_and(|at| (12..=16).contains(&at)), "{:?}", found);
        }
    }
}
