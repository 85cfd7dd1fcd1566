//! Lines of a document, and the mistakes found in them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser};

use super::quoting::{is_blank, quote};
use crate::model::Key;

/// At most this many mistakes are reported.
pub(crate) const MAX_MISTAKES: usize = 20;

/// The mistakes so far: one for each line, since one is often the cause of another.
#[derive(Default)]
pub(crate) struct Mistakes {
    pub(crate) errors: BTreeMap<u64, String>,
    /// The line of each key.
    pub(crate) keys: HashMap<Key, u64>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, line: u64, text: String) {
        self.errors.entry(line).or_insert(text);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_MISTAKES
    }
}

/// Consecutive lines of a document.
#[derive(Clone, Copy)]
pub(crate) struct LineRange<'a> {
    pub(crate) lines: &'a [&'a str],
    /// The number of the first line.
    pub(crate) first: u64,
}

impl<'a> LineRange<'a> {
    pub(crate) fn line(self, at: usize) -> &'a str {
        self.lines.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn number(self, at: usize) -> u64 {
        self.first + at as u64
    }

    pub(crate) fn slice(self, from: usize, to: usize) -> Self {
        Self { lines: self.lines.get(from..to).unwrap_or_default(), first: self.number(from) }
    }

    pub(crate) fn text(self) -> String {
        self.lines.join("\n") + "\n"
    }

    /// The nearest line number in these lines. The parser counts more characters as line ends than an editor does.
    pub(crate) fn within(self, line: u64) -> u64 {
        line.clamp(self.first, self.number(self.lines.len().saturating_sub(1)))
    }
}

/// The outermost node of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Mapping,
    List,
    Scalar,
}

/// Parses a text as YAML. The error is the line, from 0, and the message of the parser.
pub(crate) fn parse(text: &str) -> Result<Root, (u64, String)> {
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

/// Whether YAML reads a text as an entry, or as an item of a list.
pub(crate) fn reads(text: &str, list: bool) -> bool {
    let begins = |c| text.lines().find(|line| !is_blank(line)).is_some_and(|line| line.trim_start().starts_with(c));
    match parse(text) {
        Ok(Root::Mapping) => !list && !begins('{'),
        Ok(Root::List) => list && !begins('['),
        _ => false,
    }
}

/// The number of spaces at the start of a line.
pub(crate) fn indent(line: &str) -> usize {
    line.bytes().take_while(|b| *b == b' ').count()
}

pub(crate) fn is_item(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t']);
    line == "-" || line.starts_with("- ") || line.starts_with("-\t")
}

/// Advice about the indentation of a line.
pub(crate) fn begin_with(n: usize) -> String {
    if n == 0 { "remove the spaces before it".into() } else { format!("begin it with {}", spaces(n)) }
}

pub(crate) fn spaces(n: usize) -> Cow<'static, str> {
    match n {
        0 => "no space".into(),
        1 => "1 space".into(),
        n => format!("{n} spaces").into(),
    }
}

/// Reports a key that occurs in an earlier line.
pub(crate) fn once(key: Key, chunk: LineRange<'_>, found: &mut Mistakes) {
    if let Some(first) = found.keys.get(&key) {
        let text = format!("{} gives a key twice: it is in line {first} too; remove one", quote(chunk.line(0)));
        return found.add(chunk.first, text);
    }
    found.keys.insert(key, chunk.first);
}
