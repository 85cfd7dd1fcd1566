//! What a person wrote: any YAML mapping of keys to texts, entries, lists or mappings, read with care and with its places.
//!
//! Scalars are taken as they stand, so `1.0`, `yes` and `2026-11-20` keep their spelling. Lists and mappings are stored as
//! JSON. Anchors, aliases, merge keys, tags and a key given twice are refused: each would mean something else to some other
//! reader, or nothing at all.

mod events;
mod fields;
mod input;
mod json;
mod node;
mod timestamp;

use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, ScalarStyle};

use self::events::{Events, Found};
use super::line::Line;
use crate::model::Key;

/// Something in the file that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The line, from 1; 0 if it is the file as a whole.
    pub(super) line: u64,
    /// What is wrong and what to do.
    pub(super) text: String,
}

impl Fault {
    /// What is wrong, with the place in the file of this name.
    pub(super) fn of(&self, file: impl std::fmt::Display) -> String {
        match self.line {
            0 => format!("{file}: {}", self.text),
            line => format!("{file}, line {line}: {}", self.text),
        }
    }
}

/// An entry with its place in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    pub(super) line: Line,
    /// The bytes of its own lines, whole lines with their line ends: from the line of its key to the last line that belongs
    /// to its value.
    pub(super) lines: Range<usize>,
    /// The comments within these lines (from `#` to before the line end), in order: behind a value, behind a block header
    /// `|`, or on lines of their own inside a block mapping. Within a flow mapping a comment is with the entry before it.
    pub(super) comments: Vec<Range<usize>>,
    /// By how many spaces its key is indented.
    pub(super) indent: usize,
    /// Whether the key stands in a block mapping (false: the document is one flow mapping `{a: 1, b: 2}`; then all entries
    /// have the same `lines`).
    pub(super) block: bool,
}

/// Reads one document, or a part of one that stands for itself. `first_line` is the number of its first line.
pub(super) fn read(text: &str, first_line: u64) -> Result<Vec<(Line, u64)>, Fault> {
    let entries = Document { events: Events::new(text, first_line) }.read()?;
    Ok(entries.into_iter().map(|entry| (entry.placed.line, entry.number)).collect())
}

/// The same, with the place of each entry in the text.
///
/// Lines of comments and empty lines before, between and behind the entries belong to none of them. A byte order mark
/// belongs to no line.
pub(super) fn layout(text: &str, first_line: u64) -> Result<Vec<Placed>, Fault> {
    let mut document = Document { events: Events::new(text, first_line) };
    let entries = document.read()?;
    let mut comments = document.events.comments().iter().peekable();
    let mut placed: Vec<Placed> = Vec::with_capacity(entries.len());
    let mut nexts = entries.iter().skip(1).map(|next| next.start).collect::<Vec<_>>().into_iter();
    for Entry { placed: mut entry, .. } in entries {
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

/// An entry as it is read.
struct Entry {
    placed: Placed,
    /// The number of its first line.
    number: u64,
    /// The offset of its key.
    start: usize,
}

struct Document<'a> {
    events: Events<'a>,
}

impl Document<'_> {
    fn read(&mut self) -> Result<Vec<Entry>, Fault> {
        loop {
            let Found { event, line, source } = node::next(&mut self.events)?;
            let entries = match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
                Event::DocumentEnd | Event::StreamEnd => return Ok(Vec::new()),
                Event::MappingStart(..) => self.entries(source)?,
                Event::Scalar(text, ScalarStyle::Plain, ..) if is_nothing(&text) => Vec::new(),
                _ => return Err(expected_entries(line)),
            };
            return self.ended().map(|()| entries);
        }
    }

    /// Reads to the end, so that a fault behind the mapping is not overlooked.
    fn ended(&mut self) -> Result<(), Fault> {
        loop {
            match node::next(&mut self.events)? {
                Found { event: Event::StreamEnd, .. } => return Ok(()),
                Found { event: Event::DocumentEnd | Event::Nothing, .. } => {}
                found => return Err(expected_entries(found.line)),
            }
        }
    }

    /// Reads the entries of the mapping that begins with these bytes: with none, if it is a block mapping.
    fn entries(&mut self, opening: Range<usize>) -> Result<Vec<Entry>, Fault> {
        let block = opening.is_empty();
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let mut before = self.events.end();
        while let Some(scalar) = node::key(&mut self.events)? {
            let number = scalar.line;
            let at = |text: String| Fault { line: number, text };
            let key = Key::new(&scalar.text).map_err(|e| at(e.to_string()))?;
            if !seen.insert(key.clone()) {
                return Err(at(format!("the key {key:?} is given twice; remove one")));
            }
            let mut placed = Placed {
                lines: 0..0,
                comments: Vec::new(),
                indent: 0,
                block,
                line: Line { key, given: None, revision: None },
            };
            let start = self.events.explicit(before..scalar.source.start).unwrap_or(scalar.source.start);
            placed.line.given = fields::entry(&placed.line.key, &node::value(&mut self.events)?)?;
            before = self.events.end();
            if block {
                placed.lines = self.events.lines(&(start..before));
                placed.indent = start - placed.lines.start;
                if !self.events.slice(&(placed.lines.start..start)).bytes().all(|byte| byte == b' ') {
                    return Err(at("a key is indented by spaces, not by a tab".into()));
                }
            }
            entries.push(Entry { placed, number, start });
        }
        if !block {
            // Not for each entry: all of them may be on one line, which is long then.
            let lines = self.events.lines(&(opening.start..self.events.end()));
            for Entry { placed, .. } in &mut entries {
                (placed.indent, placed.lines) = (opening.start - lines.start, lines.clone());
            }
        }
        Ok(entries)
    }
}

fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn expected_entries(line: u64) -> Fault {
    Fault { line, text: "expected entries of the form key: value".into() }
}

#[cfg(test)]
mod tests;
