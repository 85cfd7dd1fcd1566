//! Text in brackets: `{value: x, type: y}`, `[1, 2]`, and documents that are JSON.

use std::ops::Range;

use super::lines::{LineRange, Mistakes, indent, once, parse};
use super::meaning;
use super::quoting::{is_blank, quote, reserved, scan};
use crate::yaml::format::handwritten;
use crate::yaml::format::parse_error::ParseError;

/// Scanned brackets, with the mistakes in them by offset.
#[derive(Default)]
pub(crate) struct Flow<'a> {
    text: &'a str,
    at: usize,
    stack: Vec<Frame>,
    pub(crate) errors: Vec<(usize, String)>,
    /// The offset after the bracket that closes the first one.
    pub(crate) end: Option<usize>,
    /// The offset of the innermost open bracket.
    pub(crate) open: usize,
    /// The ranges between the commas of the outermost brackets.
    entries: Vec<Range<usize>>,
    /// The offset after the last token, and whether it was a plain text.
    last: (usize, bool),
    /// The end of the line before, if a plain text continues on this one.
    joint: Option<usize>,
    /// After a mistake a comma or a colon may only seem to be missing.
    forgive: bool,
    /// Whether to trust the indentation: a line that is not indented more than that of an open bracket is after it.
    by_indent: bool,
    is_fresh: bool,
}

struct Frame {
    open: usize,
    brace: bool,
    state: FlowState,
    /// The offset of the entry.
    start: usize,
}

/// The last part of an entry that was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FlowState {
    Start,
    Key,
    Colon,
    Value,
}

/// Scans the brackets that open at `at`.
pub(crate) fn read(text: &str, at: usize) -> Flow<'_> {
    let first = Flow { text, at, ..Flow::default() }.run();
    if first.end.is_some() && first.errors.is_empty() {
        return first;
    }
    let second = Flow { text, at, by_indent: true, ..Flow::default() }.run();
    let is_better = second.end.is_some() && (first.end.is_none() || second.errors.len() <= first.errors.len());
    if is_better && !second.errors.is_empty() { second } else { first }
}

