//! An entry over several lines: what kvs writes for a text with line breaks, and reads back fast.
//!
//! ```yaml
//! greeting:
//!   value: |
//!     Hello
//!     there
//!   updated: 2026-11-20T12:00:00Z
//! ```

use super::line::{read_fields, write_fields};
use super::parsed::{ParsedEntry, ParsedLine};
use super::scalar;
use crate::model::{Entry, Key};

/// The indentation of the lines of the text.
const INDENT: &str = "    ";

/// Whether a text is written as a literal block: several lines that all readers print, and that no editor changes when
/// it removes spaces at the ends of lines.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_clean = |line: &str| {
        !line.ends_with([' ', '\t']) && line.chars().all(|c| c == '\t' || scalar::is_printable(c) && c != '\u{85}')
    };
    text.contains('\n')
        && body.lines().next().is_some_and(|first| !first.is_empty() && !first.starts_with([' ', '\t']))
        && !body.ends_with('\n')
        && body.split('\n').all(is_clean)
}

/// Appends the entry as a block. Returns false, and appends nothing, if this form does not suit it.
pub(crate) fn write(out: &mut Vec<u8>, key: &Key, entry: &Entry) -> bool {
    let Some(text) = std::str::from_utf8(&entry.value).ok().filter(|text| is_literal(text)) else { return false };
    let start = out.len();
    scalar::write(out, key.as_str());
    if out.len() - start > super::line::MAX_IMPLICIT_KEY_BYTES {
        out.truncate(start);
        return false;
    }
    let (body, mark) = text.strip_suffix('\n').map_or((text, "|-"), |body| (body, "|"));
    out.extend_from_slice(format!(":\n  value: {mark}\n").as_bytes());
    for line in body.split('\n') {
        if !line.is_empty() {
            out.extend_from_slice(INDENT.as_bytes());
            out.extend_from_slice(line.as_bytes());
        }
        out.push(b'\n');
    }
    write_fields(out, entry, "  ", "\n");
    true
}

/// Reads a block at the start of `text`, and returns its length in bytes; `None` if kvs did not write it.
pub(crate) fn read(text: &str) -> Option<(ParsedLine, usize)> {
    let (key, rest) = scalar::read(text)?;
    if text.len() - rest.len() > super::line::MAX_IMPLICIT_KEY_BYTES {
        return None;
    }
    let key = Key::new(&key).ok()?;
    let rest = rest.strip_prefix(":\n  value: |")?;
    let (mut rest, is_stripped) = match rest.strip_prefix("-\n") {
        Some(rest) => (rest, true),
        None => (rest.strip_prefix('\n')?, false),
    };
    let mut value = String::new();
    while !rest.starts_with("  ") || rest.starts_with(INDENT) {
        let (line, after) = rest.split_once('\n')?;
        value.push_str(if line.is_empty() { "" } else { line.strip_prefix(INDENT)? });
        value.push('\n');
        rest = after;
    }
    if is_stripped {
        value.pop();
    }
    if !is_literal(&value) {
        return None;
    }
    let mut parsed = ParsedEntry::text(value);
    let rest = read_fields(&mut parsed, rest, "  ", '\n')?;
    // Further indented lines were written by a person, and belong to this entry.
    if rest.starts_with([' ', '\t']) {
        return None;
    }
    Some((ParsedLine { key, parsed: Some(parsed), revision: None }, text.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Revision;

    fn written(value: &str) -> Option<String> {
        let entry = ParsedEntry::text(value.to_owned()).at(Revision::new(1_000_000_000));
        let mut out = Vec::new();
        write(&mut out, &Key::new("a").unwrap(), &entry).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_with_line_breaks_is_a_block() {
        assert_eq!(
            written("Hello\n\n  there\n").unwrap(),
            "a:\n  value: |\n    Hello\n\n      there\n  updated: 1970-01-01T00:00:01Z\n"
        );
        assert!(written("one\ntwo").unwrap().contains("|-\n"));
        for text in ["one", "", "\n", "\none", " one\ntwo", "one\n\n", "one \ntwo", "a\r\nb", "\tx\ny", "a\u{85}\nb"] {
            assert_eq!(written(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn blocks_are_read_back_here_and_by_serde_yaml(value in "[a #:|>\"'\t\n-]{0,30}", after in "(b: 1\n|# x\n|)") {
            if let Some(text) = written(&value) {
                let (line, len) = read(&format!("{text}{after}")).unwrap();
                prop_assert_eq!(len, text.len());
                let parsed = line.parsed.unwrap();
                prop_assert_eq!(&parsed.value, value.as_bytes());
                let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
                prop_assert_eq!(other["a"]["value"].as_str().unwrap(), &value);
                let hand = crate::yaml::format::handwritten::read(&text, 1).unwrap();
                prop_assert_eq!(&hand[0].0.parsed.as_ref().unwrap().value, value.as_bytes());
            }
        }
    }
}
