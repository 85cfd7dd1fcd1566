//! The careful reader, for what a person wrote: any YAML mapping of keys to texts, entries, lists or mappings, with the
//! position of each entry.
//!
//! Scalars keep their spelling, so `1.0`, `yes` and `2026-11-20` are texts. Lists and mappings are stored as JSON.
//! Anchors, aliases, merge keys, tags and duplicate keys are refused, because other readers would read them
//! differently.

pub(super) mod events;
pub(super) mod fields;
pub(super) mod input;
pub(super) mod json;
pub(super) mod node;
pub(super) mod timestamp;

use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, ScalarStyle};

use self::events::{Events, FoundEvent};
use super::parse_error::{ParseError, ParseErrorKind};
use super::parsed::ParsedLine;
use crate::model::Key;

/// An entry with its position in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) line: ParsedLine,
    /// The bytes of its lines, with their line ends: from the line of its key to the last line of its value.
    pub(crate) lines: Range<usize>,
    /// The comments within these lines (from `#` to before the line end), in order: after a value, after a block header
    /// `|`, or on lines of their own inside a block mapping. In a flow mapping a comment belongs to the entry before
    /// it.
    pub(crate) comments: Vec<Range<usize>>,
    /// The number of spaces before its key.
    pub(crate) indent: usize,
    /// Whether the key is in a block mapping. If not, the document is one flow mapping `{a: 1, b: 2}`, and all entries
    /// have the same `lines`.
    pub(crate) block: bool,
}

/// Reads a document, or a part of one that can be read alone. `first_line` is the number of its first line.
pub(crate) fn read(text: &str, first_line: u64) -> Result<Vec<(ParsedLine, u64)>, ParseError> {
    let entries = HandwrittenReader { events: Events::new(text, first_line) }.read()?;
    Ok(entries.into_iter().map(|entry| (entry.placed.line, entry.number)).collect())
}

/// Like [`read`], with the position of each entry in the text.
///
/// Comments and empty lines before, between and after the entries belong to none of them. A byte order mark belongs to
/// no line.
pub(crate) fn layout(text: &str, first_line: u64) -> Result<Vec<Placed>, ParseError> {
    let mut document = HandwrittenReader { events: Events::new(text, first_line) };
    let entries = document.read()?;
    let mut comments = document.events.comments().iter().peekable();
    let mut placed: Vec<Placed> = Vec::with_capacity(entries.len());
    let mut nexts = entries.iter().skip(1).map(|next| next.start).collect::<Vec<_>>().into_iter();
    for NumberedLine { placed: mut entry, .. } in entries {
        let next = nexts.next().unwrap_or(usize::MAX);
        let end = if entry.block { entry.lines.end } else { entry.lines.end.min(next) };
        while let Some(comment) = comments.next_if(|comment| comment.start < end) {
            if comment.start >= entry.lines.start {
                entry.comments.push(comment.clone());
            }
        }
        placed.push(entry);
    }
    Ok(placed)
}

/// An entry that was read, with its position.
struct NumberedLine {
    placed: Placed,
    /// The number of its first line.
    number: u64,
    /// The offset of its key.
    start: usize,
}

struct HandwrittenReader<'a> {
    events: Events<'a>,
}

impl HandwrittenReader<'_> {
    fn read(&mut self) -> Result<Vec<NumberedLine>, ParseError> {
        loop {
            let FoundEvent { event, line, source } = node::next(&mut self.events)?;
            let entries = match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
                Event::DocumentEnd | Event::StreamEnd => return Ok(Vec::new()),
                Event::MappingStart(..) => self.entries(source)?,
                Event::Scalar(text, ScalarStyle::Plain, ..) if node::is_nothing(&text) => Vec::new(),
                _ => return Err(expected_entries(line)),
            };
            return self.ended().map(|()| entries);
        }
    }

    /// Reads to the end, so that an error after the mapping is found.
    fn ended(&mut self) -> Result<(), ParseError> {
        loop {
            match node::next(&mut self.events)? {
                FoundEvent { event: Event::StreamEnd, .. } => return Ok(()),
                FoundEvent { event: Event::DocumentEnd | Event::Nothing, .. } => {}
                found => return Err(expected_entries(found.line)),
            }
        }
    }

    /// Reads the entries of the mapping that begins with these bytes. They are empty for a block mapping.
    fn entries(&mut self, opening: Range<usize>) -> Result<Vec<NumberedLine>, ParseError> {
        let block = opening.is_empty();
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let mut before = self.events.end();
        while let Some(scalar) = node::key(&mut self.events)? {
            let number = scalar.line;
            let at = |text: String| ParseError::new(number, text);
            let key = Key::new(&scalar.text).map_err(|e| at(e.to_string()).of_kind(ParseErrorKind::InvalidKey))?;
            if !seen.insert(key.clone()) {
                return Err(at(format!("the key {key:?} is given twice; remove one")));
            }
            let mut placed = Placed {
                lines: 0..0,
                comments: Vec::new(),
                indent: 0,
                block,
                line: ParsedLine { key, parsed: None, revision: None },
            };
            let start = self.events.explicit(before..scalar.source.start).unwrap_or(scalar.source.start);
            placed.line.parsed = fields::entry(&placed.line.key, &node::value(&mut self.events)?)?;
            before = self.events.end();
            if block {
                placed.lines = self.events.lines(&(start..before));
                placed.indent = start - placed.lines.start;
                if !self.events.slice(&(placed.lines.start..start)).bytes().all(|byte| byte == b' ') {
                    return Err(at("this key is indented by a tab; use spaces".into()));
                }
            }
            entries.push(NumberedLine { placed, number, start });
        }
        if !block {
            // Done once: all entries may be on one long line.
            let lines = self.events.lines(&(opening.start..self.events.end()));
            for NumberedLine { placed, .. } in &mut entries {
                (placed.indent, placed.lines) = (opening.start - lines.start, lines.clone());
            }
        }
        Ok(entries)
    }
}

fn expected_entries(line: u64) -> ParseError {
    ParseError::new(line, "expected entries of the form key: value")
}

#[cfg(test)]
mod tests;
