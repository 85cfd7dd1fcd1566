//! A field of CSV (RFC 4180).

use std::borrow::Cow;

/// The field, in quotes if it needs them.
pub(crate) fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
