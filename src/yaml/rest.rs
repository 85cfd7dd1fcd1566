//! The form of a file at rest: one document that a person would write, made of the lines that are there.
//!
//! What a person wrote stays as it is: comments, empty lines, order, spelling. Only the lines of entries that kvs changed are
//! written anew, new keys come at the end, and of an entry that is gone its own lines go. The documents that were appended
//! are folded in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::document::{header, read_header};
use super::hand::{Fault, Placed};
use super::line::{self, Given};
use super::reader::{Item, items};
use super::stream::{BYTE_ORDER_MARK, Piece, cut, is_idle};
use crate::model::{Bucket, Entry, Key, Revision, Time};

/// What a file is to say.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) entries: &'a BTreeMap<Key, Entry>,
    pub(super) revision: Revision,
    /// What has expired by then is left out.
    pub(super) now: Time,
    /// Whether there is a copy, which knows the revisions that the lines of a person do not tell.
    pub(super) has_copy: bool,
}

impl Said<'_> {
    fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.is_live(self.now))
    }
}

/// The text of a file that nobody has edited: the header, and the entries in the order of their keys.
pub(super) fn fresh(said: &Said<'_>) -> Vec<u8> {
    let mut text = header(said.bucket, said.revision).into_bytes();
    for (key, entry) in said.entries.iter().filter(|(_, entry)| entry.is_live(said.now)) {
        line::write_at_rest(&mut text, key, entry);
    }
    text
}

/// The text of a file at rest, from the text that is there.
///
/// # Errors
/// If the text cannot be read.
pub(super) fn tidied(bytes: &[u8], said: &Said<'_>) -> Result<Vec<u8>, Fault> {
    let (parts, seen) = parts(bytes)?;
    let mut out = Out { said, text: Vec::new(), end: line_end(bytes), indent: indent(&parts), convert: false };
    out.convert = parts.iter().any(Part::is_flow) && out.changes_anything(&parts, &seen);
    if bytes.starts_with(BYTE_ORDER_MARK) {
        out.text.extend_from_slice(BYTE_ORDER_MARK);
    }
    for (n, part) in parts.iter().enumerate() {
        match &part.what {
            What::Note => out.note(part),
            What::Entry { key, .. } => {
                let Some(&(first, last)) = seen.get(key) else { continue };
                let winner = parts.get(last).filter(|_| first == n);
                out.entry(part, winner);
            }
        }
    }
    let missing = said.entries.iter().filter(|(key, entry)| !seen.contains_key(*key) && entry.is_live(said.now));
    for (key, entry) in missing {
        out.canonical(key, entry, &[]);
    }
    Ok(out.text)
}

/// The same, with its entries in the order of their keys. The comments above an entry move with it; what is separated by an
/// empty line from the first entry stays at the top.
///
/// # Errors
/// If the text cannot be read.
pub(super) fn sorted(bytes: &[u8], said: &Said<'_>) -> Result<Vec<u8>, Fault> {
    let tidied = tidied(bytes, said)?;
    let (parts, _) = parts(&tidied)?;
    if parts.iter().any(Part::is_flow) {
        return Ok(tidied);
    }
    let (mut top, mut above) = ("", "");
    let mut groups: BTreeMap<&Key, [&str; 2]> = BTreeMap::new();
    for part in &parts {
        match &part.what {
            What::Note if groups.is_empty() => (top, above) = part.text.split_at(top_len(part.text)),
            What::Note => above = part.text,
            What::Entry { key, .. } => drop(groups.insert(key, [std::mem::take(&mut above), part.text])),
        }
    }
    let mut out = if tidied.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
    for text in std::iter::once(top).chain(groups.into_values().flatten()).chain([above]) {
        end_line(&mut out, line_end(bytes));
        out.extend_from_slice(text.as_bytes());
    }
    Ok(out)
}

/// How much of what comes before the first entry is about the file as a whole: all up to the last empty line, and at least
/// the header and the line `---`.
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

/// What is put between the text of a document without a mark and the document that is appended to it. A text without
/// entries is no document to YAML, so it gets a beginning as well.
pub(super) fn mark(text: &[u8]) -> &'static [u8] {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let is_bare = text.split(|byte| *byte == b'\n').all(is_idle);
    match (is_bare, text.last().is_none_or(|last| *last == b'\n')) {
        (true, true) => b"---\n...\n",
        (true, false) => b"\n---\n...\n",
        (false, true) => b"...\n",
        (false, false) => b"\n...\n",
    }
}

/// A part of the documents of a file.
struct Part<'a> {
    text: &'a str,
    /// Whether it is of the first document, which keeps its place and its directives.
    is_first: bool,
    what: What<'a>,
}

