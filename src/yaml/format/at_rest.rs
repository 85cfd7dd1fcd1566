//! The form of a file at rest: one document as a person would write it, made from the lines of the file.
//!
//! The comments, empty lines, order and spelling of a person stay. Only the lines of changed entries are rewritten,
//! new keys come at the end, and the lines of removed entries go. Appended documents are folded in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::document::{header, read_header};
use super::entry_at_rest;
use super::handwritten::Placed;
use super::parse_error::ParseError;
use super::parsed::ParsedEntry;
use super::reader::{DocumentItem, items};
use super::stream::{BYTE_ORDER_MARK, RawDocument, is_blank_or_comment, split};
use crate::model::{Bucket, Entry, Key, Revision, Time};
use crate::store::Entries;

/// The contents that a file must have.
#[derive(Clone, Copy)]
pub(crate) struct FileContents<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) entries: &'a Entries,
    pub(crate) revision: Revision,
    /// Entries that have expired by then are left out.
    pub(crate) now: Time,
    /// Whether there is a last copy, which has the revisions that lines of a person do not have.
    pub(crate) has_copy: bool,
}

impl FileContents<'_> {
    fn entry(&self, key: &Key) -> Option<Entry> {
        self.entries.live(key, self.now)
    }
}

/// The text of a new file: the header, and the entries in the order of their keys.
pub(crate) fn fresh(contents: &FileContents<'_>) -> Vec<u8> {
    let mut text = header(contents.bucket, contents.revision).into_bytes();
    for view in contents.entries.iter().filter(|view| view.is_live(contents.now)) {
        entry_at_rest::write(&mut text, &view.to_key(), &view.to_entry());
    }
    text
}

/// The text of a file at rest, made from its present text.
///
/// # Errors
/// If the text cannot be read.
pub(crate) fn tidied(bytes: &[u8], contents: &FileContents<'_>) -> Result<Vec<u8>, ParseError> {
    let (parts, seen) = parts(bytes)?;
    let mut out =
        TidyWriter { contents, text: Vec::new(), end: line_end(bytes), indent: indent(&parts), convert: false };
    out.convert = parts.iter().any(FilePart::is_flow) && out.changes_anything(&parts, &seen);
    if bytes.starts_with(BYTE_ORDER_MARK) {
        out.text.extend_from_slice(BYTE_ORDER_MARK);
    }
    for (n, part) in parts.iter().enumerate() {
        match &part.kind {
            PartKind::Note => out.note(part),
            PartKind::Entry { key, .. } => {
                let Some(&(first, last)) = seen.get(key) else { continue };
                let winner = parts.get(last).filter(|_| first == n);
                out.entry(part, winner);
            }
        }
    }
    let missing = contents.entries.iter().filter(|view| !seen.contains_key(view.key) && view.is_live(contents.now));
    for view in missing {
        out.canonical(&view.to_key(), &view.to_entry(), &[]);
    }
    Ok(out.text)
}

/// Like [`tidied`], with the entries in the order of their keys. The comments above an entry move with it; comments
/// that an empty line separates from the first entry stay at the top.
///
/// # Errors
/// If the text cannot be read.
pub(crate) fn sorted(bytes: &[u8], contents: &FileContents<'_>) -> Result<Vec<u8>, ParseError> {
    let tidied = tidied(bytes, contents)?;
    let (parts, _) = parts(&tidied)?;
    if parts.iter().any(FilePart::is_flow) {
        return Ok(tidied);
    }
    let (mut top, mut above) = ("", "");
    let mut groups: BTreeMap<&Key, [&str; 2]> = BTreeMap::new();
    for part in &parts {
        match &part.kind {
            PartKind::Note if groups.is_empty() => (top, above) = part.text.split_at(top_len(part.text)),
            PartKind::Note => above = part.text,
            PartKind::Entry { key, .. } => drop(groups.insert(key, [std::mem::take(&mut above), part.text])),
        }
    }
    let mut out = if tidied.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
    for text in std::iter::once(top).chain(groups.into_values().flatten()).chain([above]) {
        end_line(&mut out, line_end(bytes));
        out.extend_from_slice(text.as_bytes());
    }
    Ok(out)
}