impl Flow<'_> {
    fn run(mut self) -> Self {
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            if self.end.is_some() {
                return self;
            }
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    self.is_fresh = true;
                }
                b'#' if self.text.get(..self.at).is_none_or(|t| t.is_empty() || t.ends_with([' ', '\t', '\n'])) => {
                    self.at = self.line_end(self.at);
                }
                _ => {
                    if self.by_indent && self.is_fresh {
                        self.dedent(matches!(byte, b'}' | b']'));
                    }
                    self.is_fresh = false;
                    self.token(byte);
                }
            }
        }
        if self.end.is_none() {
            self.open = self.stack.last().map_or(0, |frame| frame.open);
        }
        self
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        memchr::memchr(b'\n', rest).map_or(self.text.len(), |n| at + n)
    }

    /// The indentation of the line with this offset.
    fn indent_at(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        indent(self.text.get(start..).unwrap_or_default())
    }

    /// Closes the brackets that are closed by the indentation of a new line.
    fn dedent(&mut self, closes: bool) {
        let own = self.indent_at(self.at);
        while self.stack.len() > 1 {
            let Some(frame) = self.stack.last() else { return };
            let opened = self.indent_at(frame.open);
            let is_same_line = !self.text.get(frame.open..self.at).is_some_and(|text| text.contains('\n'));
            if is_same_line || own > opened || closes && own == opened {
                return;
            }
            self.not_closed(frame.open);
            self.stack.pop();
            self.forgive = true;
        }
    }

    fn not_closed(&mut self, open: usize) {
        let c = if self.text.as_bytes().get(open) == Some(&b'[') { ('[', ']') } else { ('{', '}') };
        self.errors.push((open, format!("opens `{}`, which is not closed; close it with `{}`", c.0, c.1)));
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                self.content();
                self.stack.push(Frame {
                    open: self.at,
                    brace: byte == b'{',
                    state: FlowState::Start,
                    start: self.at + 1,
                });
                self.at += 1;
            }
            b'}' | b']' => self.close(byte == b'}'),
            b',' => self.comma(),
            b':' if self.is_colon() => self.colon(),
            b'"' | b'\'' => self.quoted(),
            b'/' if self.is_comment() => {
                let text = "has a comment that YAML does not allow; begin a comment with `#`, on a line of its own";
                self.errors.push((self.at, text.into()));
                let block = self.text.get(self.at..).filter(|rest| rest.starts_with("/*"));
                let end = block.and_then(|rest| rest.find("*/")).map(|n| self.at + n + 2);
                self.at = end.unwrap_or_else(|| self.line_end(self.at));
            }
            _ => self.plain(),
        }
    }

    fn is_comment(&self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_free = self.stack.last().is_some_and(|frame| frame.state != FlowState::Colon);
        is_free && (rest.starts_with("//") || rest.starts_with("/*")) && self.last.0 < self.at
    }

    fn is_colon(&self) -> bool {
        let next = self.text.as_bytes().get(self.at + 1);
        let adjacent = self.last.0 == self.at && !self.last.1;
        adjacent || next.is_none_or(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'{' | b'}' | b'[' | b']'))
    }

    /// A token begins that is not a comma, colon or closing bracket.
    fn content(&mut self) {
        let (at, forgive) = (self.at, self.forgive);
        let Some(frame) = self.stack.last_mut() else { return };
        match frame.state {
            FlowState::Start => (frame.state, frame.start) = (FlowState::Key, at),
            FlowState::Colon => frame.state = FlowState::Value,
            FlowState::Key | FlowState::Value => {
                let is_key = frame.brace && frame.state == FlowState::Key;
                (frame.state, frame.start) = (FlowState::Key, at);
                self.forgive = false;
                if !forgive {
                    let what = if is_key { "a colon" } else { "a comma" };
                    let write = if is_key { "write `name: value`" } else { "write a comma between the two" };
                    self.errors.push((self.last.0.saturating_sub(1), format!("lacks {what}; {write}")));
                }
            }
        }
    }

    fn comma(&mut self) {
        let at = self.at;
        let depth = self.stack.len();
        if let Some(frame) = self.stack.last_mut() {
            if frame.state == FlowState::Start && !self.forgive {
                self.errors.push((at, "has a comma too many; remove it".into()));
            } else if depth == 1 {
                self.entries.push(frame.start..at);
            }
            (frame.state, frame.start) = (FlowState::Start, at + 1);
        }
        self.forgive = false;
        self.joint = None;
        self.at += 1;
        self.last = (self.at, false);
    }

    fn colon(&mut self) {
        let (at, forgive, joint) = (self.at, self.forgive, self.joint.take());
        let Some(frame) = self.stack.last_mut() else { return };
        let state = std::mem::replace(&mut frame.state, FlowState::Colon);
        let before = self.text.get(..at).unwrap_or_default().trim_end();
        if matches!(state, FlowState::Value | FlowState::Colon) && !forgive {
            let word = before.rfind([' ', '\t', '\n']).map_or(0, |n| n + 1);
            let opened =
                self.text.get(frame.start..word).is_some_and(|text| text.contains(": ") || text.contains(":\t"));
            let text = match (joint, opened && !before.get(..word).is_some_and(|text| text.trim_end().ends_with(':'))) {
                (Some(_), _) => "lacks a comma at its end; write one",
                (None, true) => "lacks a comma before the next field; write one, or put the text in quotes",
                (None, false) => "has a second colon with a space in a field; put the value in quotes",
            };
            self.errors.push((joint.unwrap_or(at), text.into()));
        }
        self.at += 1;
        self.last = (self.at, false);
    }

    fn close(&mut self, brace: bool) {
        let at = self.at;
        self.joint = None;
        let fits = |frame: &Frame| frame.brace == brace;
        if self.stack.last().is_some_and(|frame| !fits(frame)) {
            let c = if brace { '}' } else { ']' };
            let below = self.stack.len().checked_sub(2).and_then(|n| self.stack.get(n)).is_some_and(fits);
            if let Some(open) = self.stack.last().map(|frame| frame.open).filter(|_| below) {
                self.not_closed(open);
                self.stack.pop();
            } else {
                let other = if brace { ']' } else { '}' };
                self.errors.push((at, format!("has a `{c}` that does not fit the bracket before it; write `{other}`")));
            }
        }
        let is_last = self.stack.len() == 1;
        if let Some(frame) = self.stack.pop().filter(|_| is_last) {
            if frame.state != FlowState::Start {
                self.entries.push(frame.start..at);
            }
            self.end = Some(at + 1);
        }
        self.forgive = false;
        self.at += 1;
        self.last = (self.at, false);
    }

    fn quoted(&mut self) {
        let open = self.at;
        self.joint = None;
        self.content();
        let quoted = scan(self.text, open);
        if let Some(at) = quoted.bad_escape {
            let text = "has a backslash within double quotes that is not an escape; use single quotes, or double the \
                        backslash";
            self.errors.push((at, text.into()));
        }
        let line_end = self.line_end(open);
        let end = quoted.end.filter(|end| {
            let rest = self.text.get(*end..).unwrap_or_default();
            let next = rest.trim_start_matches([' ', '\t', '\r']);
            let fits = next.is_empty() || next.starts_with(['\n', ',', ':', ']', '}', '#']);
            fits || *end <= line_end && next.len() < rest.len()
        });
        if let Some(end) = end {
            self.at = end;
        } else {
            let is_closed = quoted.end.is_some_and(|end| end <= line_end);
            let text = if is_closed {
                "has text after a closing quote; put all of it within the quotes, and `\\` before a quote within"
            } else {
                "has a quote that is not closed; close it at the end of the text"
            };
            self.errors.push((open, text.into()));
            // Continues at the end of the line.
            let line = self.text.get(open + 1..line_end).unwrap_or_default();
            self.at = open + 1 + line.trim_end_matches([',', '}', ']', ' ', '\t', '\r']).len();
            self.forgive = true;
        }
        self.last = (self.at, false);
    }

    fn plain(&mut self) {
        let start = self.at;
        let goes_on =
            self.last.1 && self.stack.last().is_some_and(|f| matches!(f.state, FlowState::Key | FlowState::Value));
        if goes_on {
            self.joint = Some(self.last.0.saturating_sub(1));
        } else {
            self.joint = None;
            self.content();
        }
        let bytes = self.text.as_bytes();
        let get = |at: usize| bytes.get(at).copied().unwrap_or(b'\n');
        let mut at = start;
        loop {
            let (byte, next) = (get(at), get(at + 1));
            let is_end = matches!(byte, b'\n' | b',' | b'{' | b'}' | b'[' | b']')
                || byte == b':' && matches!(next, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'{' | b'}' | b'[' | b']')
                || byte == b' ' && next == b'#';
            if is_end {
                break;
            }
            at += 1;
        }
        let word = self.text.get(start..at).unwrap_or_default().trim_end();
        if let Some(what) = reserved(word).filter(|_| !goes_on) {
            self.errors.push((start, format!("{what}; put it in quotes")));
        }
        self.last = (start + word.len(), true);
        self.at = at.max(start + 1);
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }
}

