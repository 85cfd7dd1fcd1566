//! The events of the YAML parser, each with its bytes in the text; and the comments between them.
//!
//! The parser reports where a thing begins, in characters. It does not report where quoted texts and blocks end, nor
//! where comments are, so this module reads that from the text. Between two events there are only white space, comments
//! and indicators such as `:`.

use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::input::TabTolerantInput;
use crate::yaml::format::parse_error::ParseError;

/// The deepest nesting of lists and mappings.
pub(crate) const MAX_DEPTH: usize = 100;

/// The events of a text.
pub(crate) struct Events<'a> {
    parser: Parser<'a, TabTolerantInput<'a>>,
    text: &'a str,
    first_line: u64,
    /// The offset after the last event.
    end: usize,
    comments: Vec<Range<usize>>,
    /// For each open list and mapping: the line of its bracket, if it has one.
    open: Vec<Option<u64>>,
    /// A position of the parser, in characters, and its offset in bytes.
    position: (usize, usize),
}

/// An event, its line, and its bytes. The range is empty if the text has no sign of it.
pub(crate) struct FoundEvent<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) line: u64,
    pub(crate) source: Range<usize>,
}

impl<'a> Events<'a> {
    pub(crate) fn new(text: &'a str, first_line: u64) -> Self {
        // A last line of spaces has no content. The parser would add a line feed to a block before it.
        let trimmed = text.trim_end_matches(' ');
        let text = if trimmed.ends_with(['\n', '\r']) { trimmed } else { text };
        let parser = Parser::new(TabTolerantInput::new(text));
        Self { parser, text, first_line, end: 0, comments: Vec::new(), open: Vec::new(), position: (0, 0) }
    }

