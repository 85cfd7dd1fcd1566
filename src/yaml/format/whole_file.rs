//! Reading all documents of a file, and finding all errors in it.

use super::mistakes::mistakes;
use super::parse_error::ParseError;
use super::reader::{Document, read, read_snapshot};
use super::stream::{RawDocument, YamlStream, newlines, split};

/// At most this many errors of a file are shown.
pub(crate) const MAX_ERRORS: usize = 20;

/// The documents up to the first one that cannot be read, and the errors of all documents.
pub(crate) fn documents(stream: &YamlStream<'_>) -> (Vec<Document>, Vec<ParseError>) {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for (n, raw) in stream.documents.iter().enumerate() {
        match if n == 0 { read_snapshot(raw) } else { read(raw) } {
            Ok(document) if errors.is_empty() => documents.push(document),
            Ok(_) => {}
            Err(error) => errors.extend(mistakes(raw, error)),
        }
    }
    (documents, errors)
}

/// The errors in a file whose first `durable` bytes are certainly durable; at most [`MAX_ERRORS`].
pub(crate) fn errors(bytes: &[u8], durable: u64) -> Vec<ParseError> {
    let stream = split(bytes);
    let (_, mut errors) = documents(&stream);
    errors.extend(torn_stored_data(bytes, &stream, durable));
    errors.truncate(MAX_ERRORS);
    errors
}

/// The error of a torn tail that begins before `durable`: those bytes were stored, so they are damaged, not torn.
pub(crate) fn torn_stored_data(bytes: &[u8], stream: &YamlStream<'_>, durable: u64) -> Option<ParseError> {
    let start = stream.torn.filter(|at| (*at as u64) < durable)?;
    let (before, text) = bytes.split_at_checked(start)?;
    let line = 1 + newlines(before);
    if let Some(at) = memchr::memchr(0, text) {
        let line = line + newlines(text.get(..at).unwrap_or_default());
        let text = "a NUL byte in stored data; restore the line from a backup";
        return Some(ParseError::new(line, text));
    }
    let raw = RawDocument { text, line, start, end: bytes.len(), ended: false };
    // The end mark is usually not found because of an error in the text.
    let text = "stored data begins here, but its end mark, a line `...`, is missing; add the mark again";
    Some(read(&raw).err().unwrap_or_else(|| ParseError::new(line, text)))
}