enum What<'a> {
    Note,
    Entry {
        key: Key,
        given: Option<Given>,
        /// Whether kvs wrote it.
        ours: bool,
        /// The comments within its lines; whether each has a line of its own.
        comments: Vec<(&'a str, bool)>,
        indent: usize,
        /// Where a flow mapping with several entries begins in its document, if it is in one.
        flow: Option<usize>,
    },
}

impl Part<'_> {
    fn is_flow(&self) -> bool {
        matches!(self.what, What::Entry { flow: Some(_), .. })
    }
}

/// The parts of all documents, and of each key the first and the last part that is about it.
type Parts<'a> = (Vec<Part<'a>>, HashMap<Key, (usize, usize)>);

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Fault> {
    let cut = cut(bytes, true);
    let (mut parts, mut seen) = (Vec::new(), HashMap::<Key, (usize, usize)>::new());
    for (n, piece) in cut.pieces.iter().enumerate() {
        let (text, items) = items(piece)?;
        for item in items {
            let part = part(text, item, n == 0);
            if let What::Entry { key, .. } = &part.what {
                let at = parts.len();
                seen.entry(key.clone()).and_modify(|(_, last)| *last = at).or_insert((at, at));
            }
            parts.push(part);
        }
        if let Some(text) = comment_of_mark(bytes, piece) {
            parts.push(Part { text, is_first: false, what: What::Note });
        }
    }
    Ok((parts, seen))
}

fn part(text: &str, item: Item, is_first: bool) -> Part<'_> {
    let of = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    match item {
        Item::Note(range) => Part { text: of(&range), is_first, what: What::Note },
        Item::Ours(line, range) => {
            let (key, given) = (line.key, line.given);
            let what = What::Entry { key, given, ours: true, comments: Vec::new(), indent: 0, flow: None };
            Part { text: of(&range), is_first, what }
        }
        Item::ByHand(Placed { line, lines, comments, indent, block }) => {
            let has_own_line = |range: &Range<usize>| {
                let before = text.get(lines.start..range.start).unwrap_or_default();
                before.rsplit('\n').next().is_none_or(|before| before.trim().is_empty())
            };
            let comments = comments.iter().map(|range| (of(range).trim_end(), has_own_line(range))).collect();
            let (flow, (key, given)) = ((!block).then_some(lines.start), (line.key, line.given));
            Part { text: of(&lines), is_first, what: What::Entry { key, given, ours: false, comments, indent, flow } }
        }
    }
}

/// A comment that a person wrote behind the mark of a document.
fn comment_of_mark<'a>(bytes: &'a [u8], piece: &Piece<'a>) -> Option<&'a str> {
    let mark = bytes.get(piece.start..piece.end)?.get(piece.text.len()..)?;
    let mark = mark.strip_prefix(b"...").unwrap_or_default();
    std::str::from_utf8(mark).ok().map(str::trim_start).filter(|mark| mark.starts_with('#'))
}

/// How the lines of a file end: as its first one does.
fn line_end(bytes: &[u8]) -> &'static str {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(0);
    if end > 0 && bytes.get(end - 1) == Some(&b'\r') { "\r\n" } else { "\n" }
}

/// How the keys of the first document are indented.
fn indent(parts: &[Part<'_>]) -> usize {
    let indent = |part: &Part<'_>| match part.what {
        What::Entry { indent, flow: None, .. } if part.is_first => Some(indent),
        _ => None,
    };
    parts.iter().find_map(indent).unwrap_or(0)
}

fn end_line(text: &mut Vec<u8>, end: &str) {
    if text.last().is_some_and(|last| *last != b'\n') && text.as_slice() != BYTE_ORDER_MARK {
        text.extend_from_slice(end.as_bytes());
    }
}

/// The text that is being made.
struct Out<'a> {
    said: &'a Said<'a>,
    text: Vec<u8>,
    end: &'static str,
    indent: usize,
    /// Whether entries of flow mappings get lines of their own, since one of them changes.
    convert: bool,
}

