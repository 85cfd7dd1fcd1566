//! An entry as JSON, with all that is known of it.
//!
//! A revision is text, since it exceeds the numbers that JavaScript keeps exactly; times are those of RFC 3339.

use bytes::Bytes;
use serde::Serialize;

use super::budget::Budget;
use super::compose::{Composer, Content};
use super::reply::Refusal;
use crate::model::{Bucket, Entry, Key, Time};

/// What stands before the value.
#[derive(Serialize)]
struct Name<'a> {
    bucket: &'a str,
    key: &'a str,
}

/// What stands behind it.
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
pub(crate) fn entry(out: &mut Composer, (bucket, key): (&Bucket, &Key), entry: &Entry) -> Result<(), Refusal> {
    out.open(&Name { bucket: bucket.as_str(), key: key.as_str() })?;
    out.text(",");
    member(out, &entry.value);
    out.close(&Meta::new(entry))
}

/// Adds an entry, or null if there is none.
pub(crate) fn found(out: &mut Composer, name: (&Bucket, &Key), found: Option<&Entry>) -> Result<(), Refusal> {
    let Some(found) = found else {
        out.text("null");
        return Ok(());
    };
    entry(out, name, found)
}

/// An entry as JSON.
pub(crate) fn alone(name: (&Bucket, &Key), shown: &Entry, budget: &Budget) -> Result<Content, Refusal> {
    let mut out = Composer::default();
    hold(&mut out, &shown.value);
    entry(&mut out, name, shown)?;
    out.finish(budget)
}

/// Adds a value: text if it is text, else an object that says how its bytes are written.
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

/// Charges a value if it is held by this answer alone.
pub(crate) fn hold(out: &mut Composer, value: &Bytes) {
    if value.is_unique() {
        out.hold(value.len());
    }
}

/// Anything as JSON.
pub(crate) fn json(shown: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(shown).map(Bytes::from).map_err(|error| Refusal::internal(&format!("writing JSON: {error}")))
}
