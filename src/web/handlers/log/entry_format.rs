//! The entries of a log as NDJSON, JSON, CSV (RFC 4180) and text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::model::{ContentType, LogEntry, LogPage, Retention};
use crate::web::budget::Budget;
use crate::web::request::form::QueryString;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::{Composer, Content};
use crate::web::response::{csv_field, entry_json};

/// The format of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LogFormat {
    Ndjson,
    Json,
    Csv,
    Text,
}

/// The fields of an entry after its value.
#[derive(Serialize)]
struct Meta<'a> {
    /// Missing if it is that of text or JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    updated: String,
}

#[derive(Serialize)]
struct Index {
    index: u64,
}

/// The fields of a page after its entries.
#[derive(Serialize)]
struct Bounds {
    first: u64,
    next: u64,
    end: u64,
    keep: Option<u64>,
    keep_for: Option<String>,
}

/// How a value is written in NDJSON and JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling {
    /// JSON is a part of the JSON around it.
    Readable,
    /// `exact`: every byte as it was appended, as text or base64.
    Exact,
}

impl Spelling {
    pub(super) fn parse(query: QueryString<'_>) -> Result<Self, ApiError> {
        Ok(if query.flag("exact")? { Self::Exact } else { Self::Readable })
    }
}

impl LogFormat {
    /// Parses `format`.
    pub(super) fn parse(query: QueryString<'_>) -> Result<Self, ApiError> {
        match query.text("format")?.as_deref() {
            None | Some("ndjson") => Ok(Self::Ndjson),
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("text") => Ok(Self::Text),
            Some(other) => {
                let other = number::quote(other);
                Err(ApiError::invalid(format!("format must be ndjson, json, csv or text, got {other}")))
            }
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The body of a response with a page.
    pub(super) fn body(self, page: &LogPage, spelling: Spelling, budget: &Budget) -> Result<Content, ApiError> {
        let mut out = Composer::default();
        match self {
            Self::Ndjson => {
                for found in &page.entries {
                    entry(&mut out, found, spelling)?;
                    out.text("\n");
                }
            }
            Self::Json => {
                out.text("{\"entries\":[");
                for (number, found) in page.entries.iter().enumerate() {
                    out.text(if number == 0 { "" } else { "," });
                    entry(&mut out, found, spelling)?;
                }
                out.text("]");
                let Retention { max_entries: keep, max_age } = page.retention;
                let keep_for = max_age.map(|age| format!("{}ms", age.as_millis()));
                out.close_object(&Bounds { first: page.first, next: page.end(), end: page.next, keep, keep_for })?;
            }
            Self::Csv => return Content::from(csv(page)).charge_if_unique(budget),
            Self::Text => {
                let lines = page.entries.iter().flat_map(|entry| [&entry.value[..], b"\n"]);
                return Content::from(Bytes::from(lines.collect::<Vec<_>>().concat())).charge_if_unique(budget);
            }
        }
        out.finish(budget)
    }
}

/// Adds an entry as JSON on one line.
pub(super) fn entry(out: &mut Composer, entry: &LogEntry, spelling: Spelling) -> Result<(), ApiError> {
    entry_json::charge(out, &entry.value);
    out.open_object(&Index { index: entry.index })?;
    out.text(",");
    let json = if spelling == Spelling::Readable { entry.as_json_line() } else { None };
    let is_usual_type = if let Some(json) = json {
        out.text("\"json\":");
        out.text(&json);
        entry.content_type.as_str() == ContentType::JSON
    } else {
        entry_json::value_member(out, &entry.value);
        entry.content_type.is_default()
    };
    let r#type = (!is_usual_type).then_some(entry.content_type.as_str());
    out.close_object(&Meta { r#type, updated: entry.updated.to_string() })
}

fn csv(page: &LogPage) -> Bytes {
    let mut out = String::from("index,updated,value\r\n");
    for entry in &page.entries {
        let value = match std::str::from_utf8(&entry.value) {
            Ok(text) => csv_field::quoted(text),
            Err(_) => STANDARD.encode(&entry.value).into(),
        };
        out += &format!("{},{},{value}\r\n", entry.index, entry.updated);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    fn text(format: LogFormat, entries: Vec<(&'static [u8], &str)>) -> String {
        let entry = |(index, (value, content_type)): (usize, (&'static [u8], &str))| LogEntry {
            index: index as u64,
            value: value.into(),
            content_type: ContentType::new(content_type).unwrap(),
            updated: Time::from_secs(1),
        };
        let entries = entries.into_iter().enumerate().map(entry).collect();
        let page = LogPage { entries, first: 0, next: 9, ..LogPage::default() };
        let mut out = vec![];
        format
            .body(&page, Spelling::Readable, &Budget::default())
            .unwrap()
            .for_each_part(|part| out.extend_from_slice(part));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_have_one_line_each() {
        let entries: Vec<(&[u8], &str)> = vec![
            (b"21.5", ContentType::TEXT),
            (b"{\n\"t\": 1.50}\n", ContentType::JSON),
            (b"{", ContentType::JSON),
            (b"\xff", "image/png"),
            (b"a\n\"b\"", "text/csv"),
        ];
        let at = r#""updated":"1970-01-01T00:00:01Z"}"#;
        let lines = [
            format!(r#"{{"index":0,"value":"21.5",{at}"#),
            format!(r#"{{"index":1,"json":{{ "t": 1.50}},{at}"#),
            format!(r#"{{"index":2,"value":"{{","type":"application/json",{at}"#),
            format!(r#"{{"index":3,"base64":"/w==","type":"image/png",{at}"#),
            format!(r#"{{"index":4,"value":"a\n\"b\"","type":"text/csv",{at}"#),
        ];
        assert_eq!(text(LogFormat::Ndjson, entries.clone()), lines.join("\n") + "\n");
        let json =
            format!(r#"{{"entries":[{}],"first":0,"next":5,"end":9,"keep":null,"keep_for":null}}"#, lines.join(","));
        assert_eq!(text(LogFormat::Json, entries.clone()), json);
        let csv = text(LogFormat::Csv, entries.clone());
        assert!(csv.starts_with("index,updated,value\r\n0,1970-01-01T00:00:01Z,21.5\r\n"), "{csv}");
        assert!(csv.contains("3,1970-01-01T00:00:01Z,/w==\r\n") && csv.ends_with("Z,\"a\n\"\"b\"\"\"\r\n"), "{csv}");
        assert_eq!(text(LogFormat::Text, entries[..1].to_vec()), "21.5\n");
    }
}