impl Out<'_> {
    fn note(&mut self, part: &Part<'_>) {
        if (self.text.is_empty() || self.text == BYTE_ORDER_MARK)
            && let Some((len, _)) = read_header(part.text)
        {
            let header = header(self.said.bucket, self.said.revision).replace('\n', self.end);
            self.text.extend_from_slice(header.as_bytes());
            return self.lines(part.text.get(len..).unwrap_or_default(), false);
        }
        self.lines(part.text, !part.is_first);
    }

    /// Appends lines that say nothing; of a document that is folded in, its beginning is left out.
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
                // A document that says that it is empty, as `{}`.
                let Some((_, comment)) = line.split_once('#') else { continue };
                line = Cow::Owned(format!("#{comment}"));
            }
            end_line(&mut self.text, self.end);
            self.text.extend_from_slice(line.as_bytes());
        }
    }

    /// Whether this line alone says that the first document has no entries, in a file that kvs made.
    fn is_empty_document(&self, line: &str) -> bool {
        line.trim_end() == "---" && read_header(std::str::from_utf8(&self.text).unwrap_or_default()).is_some()
    }

    /// Appends the entry that has its place here, as `winner` says it; without one only what a person noted in it.
    fn entry(&mut self, place: &Part<'_>, winner: Option<&Part<'_>>) {
        let What::Entry { key, comments, flow, .. } = &place.what else { return };
        let entry = self.said.entry(key).filter(|_| winner.is_some());
        if let (Some(entry), Some(winner)) = (entry, winner) {
            if flow.is_some() && !self.convert {
                return self.flow(place);
            }
            if is_kept(winner, entry, self.said) && !(winner.is_flow() && self.convert) {
                if !winner.is_first && !std::ptr::eq(place, winner) {
                    self.own_lines(comments);
                }
                end_line(&mut self.text, self.end);
                self.text.extend_from_slice(winner.text.as_bytes());
                return;
            }
            return self.canonical(key, entry, comments);
        }
        // The lines of a mapping with several entries are those of all of them.
        if flow.is_none() || self.convert {
            self.own_lines(comments);
        } else {
            self.flow(place);
        }
    }

    /// Appends the lines of a flow mapping once, for all its entries.
    fn flow(&mut self, place: &Part<'_>) {
        if !self.text.ends_with(place.text.as_bytes()) {
            end_line(&mut self.text, self.end);
            self.text.extend_from_slice(place.text.as_bytes());
        }
    }

    /// Appends comments that had lines of their own.
    fn own_lines(&mut self, comments: &[(&str, bool)]) {
        for (comment, _) in comments.iter().filter(|(_, own_line)| *own_line) {
            self.comment(comment);
        }
    }

    fn comment(&mut self, comment: &str) {
        end_line(&mut self.text, self.end);
        self.text.extend_from_slice(" ".repeat(self.indent).as_bytes());
        self.text.extend_from_slice(comment.as_bytes());
        self.text.extend_from_slice(self.end.as_bytes());
    }

    /// Appends an entry as kvs writes it, with the comments that a person had in it.
    fn canonical(&mut self, key: &Key, entry: &Entry, comments: &[(&str, bool)]) {
        let mut lines = Vec::new();
        line::write_at_rest(&mut lines, key, entry);
        let is_one = memchr::memchr_iter(b'\n', &lines).count() == 1;
        let behind = if let [(comment, false)] = comments { Some(*comment).filter(|_| is_one) } else { None };
        if behind.is_none() {
            for (comment, _) in comments {
                self.comment(comment);
            }
        }
        end_line(&mut self.text, self.end);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if !line.is_empty() {
                self.text.extend_from_slice(" ".repeat(self.indent).as_bytes());
            }
            self.text.extend_from_slice(line);
            if let Some(comment) = behind {
                self.text.extend_from_slice(b" ");
                self.text.extend_from_slice(comment.as_bytes());
            }
            self.text.extend_from_slice(self.end.as_bytes());
        }
    }

    /// Whether any entry gets other lines than it has.
    fn changes_anything(&self, parts: &[Part<'_>], seen: &HashMap<Key, (usize, usize)>) -> bool {
        let is_same = |(key, (first, last)): (&Key, &(usize, usize))| {
            let kept = || Some(is_kept(parts.get(*last)?, self.said.entry(key)?, self.said));
            first == last && kept().unwrap_or(false)
        };
        let live = self.said.entries.values().filter(|entry| entry.is_live(self.said.now)).count();
        live != seen.len() || !seen.iter().all(is_same)
    }
}

/// Whether these lines say what the entry is, and so can stay: a person's, or those of kvs at their place.
fn is_kept(part: &Part<'_>, entry: &Entry, said: &Said<'_>) -> bool {
    let What::Entry { given: Some(given), ours, .. } = &part.what else { return false };
    if *ours && !part.is_first {
        return false;
    }
    let is_same_time = match given.updated {
        Some(updated) => updated == entry.updated() && given.created.unwrap_or(updated) == entry.created,
        None => said.has_copy && given.created.is_none_or(|created| created == entry.created),
    };
    is_same_time
        && given.value == entry.value
        && given.content_type == entry.content_type
        && given.expires == entry.expires
        && given.modified == entry.modified
}
