//! An entry as JSON, as the responses of the HTTP API have it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{ContentType, Entry, Error, ErrorKind, Key, Result, Time};

/// An entry.
#[derive(Deserialize)]
pub(crate) struct JsonEntry {
    key: String,
    value: Option<String>,
    base64: Option<String>,
    r#type: String,
    revision: String,
    created: String,
    modified: Option<String>,
    expires: Option<String>,
}

impl JsonEntry {
    pub(crate) fn into_entry(self) -> Result<(Key, Entry)> {
        let time = |text: Option<String>| text.map(|text| Time::parse_clamped(&text)).transpose();
        let entry = Entry {
            value: bytes(self.value, self.base64)?,
            content_type: ContentType::new(&self.r#type)?,
            revision: self.revision.parse()?,
            created: Time::parse_clamped(&self.created)?,
            modified: time(self.modified)?,
            expires: time(self.expires)?,
        };
        Ok((Key::new(&self.key)?, entry))
    }
}

/// A value that is text or base64.
pub(crate) fn bytes(text: Option<String>, base64: Option<String>) -> Result<Bytes> {
    let invalid = |text: String| Error::new(ErrorKind::Invalid, text);
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| invalid(format!("base64: {error}")))?;
            Ok(bytes.into())
        }
        _ => Err(invalid("an entry needs either value or base64".to_owned())),
    }
}

/// A value in a request: as text if it is UTF-8 and not longer so.
#[derive(Serialize)]
pub(crate) struct JsonValueMember<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Cow<'a, str>>,
}

impl<'a> JsonValueMember<'a> {
    pub(crate) fn new(value: &'a Bytes) -> Self {
        // A control character takes six bytes as text, so a text of many is shorter in base64.
        let controls = value.iter().filter(|byte| byte.is_ascii_control() || **byte == b'"' || **byte == b'\\').count();
        match std::str::from_utf8(value) {
            Ok(text) if controls <= 64.max(value.len() / 16) => Self { value: Some(text), base64: None },
            _ => Self { value: None, base64: Some(STANDARD.encode(value).into()) },
        }
    }
}