/// The number of bytes before the first entry that belong to the file as a whole: all up to the last empty line, and at
/// least the header and the line `---`.
fn top_len(text: &str) -> usize {
    let mut len = read_header(text).map_or(0, |(len, _)| len);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if !line.trim_start().starts_with('#') {
            len = len.max(at);
        }
    }
    len
}

/// The text to write between a document without an end mark and the next one. A text without entries is not a
/// document in YAML, so it gets a beginning as well.
pub(crate) fn mark(text: &[u8]) -> &'static [u8] {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let is_bare = text.split(|byte| *byte == b'\n').all(is_blank_or_comment);
    match (is_bare, text.last().is_none_or(|last| *last == b'\n')) {
        (true, true) => b"---\n...\n",
        (true, false) => b"\n---\n...\n",
        (false, true) => b"...\n",
        (false, false) => b"\n...\n",
    }
}

/// A part of the documents of a file.
struct FilePart<'a> {
    text: &'a str,
    /// Whether it is in the first document, which keeps its place and its directives.
    is_first: bool,
    kind: PartKind<'a>,
}

enum PartKind<'a> {
    Note,
    Entry {
        key: Key,
        parsed: Option<ParsedEntry>,
        /// Whether kvs wrote it.
        ours: bool,
        /// The comments within its lines.
        comments: Vec<Comment<'a>>,
        indent: usize,
        /// If it is in a flow mapping with several entries: the offset of that mapping in its document.
        flow: Option<usize>,
    },
}

/// A comment within the lines of an entry.
#[derive(Clone, Copy)]
struct Comment<'a> {
    text: &'a str,
    has_own_line: bool,
}

impl FilePart<'_> {
    fn is_flow(&self) -> bool {
        matches!(self.kind, PartKind::Entry { flow: Some(_), .. })
    }
}

/// The parts of all documents, and for each key the first and the last part of it.
type FileParts<'a> = (Vec<FilePart<'a>>, HashMap<Key, (usize, usize)>);

fn parts(bytes: &[u8]) -> Result<FileParts<'_>, ParseError> {
    let stream = split(bytes);
    let (mut parts, mut seen) = (Vec::new(), HashMap::<Key, (usize, usize)>::new());
    for (n, raw) in stream.documents.iter().enumerate() {
        let (text, items) = items(raw)?;
        for item in items {
            let part = part(text, item, n == 0);
            if let PartKind::Entry { key, .. } = &part.kind {
                let at = parts.len();
                seen.entry(key.clone()).and_modify(|(_, last)| *last = at).or_insert((at, at));
            }
            parts.push(part);
        }
        if let Some(text) = comment_of_mark(bytes, raw) {
            parts.push(FilePart { text, is_first: false, kind: PartKind::Note });
        }
    }
    Ok((parts, seen))
}

fn part(text: &str, item: DocumentItem, is_first: bool) -> FilePart<'_> {
    let of = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    match item {
        DocumentItem::Note(range) => FilePart { text: of(&range), is_first, kind: PartKind::Note },
        DocumentItem::Ours(line, range) => {
            let (key, parsed) = (line.key, line.parsed);
            let kind = PartKind::Entry { key, parsed, ours: true, comments: Vec::new(), indent: 0, flow: None };
            FilePart { text: of(&range), is_first, kind }
        }
        DocumentItem::ByHand(Placed { line, lines, comments, indent, block }) => {
            let has_own_line = |range: &Range<usize>| {
                let before = text.get(lines.start..range.start).unwrap_or_default();
                before.rsplit('\n').next().is_none_or(|before| before.trim().is_empty())
            };
            let comment =
                |range: &Range<usize>| Comment { text: of(range).trim_end(), has_own_line: has_own_line(range) };
            let comments = comments.iter().map(comment).collect();
            let (flow, (key, parsed)) = ((!block).then_some(lines.start), (line.key, line.parsed));
            FilePart {
                text: of(&lines),
                is_first,
                kind: PartKind::Entry { key, parsed, ours: false, comments, indent, flow },
            }
        }
    }
}

