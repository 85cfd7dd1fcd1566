//! What is wrong with a document that cannot be read, as a person would say it: all mistakes at once, each with the line
//! where a person would mend it, that line quoted, and what to write instead.
//!
//! The parser names the place where it could not go on, often a line too late, and sees nothing behind it. Here the document
//! is cut at its indentation into entries ([`region`]), each is tried alone, and only those that fail are looked at:
//! [`entry`] for a line and its value, [`flow`] for what stands in brackets, [`meaning`] for what is YAML and yet no entry,
//! [`bytes`] for what is no text. What can be read alone is never reported, except a key given twice.

mod bytes;
mod entry;
mod flow;
mod meaning;
mod odd;
mod quoting;
mod region;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser};

use super::hand::Fault;
use super::stream::{Piece, newlines};
use crate::model::Key;

/// So many mistakes are reported at once.
const MOST: usize = 20;

/// Of a longer document only the first mistake is reported.
const LONGEST: usize = 1 << 20;

/// What is wrong with a document that cannot be read, in the order of its lines: at least one mistake, at most 20.
///
/// `fault` is what reading it failed with.
pub(super) fn mistakes(piece: &Piece<'_>, fault: Fault) -> Vec<Fault> {
    if let Some(text) = bytes::foreign(piece.text) {
        return vec![Fault { line: piece.line, text }];
    }
    let mut found = Found::default();
    let text = String::from_utf8_lossy(piece.text);
    let lines: Vec<&str> = text.lines().collect();
    let part = Part { lines: &lines, first: piece.line };
    if piece.text.len() <= LONGEST {
        bytes::not_utf8(piece, &mut found);
        let mut within = Found::default();
        region::document(part, &mut within);
        for (line, text) in within.faults {
            found.add(line, text);
        }
    }
    if found.faults.is_empty() {
        let last = piece.line + newlines(piece.text);
        let line = if fault.line == 0 { 0 } else { fault.line.clamp(piece.line, last) };
        found.add(line, meaning::told(part, line, &fault.text));
    }
    found.faults.into_iter().take(MOST).map(|(line, text)| Fault { line, text }).collect()
}

/// What has been found so far: one mistake a line, since one of them is often the cause of the other.
#[derive(Default)]
struct Found {
    faults: BTreeMap<u64, String>,
    /// The lines of the keys.
    keys: HashMap<Key, u64>,
}

impl Found {
    fn add(&mut self, line: u64, text: String) {
        self.faults.entry(line).or_insert(text);
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= MOST
    }
}

/// Some lines of a document that follow each other.
#[derive(Clone, Copy)]
struct Part<'a> {
    lines: &'a [&'a str],
    /// The number of the first.
    first: u64,
}

impl<'a> Part<'a> {
    fn line(self, at: usize) -> &'a str {
        self.lines.get(at).copied().unwrap_or_default()
    }

    fn number(self, at: usize) -> u64 {
        self.first + at as u64
    }

    fn cut(self, from: usize, to: usize) -> Self {
        Self { lines: self.lines.get(from..to).unwrap_or_default(), first: self.number(from) }
    }

    fn text(self) -> String {
        self.lines.join("\n") + "\n"
    }

    /// The number of a line as the parser counts it, which takes more characters for line ends than an editor does.
    fn within(self, line: u64) -> u64 {
        line.clamp(self.first, self.number(self.lines.len().saturating_sub(1)))
    }
}

/// What YAML makes of a text as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Mapping,
    List,
    Scalar,
}

/// Whether a text is YAML at all; else the line, from 0, and what the parser says.
fn parse(text: &str) -> Result<Root, (u64, String)> {
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|e| ((e.marker().line() as u64).saturating_sub(1), e.info().to_owned()))?;
        let kind = match event {
            Event::MappingStart(..) => Root::Mapping,
            Event::SequenceStart(..) => Root::List,
            Event::Scalar(..) | Event::Alias(_) => Root::Scalar,
            _ => continue,
        };
        root.get_or_insert(kind);
    }
    Ok(root.unwrap_or(Root::Scalar))
}
