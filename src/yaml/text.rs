//! Texts in our file format, apart from any bucket: for import, export and editing.

use std::collections::BTreeMap;

use super::hand::Fault;
use super::line::{self, Given};
use super::mistakes::mistakes;
use super::{reader, stream};
use crate::model::{Entry, Error, Key, Kind, Result};

/// Reads a text in our file format or any YAML of bare `key: value` entries.
///
/// Of several documents a later one changes what those before it say, so only there `~` may stand instead of a value.
/// Entries come in the order of their keys.
///
/// # Errors
/// `Invalid`, with the line.
pub fn read_text(text: &str) -> Result<Vec<(Key, Given)>> {
    let mut entries = BTreeMap::new();
    let cut = stream::cut(text.as_bytes(), true);
    let torn = cut.torn.map(|at| Fault {
        line: 1 + stream::newlines(text.as_bytes().get(..at).unwrap_or_default()),
        text: "the last document lacks its end mark (...); add it if the document is whole".into(),
    });
    for (n, piece) in cut.pieces.iter().enumerate() {
        for line in reader::read(piece).map_err(|fault| invalid(&mistakes(piece, fault)))?.lines {
            match line.given {
                Some(given) => entries.insert(line.key, given),
                None if n > 0 => entries.remove(&line.key),
                None => {
                    let text = format!("{:?} has no value; write \"\" for an empty one, or remove the key", line.key);
                    return Err(Error::new(Kind::Invalid, text));
                }
            };
        }
    }
    match torn {
        Some(fault) => Err(invalid(&[fault])),
        None => Ok(entries.into_iter().collect()),
    }
}

fn invalid(faults: &[Fault]) -> Error {
    let lines: Vec<String> = faults.iter().map(|fault| format!("line {}: {}", fault.line, fault.text)).collect();
    Error::new(Kind::Invalid, lines.join("; "))
}

/// Writes entries as one document of our file format.
pub fn write_text<'a>(entries: impl Iterator<Item = (&'a Key, &'a Entry)>) -> String {
    let mut text = Vec::new();
    for (key, entry) in entries {
        line::write_at_rest(&mut text, key, entry);
    }
    if text.is_empty() {
        text.extend_from_slice(b"{}\n");
    }
    // All that was written came from text.
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_follow_one_another() {
        let read = read_text("a: 1\nb: 2\n...\n---\na: ~\nc: 3\n...\n").unwrap();
        let keys: Vec<_> = read.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b", "c"]);
    }

    #[test]
    fn a_key_without_a_value_is_not_dropped_without_a_word() {
        for text in ["a: 1\nb: ~\n", "b: null\n...\n"] {
            assert!(read_text(text).unwrap_err().to_string().contains("\"b\" has no value"), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_left_empty_is_the_empty_text() {
        let read = read_text("a: 1\nb:\n...\n---\na:\n...\n").unwrap();
        assert!(read.iter().map(|(key, _)| key.as_str()).eq(["a", "b"]));
        assert!(read.iter().all(|(_, given)| *given == Given::text("")));
    }

    #[test]
    fn faults_name_their_line() {
        assert!(read_text("a: 1\nb: &c 2\n").unwrap_err().to_string().starts_with("line 2: "));
        assert!(read_text("a: 1\n...\n---\nb: 2\n").unwrap_err().to_string().starts_with("line 3: "));
    }
}