/// A comment after the end mark of a document.
fn comment_of_mark<'a>(bytes: &'a [u8], raw: &RawDocument<'a>) -> Option<&'a str> {
    let mark = bytes.get(raw.start..raw.end)?.get(raw.text.len()..)?;
    let mark = mark.strip_prefix(b"...").unwrap_or_default();
    std::str::from_utf8(mark).ok().map(str::trim_start).filter(|mark| mark.starts_with('#'))
}

/// The line end of the first line.
fn line_end(bytes: &[u8]) -> &'static str {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(0);
    if end > 0 && bytes.get(end - 1) == Some(&b'\r') { "\r\n" } else { "\n" }
}

/// The indentation of the keys in the first document.
fn indent(parts: &[FilePart<'_>]) -> usize {
    let indent = |part: &FilePart<'_>| match part.kind {
        PartKind::Entry { indent, flow: None, .. } if part.is_first => Some(indent),
        _ => None,
    };
    parts.iter().find_map(indent).unwrap_or(0)
}

fn end_line(text: &mut Vec<u8>, end: &str) {
    if text.last().is_some_and(|last| *last != b'\n') && text.as_slice() != BYTE_ORDER_MARK {
        text.extend_from_slice(end.as_bytes());
    }
}

struct TidyWriter<'a> {
    contents: &'a FileContents<'a>,
    text: Vec<u8>,
    end: &'static str,
    indent: usize,
    /// Whether entries of flow mappings get lines of their own, because one of them changes.
    convert: bool,
}

