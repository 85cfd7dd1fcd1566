//! What a person wrote: any YAML mapping of keys to texts or entries, read with care and with line numbers.
//!
//! Scalars are taken as they stand, so `1.0`, `yes` and `2026-11-20` keep their spelling. Anchors, aliases, merge keys, tags,
//! lists and a key given twice are refused: each would mean something else to some other reader, or nothing at all.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::line::{Given, Line};
use crate::model::{ContentType, Key, Time};

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

/// Reads one document, or a part of one that stands for itself. `first_line` is the number of its first line.
pub(super) fn read(text: &str, first_line: u64) -> Result<Vec<(Line, u64)>, Fault> {
    let mut reader = Reader { events: Parser::new_from_str(text), first_line };
    reader.document()
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    first_line: u64,
}

/// A scalar, or nothing (`~`, `null`, or an empty place).
struct Scalar {
    text: Option<String>,
    line: u64,
    /// Whether it is not in quotes.
    plain: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, u64), Fault> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, self.line(span))),
            Some(Err(error)) => Err(Fault {
                line: self.first_line + (error.marker().line() as u64).saturating_sub(1),
                text: format!("this is no YAML: {}", error.info()),
            }),
            None => Err(Fault { line: self.first_line, text: "this is no YAML: it ends too early".into() }),
        }
    }

    fn line(&self, span: Span) -> u64 {
        self.first_line + (span.start.line() as u64).saturating_sub(1)
    }

    fn document(&mut self) -> Result<Vec<(Line, u64)>, Fault> {
        loop {
            match self.next()? {
                (Event::Nothing | Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::DocumentEnd | Event::StreamEnd, _) => return Ok(Vec::new()),
                (Event::MappingStart(anchor, tag), line) => {
                    untagged(anchor, tag.is_some(), line)?;
                    let lines = self.entries()?;
                    return self.ended().map(|()| lines);
                }
                (Event::Scalar(text, style, anchor, tag), line) => {
                    untagged(anchor, tag.is_some(), line)?;
                    if is_null(&text, style) {
                        return self.ended().map(|()| Vec::new());
                    }
                    return Err(expected_entries(line));
                }
                (_, line) => return Err(expected_entries(line)),
            }
        }
    }

    /// Reads to the end, so that a fault behind the mapping is not overlooked.
    fn ended(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, line) => return Err(expected_entries(line)),
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<(Line, u64)>, Fault> {
        let mut lines = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = self.key("a key")? {
            let line = key.line;
            let text = key.text.ok_or_else(|| Fault {
                line,
                text: "the key is missing here; a key such as ~ or null stands in quotes".into(),
            })?;
            if text == "<<" && key.plain {
                let text = "merge keys (<<) are not taken; write the entries out, or put a key << in quotes".into();
                return Err(Fault { line, text });
            }
            let key = Key::new(&text).map_err(|e| Fault { line, text: e.to_string() })?;
            if !seen.insert(key.clone()) {
                return Err(Fault { line, text: format!("the key {key:?} is given twice; remove one") });
            }
            let given = self.entry(&key)?;
            lines.push((Line { key, given, revision: None }, line));
        }
        Ok(lines)
    }

    /// A key of a mapping, or none at its end.
    fn key(&mut self, what: &str) -> Result<Option<Scalar>, Fault> {
        match self.next()? {
            (Event::MappingEnd, _) => Ok(None),
            (Event::Scalar(text, style, anchor, tag), line) => {
                untagged(anchor, tag.is_some(), line)?;
                let plain = style == ScalarStyle::Plain;
                Ok(Some(Scalar { text: (!is_null(&text, style)).then(|| text.into_owned()), line, plain }))
            }
            (Event::Alias(_), line) => Err(alias(line)),
            (_, line) => Err(Fault { line, text: format!("{what} is a text, not a list or a mapping") }),
        }
    }

    /// What stands behind a key: a text, nothing, or the fields of an entry.
    fn entry(&mut self, key: &Key) -> Result<Option<Given>, Fault> {
        match self.next()? {
            (Event::Scalar(text, style, anchor, tag), line) => {
                untagged(anchor, tag.is_some(), line)?;
                Ok((!is_null(&text, style)).then(|| Given::text(text.into_owned().into_bytes())))
            }
            (Event::MappingStart(anchor, tag), line) => {
                untagged(anchor, tag.is_some(), line)?;
                self.fields(key, line).map(Some)
            }
            (Event::Alias(_), line) => Err(alias(line)),
            (_, line) => {
                Err(Fault { line, text: format!("the value of {key:?} is a list; write it as a text in quotes") })
            }
        }
    }

    fn fields(&mut self, key: &Key, first: u64) -> Result<Given, Fault> {
        let mut given = Given::text("");
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = self.key("the name of a field")? {
            let (line, name) = (name.line, name.text.unwrap_or_default());
            let Some(Scalar { text: Some(text), line: at, .. }) = self.key("a field")? else {
                return Err(Fault { line, text: format!("the field {name:?} of {key:?} is empty") });
            };
            if seen.contains(&name) {
                return Err(Fault { line, text: format!("the field {name:?} of {key:?} is given twice") });
            }
            set(&mut given, &name, text).map_err(|text| Fault { line: at, text: format!("{key:?}: {text}") })?;
            seen.push(name);
        }
        match (seen.iter().any(|n| n == "value"), seen.iter().any(|n| n == "base64")) {
            (true, false) | (false, true) => Ok(given),
            (false, false) => Err(Fault { line: first, text: format!("{key:?} has neither value nor base64") }),
            (true, true) => Err(Fault { line: first, text: format!("{key:?} has both value and base64") }),
        }
    }
}

