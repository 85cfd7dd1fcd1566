//! An entry as JSON, with all its fields.
//!
//! A revision is a string, because it exceeds the integers that JavaScript represents exactly. Times are RFC 3339.

use bytes::Bytes;
use serde::Serialize;

use super::api_error::ApiError;
use super::streamed::{Composer, Content};
use crate::model::{Bucket, Entry, Key, Time};
use crate::web::budget::Budget;

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
pub(crate) fn entry(out: &mut Composer, (bucket, key): (&Bucket, &Key), entry: &Entry) -> Result<(), ApiError> {
    out.open(&NameFields { bucket: bucket.as_str(), key: key.as_str() })?;
    out.text(",");
    member(out, &entry.value);
    out.close(&Meta::new(entry))
}

/// Adds an entry, or null if there is none.
pub(crate) fn found(out: &mut Composer, name: (&Bucket, &Key), found: Option<&Entry>) -> Result<(), ApiError> {
    let Some(found) = found else {
        out.text("null");
        return Ok(());
    };
    entry(out, name, found)
}

/// An entry as JSON.
pub(crate) fn alone(name: (&Bucket, &Key), shown: &Entry, budget: &Budget) -> Result<Content, ApiError> {
    let mut out = Composer::default();
    hold(&mut out, &shown.value);
    entry(&mut out, name, shown)?;
    out.finish(budget)
}

/// Adds a value: a string if it is UTF-8, else an object with its bytes as `base64`.
pub(crate) fn value(out: &mut Composer, value: &Bytes) {
    if std::str::from_utf8(value).is_ok() {
        return out.string(value);
    }
    out.text("{");
    member(out, value);
    out.text("}");
}

fn member(out: &mut Composer, value: &Bytes) {
    let is_text = std::str::from_utf8(value).is_ok();
    out.text(if is_text { "\"value\":" } else { "\"base64\":" });
    out.string(value);
}

/// Charges a value to the budget of the response if nothing else holds its memory.
pub(crate) fn hold(out: &mut Composer, value: &Bytes) {
    if value.is_unique() {
        out.hold(value.len());
    }
}

/// A value as JSON.
pub(crate) fn json(shown: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(shown)
        .map(Bytes::from)
        .map_err(|error| ApiError::internal(&format!("cannot write JSON: {error}")))
}
