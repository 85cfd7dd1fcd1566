//! An entry as JSON, with all that is known of it.
//!
//! A revision is text, since it exceeds the numbers that JavaScript keeps exactly; times are those of RFC 3339.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::reply::Refusal;
use crate::model::{Bucket, Entry, Key, Time};

/// An entry as JSON.
#[derive(Serialize)]
pub(crate) struct Meta<'a> {
    bucket: &'a str,
    key: &'a str,
    #[serde(flatten)]
    value: Value<'a>,
    r#type: &'a str,
    revision: String,
    updated: String,
    created: String,
    modified: Option<String>,
    expires: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Value<'a> {
    Value(&'a str),
    Base64(String),
}

impl<'a> Meta<'a> {
    pub(crate) fn new(bucket: &'a Bucket, key: &'a Key, entry: &'a Entry) -> Self {
        let time = |time: Option<Time>| time.map(|t| t.to_string());
        Self {
            bucket: bucket.as_str(),
            key: key.as_str(),
            value: std::str::from_utf8(&entry.value)
                .map_or_else(|_| Value::Base64(STANDARD.encode(&entry.value)), Value::Value),
            r#type: entry.content_type.as_str(),
            revision: entry.revision.to_string(),
            updated: entry.updated().to_string(),
            created: entry.created.to_string(),
            modified: time(entry.modified),
            expires: time(entry.expires),
        }
    }
}

/// Anything as JSON.
pub(crate) fn json(shown: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(shown).map(Bytes::from).map_err(|error| {
        tracing::error!("writing JSON: {error}");
        Refusal::internal()
    })
}

/// A value as JSON: text if it is text, else an object that says how its bytes are written.
pub(crate) fn value(bytes: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({ "base64": STANDARD.encode(bytes) }),
    }
}
