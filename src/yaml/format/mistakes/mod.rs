//! Finds the mistakes in a document that cannot be read, and explains them to people: all at once, each with the line
//! where a person would fix it, that line quoted, and what to write instead.
//!
//! The YAML parser reports only where it could not go on, often a line too late. This module cuts the document into
//! entries by their indentation ([`region`]), tries each alone, and examines only those that fail: [`entry`] for a line
//! and its value, [`flow`] for brackets, [`meaning`] for YAML that is not an entry, [`bytes`] for bytes that are not
//! text. What can be read alone is never reported, except a duplicate key.

pub(super) mod bytes;
pub(super) mod entry;
pub(super) mod flow;
pub(super) mod lines;
pub(super) mod meaning;
pub(super) mod odd;
pub(super) mod quoting;
pub(super) mod region;

#[cfg(test)]
mod tests;

use self::lines::{LineRange, MAX_MISTAKES, Mistakes};
use super::parse_error::ParseError;
use super::stream::{RawDocument, newlines};

/// In a longer document only the first mistake is reported.
const MAX_ANALYSED_BYTES: usize = 1 << 20;

/// The mistakes of a document that cannot be read, in the order of its lines: at least one, at most 20.
///
/// `error` is the error of reading it.
pub(crate) fn mistakes(raw: &RawDocument<'_>, error: ParseError) -> Vec<ParseError> {
    if let Some(text) = bytes::foreign(raw.text) {
        return vec![ParseError::new(raw.line, text)];
    }
    let mut found = Mistakes::default();
    let text = String::from_utf8_lossy(raw.text);
    let lines: Vec<&str> = text.lines().collect();
    let part = LineRange { lines: &lines, first: raw.line };
    if raw.text.len() <= MAX_ANALYSED_BYTES {
        bytes::not_utf8(raw, &mut found);
        let mut within = Mistakes::default();
        region::document(part, &mut within);
        for (line, text) in within.errors {
            found.add(line, text);
        }
    }
    if found.errors.is_empty() {
        let last = raw.line + newlines(raw.text);
        let line = if error.line == 0 { 0 } else { error.line.clamp(raw.line, last) };
        found.add(line, meaning::explain(part, &ParseError { line, ..error }));
    }
    found.errors.into_iter().take(MAX_MISTAKES).map(|(line, text)| ParseError::new(line, text)).collect()
}