/// Reports the mistakes of a document that is one mapping in braces, such as JSON.
pub(crate) fn document(part: LineRange<'_>, found: &mut Mistakes) {
    let text = part.text();
    let starts: Vec<usize> =
        std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|n| n + 1)).collect();
    let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1).min(part.lines.len() - 1);
    let open = text.find('{').unwrap_or(0);
    let flow = read(&text, open);
    for (at, what) in &flow.errors {
        let line = line_of(*at);
        found.add(part.number(line), format!("{} {what}", quote(part.line(line))));
    }
    match flow.end {
        None if flow.errors.is_empty() => {
            let last = part.lines.iter().rposition(|line| !is_blank(line)).unwrap_or(0);
            let bracket = text.get(flow.open..=flow.open).unwrap_or("{");
            let close = if bracket == "[" { ']' } else { '}' };
            let what =
                format!("is the end, but the `{bracket}` of line {} is not closed", part.number(line_of(flow.open)));
            found.add(part.number(last), format!("{} {what}; add `{close}`", quote(part.line(last))));
        }
        None => {}
        Some(end) => after_document(part, line_of(end.saturating_sub(1)), text.get(end..).unwrap_or_default(), found),
    }
    for entry in flow.entries {
        let (from, to) = (line_of(entry.start), line_of(entry.end));
        let is_reported = found.errors.range(part.number(from)..=part.number(to)).next().is_some();
        if !is_reported && !found.is_full() {
            alone(part, &text, entry, from, found);
        }
    }
}

/// Reports text after the brace that closes the document.
fn after_document(part: LineRange<'_>, line: usize, rest: &str, found: &mut Mistakes) {
    let Some(n) = rest.split('\n').position(|line| !is_blank(line)) else { return };
    let next = rest.trim_start().chars().next().unwrap_or_default();
    let (at, what) = match next {
        '}' | ']' => (line + n, format!("has a `{next}` too many; remove it")),
        ',' => (line, "has a `}` too many: it closes the whole document; remove it".into()),
        _ => (line + n, "is after the brace that closes the whole document; write it within the braces".into()),
    };
    let at = at.min(part.lines.len() - 1);
    found.add(part.number(at), format!("{} {what}", quote(part.line(at))));
}

/// Tries one entry of the document alone.
fn alone(part: LineRange<'_>, text: &str, entry: Range<usize>, line: usize, found: &mut Mistakes) {
    let text = text.get(entry).unwrap_or_default();
    let skipped = text.len() - text.trim_start().len();
    let line = line + text.get(..skipped).unwrap_or_default().matches('\n').count();
    let chunk = part.slice(line, part.lines.len());
    let text = format!("{{{}\n}}\n", text.trim_start());
    if let Err((at, what)) = parse(&text) {
        let error = ParseError::invalid_yaml(chunk.within(chunk.first + at), what);
        return found.add(error.line, meaning::explain(chunk, &error));
    }
    match handwritten::read(&text, chunk.first) {
        Ok(lines) => lines.into_iter().for_each(|(line, _)| once(line.key, chunk, found)),
        Err(error) => {
            let error = ParseError { line: chunk.within(error.line), ..error };
            found.add(error.line, meaning::explain(chunk, &error));
        }
    }
}