fn set(given: &mut Given, name: &str, text: String) -> Result<(), String> {
    let time = |text: &str| Time::parse_clamped(text).map(Some).map_err(|e| format!("{name}: {e}"));
    match name {
        "value" => given.value = text.into_bytes().into(),
        "base64" => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|e| format!("base64: {e}"))?;
            given.value = bytes.into();
        }
        "type" => given.content_type = ContentType::new(&text).map_err(|e| e.to_string())?,
        "updated" => {
            given.updated = time(&text)?;
            if given.updated.is_some_and(|time| time > Time::LATEST_COMMIT) {
                return Err(format!(
                    "updated: {text} is too late, no later write could follow it; remove the field, so that the entry \
                     counts as written when the file was saved"
                ));
            }
        }
        "created" => given.created = time(&text)?,
        "modified" => given.modified = time(&text)?,
        "expires" => given.expires = Time::parse_expiry(&text).map_err(|e| format!("{name}: {e}"))?,
        _ => {
            return Err(format!(
                "unknown field {name:?}; the fields are value, base64, type, updated, created, modified and expires"
            ));
        }
    }
    Ok(())
}

fn is_null(text: &str, style: ScalarStyle) -> bool {
    style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn untagged(anchor: usize, tagged: bool, line: u64) -> Result<(), Fault> {
    if anchor != 0 {
        return Err(Fault {
            line,
            text: "anchors (&name) are not taken; put a text that begins with & in quotes".into(),
        });
    }
    if tagged {
        return Err(Fault { line, text: "tags (!name) are not taken; put a text that begins with ! in quotes".into() });
    }
    Ok(())
}

fn alias(line: u64) -> Fault {
    Fault { line, text: "aliases (*name) are not taken; put a text that begins with * in quotes".into() }
}

fn expected_entries(line: u64) -> Fault {
    Fault { line, text: "expected entries of the form key: value".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (u64, String) {
        let fault = read(text, 1).unwrap_err();
        (fault.line, fault.text)
    }

    #[test]
    fn scalars_keep_their_spelling() {
        let lines = read("a: 1.0\nb: yes\nc: 2026-11-20\nd: 'it''s'\ne: |\n  two\n  lines\nf: ~\ng:\n", 10).unwrap();
        let values: Vec<_> = lines.iter().map(|(l, _)| l.given.clone().map(|g| g.value)).collect();
        let text = |t: &'static str| Some(bytes::Bytes::from_static(t.as_bytes()));
        assert_eq!(
            values,
            [text("1.0"), text("yes"), text("2026-11-20"), text("it's"), text("two\nlines\n"), None, None]
        );
        assert_eq!(lines.iter().map(|l| l.1).collect::<Vec<_>>(), [10, 11, 12, 13, 14, 17, 18]);
    }

    #[test]
    fn entries_may_span_lines() {
        let lines = read("a:\n  value: x\n  expires: 2026-11-21T00:00:00Z\n  type: application/json\n", 1).unwrap();
        let given = lines[0].0.given.clone().unwrap();
        assert_eq!(given.content_type.as_str(), "application/json");
        assert_eq!(given.expires, Some("2026-11-21T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_other_readers_would_take_otherwise_is_refused_with_its_line() {
        for (text, line, word) in [
            ("a: 1\nb: &x 2\n", 2, "anchors"),
            ("a: &x 1\nb: *x\n", 1, "anchors"),
            ("a: !!str 1\n", 1, "tags"),
            ("a: 1\na: 2\n", 2, "twice"),
            ("a: [1, 2]\n", 1, "list"),
            ("a: {value: 1}\n<<: {value: 2}\n", 2, "merge"),
            ("a: {valeu: 1}\n", 1, "unknown field"),
            ("a: {value: 1, value: 2}\n", 1, "twice"),
            ("a: {updated: 2026-11-20T12:00:00Z}\n", 1, "neither"),
            ("a: {value: 1, expires: soon}\n", 1, "RFC 3339"),
            ("a: {value: 1, updated: 2262-04-11T23:47:16.854775807Z}\n", 1, "too late"),
            ("a: {value: 1, updated: 9999-12-31T23:59:59Z}\n", 1, "too late"),
            ("a: 1\nb: \"open\n", 3, "no YAML"),
            ("just text\n", 1, "key: value"),
            ("- a\n- b\n", 1, "key: value"),
            ("a: 1\n  b: 2\n", 2, "no YAML"),
            ("\"a\\nb\": 1\n", 1, "control"),
        ] {
            let (at, what) = fault(text);
            assert!(what.contains(word), "{text:?}: {what}");
            assert!(at == line || word == "no YAML", "{text:?}: line {at}");
        }
    }
}
