//! An entry as JSON, with all its fields.
//!
//! A revision is a string, because it exceeds the integers that JavaScript represents exactly. Times are RFC 3339.

use bytes::Bytes;
use serde::Serialize;

use super::api_error::ApiError;
use super::streamed::{Composer, Content};
use crate::model::{Bucket, Entry, KeyChange, Time};
use crate::web::budget::Budget;
use crate::web::entry_name::EntryName;

/// The fields before the value.
#[derive(Serialize)]
struct NameFields<'a> {
    bucket: &'a str,
    key: &'a str,
}

/// The fields before the value of a change.
#[derive(Serialize)]
struct ChangeFields<'a> {
    event: &'a str,
    /// The revision of the change.
    id: String,
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

/// The name of a change in JSON and in event streams.
pub(crate) fn event_name(change: &KeyChange) -> &'static str {
    if change.entry.is_some() { "put" } else { "delete" }
}

/// Adds a change as JSON: with the entry as it is now, if there is one.
pub(crate) fn change(out: &mut Composer, bucket: &Bucket, change: &KeyChange) -> Result<(), ApiError> {
    let (event, id) = (event_name(change), change.revision.to_string());
    let fields = ChangeFields { event, id, bucket: bucket.as_str(), key: change.key.as_str() };
    let Some(entry) = &change.entry else { return out.json(&fields) };
    charge(out, &entry.value);
    out.open_object(&fields)?;
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

/// Adds a value as the member `value` or `base64`.
pub(crate) fn value_member(out: &mut Composer, value: &Bytes) {
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
