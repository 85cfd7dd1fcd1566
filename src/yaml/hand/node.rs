//! What stands behind a key, read as a whole: scalars, lists and mappings in one another.
//!
//! What would mean something else to some other reader is refused here: anchors, aliases, tags, merge keys, a key given
//! twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, ScalarStyle};

use super::events::{Events, Found};
use super::{Fault, is_nothing};

/// Lists and mappings may stand in one another to this depth.
const DEEPEST: usize = 100;

/// A scalar, a list or a mapping.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) content: Content<'a>,
    /// The number of its first line.
    pub(super) line: u64,
    /// Its text as it is spelled, if that is on one line.
    pub(super) spelling: Option<&'a str>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Scalar(Scalar<'a>),
    List(Vec<Node<'a>>),
    Mapping(Vec<(Scalar<'a>, Node<'a>)>),
}

/// A text, or what stands for nothing.
#[derive(Debug)]
pub(super) struct Scalar<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) line: u64,
    /// Whether it is neither in quotes nor a block.
    pub(super) plain: bool,
    pub(super) source: Range<usize>,
}

impl<'a> Scalar<'a> {
    /// Whether it says that there is nothing: `~` or `null`. An empty place does not.
    pub(super) fn is_null(&self) -> bool {
        self.plain && !self.text.is_empty() && is_nothing(&self.text)
    }

    /// Takes an event that is a scalar.
    fn of(found: Found<'a>) -> Result<Self, Found<'a>> {
        let Found { event, line, source } = found;
        match event {
            Event::Scalar(text, style, ..) => Ok(Self { text, line, plain: style == ScalarStyle::Plain, source }),
            event => Err(Found { event, line, source }),
        }
    }
}

/// Reads the key of a mapping, or none at its end.
pub(super) fn key<'a>(events: &mut Events<'a>) -> Result<Option<Scalar<'a>>, Fault> {
    let found = next(events)?;
    if matches!(found.event, Event::MappingEnd) {
        return Ok(None);
    }
    let key = Scalar::of(found)
        .map_err(|found| Fault { line: found.line, text: "a key is a text, not a list or a mapping".into() })?;
    let text = if key.is_null() || key.plain && key.text.is_empty() {
        "the key is missing here; a key such as ~ or null stands in quotes"
    } else if key.plain && key.text == "<<" {
        "merge keys (<<) are not taken; write the entries out, or put a key << in quotes"
    } else {
        return Ok(Some(key));
    };
    Err(Fault { line: key.line, text: text.into() })
}

/// Reads what stands behind a key.
pub(super) fn value<'a>(events: &mut Events<'a>) -> Result<Node<'a>, Fault> {
    let found = next(events)?;
    node(events, found, 0)
}

fn node<'a>(events: &mut Events<'a>, found: Found<'a>, depth: usize) -> Result<Node<'a>, Fault> {
    let found = match Scalar::of(found) {
        Ok(scalar) => {
            let spelling = spelling(events, &scalar.source);
            return Ok(Node { line: scalar.line, spelling, content: Content::Scalar(scalar) });
        }
        Err(found) => found,
    };
    let line = found.line;
    if depth == DEEPEST {
        return Err(too_deep(line));
    }
    let content = match found.event {
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                let found = next(events)?;
                if matches!(found.event, Event::SequenceEnd) {
                    break Content::List(items);
                }
                items.push(node(events, found, depth + 1)?);
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            let mut seen = HashSet::new();
            while let Some(key) = key(events)? {
                if !seen.insert(key.text.clone()) {
                    let text = format!("the key {:?} is given twice; remove one", key.text);
                    return Err(Fault { line: key.line, text });
                }
                let found = next(events)?;
                let value = node(events, found, depth + 1)?;
                entries.push((key, value));
            }
            Content::Mapping(entries)
        }
        _ => return Err(Fault { line, text: "a value is missing here".into() }),
    };
    // What is no flow collection has no sign of its own where it begins.
    let spelling = if found.source.is_empty() { None } else { spelling(events, &(found.source.start..events.end())) };
    Ok(Node { content, line, spelling })
}

pub(super) fn too_deep(line: u64) -> Fault {
    let text =
        format!("lists and mappings stand in one another more than {DEEPEST} deep; write it as a text in quotes");
    Fault { line, text }
}

fn spelling<'a>(events: &Events<'a>, source: &Range<usize>) -> Option<&'a str> {
    Some(events.slice(source)).filter(|text| !text.contains(['\n', '\r']))
}

/// The next event, if it is of a kind that is taken.
pub(super) fn next<'a>(events: &mut Events<'a>) -> Result<Found<'a>, Fault> {
    let found = events.next()?;
    let (anchor, tagged) = match &found.event {
        Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
            (*anchor != 0, tag.is_some())
        }
        _ => (false, false),
    };
    let text = if anchor {
        "anchors (&name) are not taken; put a text that begins with & in quotes"
    } else if tagged {
        "tags (!name) are not taken; put a text that begins with ! in quotes"
    } else if matches!(found.event, Event::Alias(_)) {
        "aliases (*name) are not taken; put a text that begins with * in quotes"
    } else {
        return Ok(found);
    };
    Err(Fault { line: found.line, text: text.into() })
}
