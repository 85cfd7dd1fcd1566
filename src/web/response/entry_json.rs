//! An entry as JSON, with all its fields.
//!
//! A revision is a string, because it exceeds the integers that JavaScript represents exactly. Times are RFC 3339.

use bytes::Bytes;
use serde::Serialize;

use super::api_error::ApiError;
use super::streamed::{Composer, Content};
use crate::model::{Entry, Time};
use crate::web::budget::Budget;
use crate::web::entry_name::EntryName;

/// The fields before the value.
#[derive(Serialize)]
struct NameFields<'a> {
    bucket: &'a str,
    key: &'a str,
}

/// The fields after the value.
#[derive(Serialize)]
struct Meta<'a> {
    r#type: &'a str,
    revision: String,
    updated: String,
    created: String,
    modified: Option<String>,
    expires: Option<String>,
}

impl<'a> Meta<'a> {
    fn new(entry: &'a Entry) -> Self {
        let time = |time: Option<Time>| time.map(|t| t.to_string());
        Self {
            r#type: entry.content_type.as_str(),
            revision: entry.revision.to_string(),
            updated: entry.updated().to_string(),
            created: entry.created.to_string(),
            modified: time(entry.modified),
            expires: time(entry.expires),
        }
    }
}

/// Adds an entry as JSON.
pub(crate) fn entry(out: &mut Composer, name: EntryName<'_>, entry: &Entry) -> Result<(), ApiError> {
    out.open_object(&NameFields { bucket: name.bucket.as_str(), key: name.key.as_str() })?;
    out.text(",");
    value_member(out, &entry.value);
    out.close_object(&Meta::new(entry))
}

/// Adds an entry, or null if there is none.
pub(crate) fn entry_or_null(out: &mut Composer, name: EntryName<'_>, found: Option<&Entry>) -> Result<(), ApiError> {
    let Some(found) = found else {
        out.text("null");
        return Ok(());
    };
    entry(out, name, found)
}

/// An entry as JSON.
pub(crate) fn entry_content(name: EntryName<'_>, entry: &Entry, budget: &Budget) -> Result<Content, ApiError> {
    let mut out = Composer::default();
    charge(&mut out, &entry.value);
    self::entry(&mut out, name, entry)?;
    out.finish(budget)
}

/// Adds a value: a string if it is UTF-8, else an object with its bytes as `base64`.
pub(crate) fn value(out: &mut Composer, value: &Bytes) {
    if std::str::from_utf8(value).is_ok() {
        return out.string(value);
    }
    out.text("{");
    value_member(out, value);
    out.text("}");
}

fn value_member(out: &mut Composer, value: &Bytes) {
    let is_text = std::str::from_utf8(value).is_ok();
    out.text(if is_text { "\"value\":" } else { "\"base64\":" });
    out.string(value);
}

/// Charges a value to the budget of the response if nothing else refers to its memory.
pub(crate) fn charge(out: &mut Composer, value: &Bytes) {
    if value.is_unique() {
        out.charge(value.len());
    }
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| ApiError::internal(&format!("cannot write JSON: {error}")))
}
