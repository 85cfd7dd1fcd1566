//! An entry of a file to import, and its fields as text, which JSON and CSV share.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::model::{ContentType, Error, ErrorKind, Key, Result, Time};

/// An entry of a file that is not stored yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ImportEntry {
    pub(crate) key: Key,
    pub(crate) value: Bytes,
    pub(crate) content_type: ContentType,
    /// Entries are stored in the order of this time.
    pub(crate) updated: Option<Time>,
    /// The modification time that a client gave.
    pub(crate) modified: Option<Time>,
    pub(crate) expires: Option<Time>,
    /// Instead of `expires`: the time to live, counted from the import.
    pub(crate) ttl: Option<Duration>,
}

/// The fields of an entry in JSON or CSV as text, without the key. A missing field is none.
#[derive(Default)]
pub(super) struct TextFields {
    pub(super) value: Option<Bytes>,
    pub(super) base64: Option<String>,
    pub(super) content_type: Option<ContentType>,
    pub(super) updated: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) expires: Option<String>,
}

impl TextFields {
    /// # Errors
    /// `Invalid`; the text has no line.
    pub(super) fn into_entry(self, key: &str) -> Result<ImportEntry> {
        let time = |text: Option<String>| text.map(|text| Time::parse_clamped(&text)).transpose();
        let value = match (self.value, self.base64) {
            (Some(value), None) => value,
            (None, Some(coded)) => STANDARD
                .decode(coded.trim())
                .map(Bytes::from)
                .map_err(|e| Error::new(ErrorKind::Invalid, format!("the base64 of {key:?} is invalid: {e}")))?,
            (None, None) => {
                return Err(Error::new(ErrorKind::Invalid, format!("{key:?} has no value; give it a value or base64")));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("{key:?} has both value and base64; give one of them"),
                ));
            }
        };
        Ok(ImportEntry {
            key: Key::new(key)?,
            value,
            content_type: self.content_type.unwrap_or_default(),
            updated: time(self.updated)?,
            modified: time(self.modified)?,
            expires: self.expires.map(|text| Time::parse_expiry(&text)).transpose()?.flatten(),
            ttl: None,
        })
    }
}

/// The value as text if it is UTF-8, else as base64.
pub(super) fn text_or_base64(value: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(value) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(value))),
    }
}
