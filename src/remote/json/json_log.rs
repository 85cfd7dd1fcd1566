//! Entries and pages of logs as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json_entry::{JsonValueMember, bytes};
use crate::model::{ContentType, LogEntry, LogPage, NewLogEntry, Result, Retention, Time, parse_span};

/// A line of a body to append.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    value: JsonValueMember<'a>,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
}

/// Entries as lines.
pub(crate) fn lines(entries: &[NewLogEntry]) -> Vec<u8> {
    let mut out = vec![];
    for entry in entries {
        let line = Line {
            value: JsonValueMember::new(&entry.value),
            r#type: entry.content_type.as_str(),
            updated: entry.updated.map(|time| time.to_string()),
        };
        // Texts can always be written to memory.
        let _ = serde_json::to_writer(&mut out, &line);
        out.push(b'\n');
    }
    out
}

#[derive(Deserialize)]
pub(crate) struct JsonPage {
    entries: Vec<JsonLogEntry>,
    first: u64,
    end: u64,
    keep: Option<u64>,
    keep_for: Option<String>,
}

#[derive(Deserialize)]
struct JsonLogEntry {
    index: u64,
    value: Option<String>,
    base64: Option<String>,
    r#type: Option<String>,
    updated: String,
}

impl JsonPage {
    pub(crate) fn into_page(self) -> Result<LogPage> {
        let max_age: Option<Duration> = self.keep_for.as_deref().map(parse_span).transpose()?;
        let entries = self.entries.into_iter().map(JsonLogEntry::into_entry).collect::<Result<_>>()?;
        let retention = Retention { max_entries: self.keep, max_age };
        Ok(LogPage { entries, first: self.first, next: self.end, retention })
    }
}

impl JsonLogEntry {
    fn into_entry(self) -> Result<LogEntry> {
        let content_type = self.r#type.as_deref().map(ContentType::new).transpose()?;
        Ok(LogEntry {
            index: self.index,
            value: bytes(self.value, self.base64)?,
            content_type: content_type.unwrap_or_default(),
            updated: Time::parse_clamped(&self.updated)?,
        })
    }
}
