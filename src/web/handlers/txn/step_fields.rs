//! The fields that checks and operations have in common.

use bytes::Bytes;

use crate::model::Revision;
use crate::web::request::json_fields::JsonFields;

pub(super) fn revision(name: &str, text: &str) -> Result<Revision, String> {
    text.parse().map_err(|error: crate::model::Error| format!("{name}: {error}"))
}

/// The value, if the object has one.
pub(super) fn value(fields: &JsonFields<'_>) -> Result<Option<Bytes>, String> {
    match (fields.text("value")?, fields.base64()?) {
        (Some(_), Some(_)) => Err("send value or base64, not both".to_owned()),
        (Some(text), None) => Ok(Some(text.into())),
        (None, bytes) => Ok(bytes),
    }
}
