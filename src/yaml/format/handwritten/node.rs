//! A value as a whole: a scalar, a list or a mapping, nested in each other.
//!
//! Anchors, aliases, tags, merge keys and duplicate keys are refused, because other readers would read them
//! differently.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use saphyr_parser::{Event, ScalarStyle};

use super::events::{Events, FoundEvent, MAX_DEPTH, too_deep};
use crate::yaml::format::parse_error::ParseError;

/// A scalar, a list or a mapping.
#[derive(Debug)]
pub(crate) struct YamlNode<'a> {
    pub(crate) content: NodeContent<'a>,
    pub(crate) line: u64,
    /// Its spelling, if it is on one line.
    pub(crate) spelling: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) enum NodeContent<'a> {
    Scalar(Scalar<'a>),
    List(Vec<YamlNode<'a>>),
    Mapping(Vec<(Scalar<'a>, YamlNode<'a>)>),
}

/// A text, or null.
#[derive(Debug)]
pub(crate) struct Scalar<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) line: u64,
    /// Whether it is neither in quotes nor a block.
    pub(crate) plain: bool,
    pub(crate) source: Range<usize>,
}

impl<'a> Scalar<'a> {
    /// Whether it is `~` or `null`. An empty value is not null but the empty text.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && !self.text.is_empty() && is_nothing(&self.text)
    }

    /// Takes an event that is a scalar; returns any other one.
    fn of(found: FoundEvent<'a>) -> Result<Self, FoundEvent<'a>> {
        let FoundEvent { event, line, source } = found;
        match event {
            Event::Scalar(text, style, ..) => Ok(Self { text, line, plain: style == ScalarStyle::Plain, source }),
            event => Err(FoundEvent { event, line, source }),
        }
    }
}

/// Reads the key of a mapping; `None` at its end.
pub(crate) fn key<'a>(events: &mut Events<'a>) -> Result<Option<Scalar<'a>>, ParseError> {
    let found = next(events)?;
    if matches!(found.event, Event::MappingEnd) {
        return Ok(None);
    }
    let key = Scalar::of(found)
        .map_err(|found| ParseError::new(found.line, "a key must be a text, not a list or a mapping"))?;
    let text = if key.is_null() || key.plain && key.text.is_empty() {
        "the key is missing here; write a key such as ~ or null in quotes"
    } else if key.plain && key.text == "<<" {
        "merge keys (<<) are not supported; write the entries out, or put a key << in quotes"
    } else {
        return Ok(Some(key));
    };
    Err(ParseError::new(key.line, text))
}

/// Reads the value of a key.
pub(crate) fn value<'a>(events: &mut Events<'a>) -> Result<YamlNode<'a>, ParseError> {
    let found = next(events)?;
    node(events, found, 0)
}

fn node<'a>(events: &mut Events<'a>, found: FoundEvent<'a>, depth: usize) -> Result<YamlNode<'a>, ParseError> {
    let found = match Scalar::of(found) {
        Ok(scalar) => {
            let spelling = spelling(events, &scalar.source);
            return Ok(YamlNode { line: scalar.line, spelling, content: NodeContent::Scalar(scalar) });
        }
        Err(found) => found,
    };
    let line = found.line;
    if depth == MAX_DEPTH {
        return Err(too_deep(line));
    }
    let content = match found.event {
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                let found = next(events)?;
                if matches!(found.event, Event::SequenceEnd) {
                    break NodeContent::List(items);
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
                    return Err(ParseError::new(key.line, text));
                }
                let found = next(events)?;
                let value = node(events, found, depth + 1)?;
                entries.push((key, value));
            }
            NodeContent::Mapping(entries)
        }
        _ => return Err(ParseError::new(line, "a value is missing here")),
    };
    // A block collection has no sign of its own where it begins.
    let spelling = if found.source.is_empty() { None } else { spelling(events, &(found.source.start..events.end())) };
    Ok(YamlNode { content, line, spelling })
}

fn spelling<'a>(events: &Events<'a>, source: &Range<usize>) -> Option<&'a str> {
    Some(events.slice(source)).filter(|text| !text.contains(['\n', '\r']))
}

/// The next event, if it is of a supported kind.
pub(crate) fn next<'a>(events: &mut Events<'a>) -> Result<FoundEvent<'a>, ParseError> {
    let found = events.next()?;
    let (anchor, tagged) = match &found.event {
        Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
            (*anchor != 0, tag.is_some())
        }
        _ => (false, false),
    };
    let text = if anchor {
        "anchors (&name) are not supported; put a text that begins with & in quotes"
    } else if tagged {
        "tags (!name) are not supported; put a text that begins with ! in quotes"
    } else if matches!(found.event, Event::Alias(_)) {
        "aliases (*name) are not supported; put a text that begins with * in quotes"
    } else {
        return Ok(found);
    };
    Err(ParseError::new(found.line, text))
}

/// Whether a plain scalar means null or is empty.
pub(crate) fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