impl TidyWriter<'_> {
    fn note(&mut self, part: &FilePart<'_>) {
        if (self.text.is_empty() || self.text == BYTE_ORDER_MARK)
            && let Some((len, _)) = read_header(part.text)
        {
            let header = header(self.contents.bucket, self.contents.revision).replace('\n', self.end);
            self.text.extend_from_slice(header.as_bytes());
            return self.lines(part.text.get(len..).unwrap_or_default(), false);
        }
        self.lines(part.text, !part.is_first);
    }

    /// Appends lines without entries. Of a document that is folded in, `---` and directives are left out.
    fn lines(&mut self, text: &str, folded: bool) {
        for line in text.split_inclusive('\n') {
            let mut line = Cow::Borrowed(line);
            if let Some(rest) = line.strip_prefix("---").filter(|_| folded || self.is_empty_document(&line)) {
                let comment = rest.trim_start();
                if !comment.starts_with('#') {
                    continue;
                }
                line = Cow::Owned(comment.to_owned());
            } else if folded && line.starts_with('%') {
                continue;
            } else if !line.trim_start().starts_with(['#', '%']) && !line.starts_with("---") && !line.trim().is_empty()
            {
                // An empty document, such as `{}`.
                let Some((_, comment)) = line.split_once('#') else { continue };
                line = Cow::Owned(format!("#{comment}"));
            }
            end_line(&mut self.text, self.end);
            self.text.extend_from_slice(line.as_bytes());
        }
    }

    /// Whether this line only says that the first document has no entries, in a file of kvs.
    fn is_empty_document(&self, line: &str) -> bool {
        line.trim_end() == "---" && read_header(std::str::from_utf8(&self.text).unwrap_or_default()).is_some()
    }

    /// Appends the entry at this part. `winner` is the last part of its key; without it, only the comments of a person
    /// are appended.
    fn entry(&mut self, part: &FilePart<'_>, winner: Option<&FilePart<'_>>) {
        let PartKind::Entry { key, comments, flow, .. } = &part.kind else { return };
        let entry = self.contents.entry(key).filter(|_| winner.is_some());
        if let (Some(entry), Some(winner)) = (entry, winner) {
            if flow.is_some() && !self.convert {
                return self.flow(part);
            }
            if is_kept(winner, &entry, self.contents) && !(winner.is_flow() && self.convert) {
                if !winner.is_first && !std::ptr::eq(part, winner) {
                    self.own_lines(comments);
                }
                end_line(&mut self.text, self.end);
                self.text.extend_from_slice(winner.text.as_bytes());
                return;
            }
            return self.canonical(key, &entry, comments);
        }
        // The lines of a mapping with several entries belong to all of them.
        if flow.is_none() || self.convert {
            self.own_lines(comments);
        } else {
            self.flow(part);
        }
    }

    /// Appends the lines of a flow mapping once, for all its entries.
    fn flow(&mut self, part: &FilePart<'_>) {
        if !self.text.ends_with(part.text.as_bytes()) {
            end_line(&mut self.text, self.end);
            self.text.extend_from_slice(part.text.as_bytes());
        }
    }

    /// Appends the comments that had lines of their own.
    fn own_lines(&mut self, comments: &[Comment<'_>]) {
        for comment in comments.iter().filter(|comment| comment.has_own_line) {
            self.comment(comment.text);
        }
    }

    fn comment(&mut self, comment: &str) {
        end_line(&mut self.text, self.end);
        self.text.extend_from_slice(" ".repeat(self.indent).as_bytes());
        self.text.extend_from_slice(comment.as_bytes());
        self.text.extend_from_slice(self.end.as_bytes());
    }

    /// Appends an entry as kvs writes it, with the comments that a person had in it.
    fn canonical(&mut self, key: &Key, entry: &Entry, comments: &[Comment<'_>]) {
        let mut lines = Vec::new();
        entry_at_rest::write(&mut lines, key, entry);
        let is_one = memchr::memchr_iter(b'\n', &lines).count() == 1;
        let inline_comment = match comments {
            [Comment { text, has_own_line: false }] if is_one => Some(*text),
            _ => None,
        };
        if inline_comment.is_none() {
            for comment in comments {
                self.comment(comment.text);
            }
        }
        end_line(&mut self.text, self.end);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if !line.is_empty() {
                self.text.extend_from_slice(" ".repeat(self.indent).as_bytes());
            }
            self.text.extend_from_slice(line);
            if let Some(comment) = inline_comment {
                self.text.extend_from_slice(b" ");
                self.text.extend_from_slice(comment.as_bytes());
            }
            self.text.extend_from_slice(self.end.as_bytes());
        }
    }

    /// Whether the lines of any entry change.
    fn changes_anything(&self, parts: &[FilePart<'_>], seen: &HashMap<Key, (usize, usize)>) -> bool {
        let is_same = |(key, (first, last)): (&Key, &(usize, usize))| {
            let kept = || Some(is_kept(parts.get(*last)?, &self.contents.entry(key)?, self.contents));
            first == last && kept().unwrap_or(false)
        };
        let live = self.contents.entries.iter().filter(|view| view.is_live(self.contents.now)).count();
        live != seen.len() || !seen.iter().all(is_same)
    }
}

/// Whether these lines match the entry and can stay: lines of a person, or of kvs in the first document.
fn is_kept(part: &FilePart<'_>, entry: &Entry, contents: &FileContents<'_>) -> bool {
    let PartKind::Entry { parsed: Some(parsed), ours, .. } = &part.kind else { return false };
    if *ours && !part.is_first {
        return false;
    }
    let is_same_time = match parsed.updated {
        Some(updated) => updated == entry.updated() && parsed.created.unwrap_or(updated) == entry.created,
        None => contents.has_copy && parsed.created.is_none_or(|created| created == entry.created),
    };
    is_same_time
        && parsed.value == entry.value
        && parsed.content_type == entry.content_type
        && parsed.expires == entry.expires
        && parsed.modified == entry.modified
}
