//! Texts in the format of a data file, without a bucket: for import, export and editing.

use std::collections::BTreeMap;

use super::mistakes::mistakes;
use super::parse_error::ParseError;
use super::parsed::ParsedEntry;
use super::{entry_at_rest, reader, stream};
use crate::model::{Entry, Error, ErrorKind, Key, Result};

/// Reads a text in the format of a data file, or any YAML mapping of keys to values.
///
/// If there are several documents, a later one changes the earlier ones; only there may `~` stand for a value, and
/// deletes the key. The entries are in the order of their keys.
///
/// # Errors
/// `Invalid`, with the line.
pub fn read_text(text: &str) -> Result<Vec<(Key, ParsedEntry)>> {
    let mut entries = BTreeMap::new();
    let stream = stream::split(text.as_bytes());
    let torn = stream.torn.map(|at| {
        let line = 1 + stream::newlines(text.as_bytes().get(..at).unwrap_or_default());
        ParseError::new(line, "the last document has no end mark (...); add it if the document is complete")
    });
    for (n, raw) in stream.documents.iter().enumerate() {
        for line in reader::read(raw).map_err(|error| invalid(&mistakes(raw, error)))?.lines {
            match line.parsed {
                Some(parsed) => entries.insert(line.key, parsed),
                None if n > 0 => entries.remove(&line.key),
                None => {
                    let text = format!("{:?} has no value; write \"\" for an empty one, or remove the key", line.key);
                    return Err(Error::new(ErrorKind::Invalid, text));
                }
            };
        }
    }
    match torn {
        Some(error) => Err(invalid(&[error])),
        None => Ok(entries.into_iter().collect()),
    }
}

fn invalid(errors: &[ParseError]) -> Error {
    let lines: Vec<String> = errors.iter().map(|error| format!("line {}: {}", error.line, error.text)).collect();
    Error::new(ErrorKind::Invalid, lines.join("; "))
}

/// Writes entries as one document in the format of a data file.
pub fn write_text<'a>(entries: impl Iterator<Item = (&'a Key, &'a Entry)>) -> String {
    let mut text = Vec::new();
    for (key, entry) in entries {
        entry_at_rest::write(&mut text, key, entry);
    }
    if text.is_empty() {
        text.extend_from_slice(b"{}\n");
    }
    // Everything was written as text.
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_documents_change_earlier_ones() {
        let read = read_text("a: 1\nb: 2\n...\n---\na: ~\nc: 3\n...\n").unwrap();
        let keys: Vec<_> = read.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b", "c"]);
    }

    #[test]
    fn key_without_a_value_is_refused() {
        for text in ["a: 1\nb: ~\n", "b: null\n...\n"] {
            assert!(read_text(text).unwrap_err().to_string().contains("\"b\" has no value"), "{text}");
        }
    }

    #[test]
    fn missing_value_is_the_empty_text() {
        let read = read_text("a: 1\nb:\n...\n---\na:\n...\n").unwrap();
        assert!(read.iter().map(|(key, _)| key.as_str()).eq(["a", "b"]));
        assert!(read.iter().all(|(_, parsed)| *parsed == ParsedEntry::text("")));
    }

    /// Some editors end lines so, and then a comment must not hide what follows.
    #[test]
    fn carriage_return_ends_a_comment() {
        for (text, keys) in [
            ("# c\rb: 2\n", vec!["b"]),
            ("# c\ra: 1\rb: 2\r", vec!["a", "b"]),
            ("a: 1\n# x\rb: 2\nc: 3\n", vec!["a", "b", "c"]),
            ("a: 1\n...\n---\n# x\rb: 2\n...\n", vec!["a", "b"]),
            ("# c\r\nb: 2\r\n", vec!["b"]),
        ] {
            let read = read_text(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(read.iter().map(|(key, _)| key.as_str()).eq(keys), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn errors_name_their_line() {
        assert!(read_text("a: 1\nb: &c 2\n").unwrap_err().to_string().starts_with("line 2: "));
        assert!(read_text("a: 1\n...\n---\nb: 2\n").unwrap_err().to_string().starts_with("line 3: "));
    }
}