    pub(crate) fn next(&mut self) -> Result<FoundEvent<'a>, ParseError> {
        let (event, span) = match self.parser.next_event() {
            Some(Ok(found)) => found,
            // The parser has a limit of its own, which it meets before it has reported the levels above.
            Some(Err(error)) if error.info() == "recursion limit exceeded" => {
                return Err(too_deep(self.line(error.marker())));
            }
            Some(Err(error)) => {
                // An unclosed bracket is usually found at the end of the text.
                let bracket = self.open.last().copied().flatten().filter(|_| error.info().contains("parsing a flow"));
                let line = bracket.unwrap_or_else(|| self.line(error.marker()));
                return Err(ParseError::invalid_yaml(line, error.info()));
            }
            None => return Err(ParseError::invalid_yaml(self.first_line, "it ends too early")),
        };
        let line = self.line(&span.start);
        let source = self.source(&event, span);
        Ok(FoundEvent { event, line, source })
    }

    /// The offset after the last event.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// The comments up to there, in order.
    pub(crate) fn comments(&self) -> &[Range<usize>] {
        &self.comments
    }

    pub(crate) fn slice(&self, at: &Range<usize>) -> &'a str {
        self.text.get(at.clone()).unwrap_or_default()
    }

    /// The whole lines of these bytes.
    pub(crate) fn lines(&self, bytes: &Range<usize>) -> Range<usize> {
        let before = self.slice(&(0..bytes.start));
        let mark = if before.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let start = before.rfind(['\n', '\r']).map_or(mark, |at| at + 1);
        start..self.after_line(bytes.end)
    }

    /// The offset of the indicator `?` of an explicit key, if there is one in this range.
    pub(crate) fn explicit(&self, between: Range<usize>) -> Option<usize> {
        let mut at = between.start;
        let from = self.comments.partition_point(|comment| comment.start < at);
        for comment in self.comments.get(from..).unwrap_or_default() {
            if let Some(found) = self.slice(&(at..comment.start)).find('?') {
                return Some(at + found);
            }
            at = comment.end;
        }
        self.slice(&(at..between.end)).find('?').map(|found| at + found)
    }

    fn line(&self, marker: &Marker) -> u64 {
        self.first_line + (marker.line() as u64).saturating_sub(1)
    }

    fn source(&mut self, event: &Event<'a>, span: Span) -> Range<usize> {
        let start = self.offset(span.start.index());
        let own = self.text.get(start..).and_then(|rest| rest.bytes().next()).filter(|_| !span.is_empty());
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
                self.indicators();
                self.end..self.end
            }
            Event::Scalar(_, ScalarStyle::Plain, ..) => {
                let end = self.offset(span.end.index());
                self.found(start..end)
            }
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) => {
                self.found(start..self.closing_quote(start))
            }
            Event::Scalar(text, ..) => self.block(text, span.start.col()),
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let line = self.line(&span.start);
                self.open.push(own.filter(|sign| matches!(sign, b'{' | b'[')).map(|_| line));
                if self.open.last().is_some_and(Option::is_some) {
                    self.found(start..start + 1)
                } else {
                    self.end..self.end
                }
            }
            Event::MappingEnd | Event::SequenceEnd if self.open.pop().flatten().is_some() => {
                // The parser reports it at the comma before it.
                let at = self.past(self.end, &[' ', '\t', '\n', '\r', ',']);
                self.found(at..at + 1)
            }
            Event::DocumentStart(true) => {
                // Directives and comments before it belong to no entry.
                self.end = self.offset(span.end.index());
                start..self.end
            }
            Event::StreamEnd => self.found(self.text.len()..self.text.len()),
            _ => self.end..self.end,
        }
    }

    /// Moves past these bytes, and collects the comments before them.
    fn found(&mut self, source: Range<usize>) -> Range<usize> {
        let source = source.start.max(self.end)..source.end.max(self.end);
        let mut at = self.end;
        while let Some(sign) = self.slice(&(at..source.start)).find('#') {
            let comment = at + sign..self.end_of_line(at + sign);
            at = comment.end;
            self.comments.push(comment);
        }
        self.end = source.end;
        source
    }

    /// Moves past the indicators before an empty value: the colon after its key, or the dash before an item.
    fn indicators(&mut self) {
        loop {
            let at = self.past(self.end, &[' ', '\t', '\n', '\r']);
            let mut signs = self.text.get(at..).unwrap_or_default().chars();
            let is_sign = matches!(signs.next(), Some(':' | '-'));
            if !is_sign || !signs.next().is_none_or(|next| " \t\n\r,]}".contains(next)) {
                return;
            }
            self.found(at..at + 1);
        }
    }

    /// The offset of the first character from there on that is neither one of these nor in a comment.
    fn past(&self, from: usize, these: &[char]) -> usize {
        let mut at = from;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            at = self.text.len() - rest.trim_start_matches(these).len();
            if !self.text.get(at..).is_some_and(|rest| rest.starts_with('#')) {
                return at;
            }
            at = self.end_of_line(at);
        }
    }

    /// The offset after the closing quote of the text that begins there.
    fn closing_quote(&self, start: usize) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let quote = rest.first().copied().unwrap_or_default();
        let mut bytes = rest.iter().copied().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            if byte == b'\\' && quote == b'"' {
                bytes.next();
            } else if byte == quote {
                if quote == b'\'' && rest.get(at + 1) == Some(&quote) {
                    bytes.next();
                } else {
                    return start + at + 1;
                }
            }
        }
        self.text.len()
    }

    /// Moves past a literal or folded block. `indent` is that of its content, if it has any.
    ///
    /// Empty lines at its end belong to it only if it keeps them (`+`).
    fn block(&mut self, content: &str, indent: usize) -> Range<usize> {
        let mut start = self.end;
        while let Some(at) = self.text.get(start..).and_then(|rest| rest.find(['|', '>', '#'])) {
            start += at;
            if !self.text.get(start..).is_some_and(|rest| rest.starts_with('#')) {
                break;
            }
            start = self.end_of_line(start);
        }
        let rest = self.text.get(start..).unwrap_or_default();
        let header = rest.split([' ', '\t', '\n', '\r']).next().unwrap_or_default();
        let keeps = header.contains('+');
        let indent = if content.trim_matches('\n').is_empty() { usize::MAX } else { indent };
        self.found(start..start + header.len());
        let header_end = self.end_of_line(self.end);
        let mut end = self.end;
        let mut line = self.after_line(header_end);
        while line < self.text.len() {
            let line_end = self.end_of_line(line);
            let text = self.slice(&(line..line_end));
            let spaces = text.len() - text.trim_start_matches(' ').len();
            if spaces == text.len() && spaces <= indent {
                if keeps {
                    end = line_end;
                }
            } else if spaces >= indent {
                end = line_end;
            } else {
                break;
            }
            line = self.after_line(line_end);
        }
        if end > self.end {
            // There may be a comment after the header.
            self.found(header_end..end);
        }
        start..end
    }

    /// The byte offset of a position that the parser counts in characters. Positions mostly come in order.
    fn offset(&mut self, index: usize) -> usize {
        let (known, offset) = if index < self.position.0 { (0, 0) } else { self.position };
        let rest = self.text.get(offset..).unwrap_or_default();
        let found = rest.char_indices().nth(index - known).map_or(self.text.len(), |(at, _)| offset + at);
        self.position = (index, found);
        found
    }

    /// The end of the line with this offset, before its line end.
    fn end_of_line(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find(['\n', '\r']).map_or(self.text.len(), |n| at + n)
    }

    /// The start of the line after the one with this offset.
    fn after_line(&self, at: usize) -> usize {
        let end = self.end_of_line(at);
        let rest = self.text.get(end..).unwrap_or_default();
        end + if rest.starts_with("\r\n") { 2 } else { usize::from(!rest.is_empty()) }
    }
}

pub(crate) fn too_deep(line: u64) -> ParseError {
    let text = format!("lists and mappings are nested more than {MAX_DEPTH} deep; write the value as a text in quotes");
    ParseError::new(line, text)
}
