//! The fields that checks and operations have in common.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::model::{Key, Revision, Time};
use crate::web::request::json_fields::JsonFields;

/// A time in RFC 3339.
pub(super) fn time(name: &str, text: &str) -> Result<Time, String> {
    Time::parse_clamped(text).map_err(|error| format!("{name}: {error}"))
}

pub(super) fn revision(name: &str, text: &str) -> Result<Revision, String> {
    text.parse().map_err(|error: crate::model::Error| format!("{name}: {error}"))
}

pub(super) fn key(fields: &JsonFields<'_>) -> Result<Key, String> {
    Key::new(&fields.required("key")?).map_err(|error| format!("key: {error}"))
}

/// The value, if the object has one.
pub(super) fn value(fields: &JsonFields<'_>) -> Result<Option<Bytes>, String> {
    match (fields.text("value")?, fields.text("base64")?) {
        (Some(_), Some(_)) => Err("send value or base64, not both".to_owned()),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}
