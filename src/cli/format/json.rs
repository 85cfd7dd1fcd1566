//! JSON (RFC 8259): a list of objects with `key` and `value`, as exports have it, or one object with keys and values.
//!
//! Numbers, `true` and `false` keep their spelling, so `21.50` stays `21.50`. Objects and lists are stored as JSON text
//! of type `application/json`. `null` is not a value.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use serde::de::{DeserializeSeed as _, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::import_entry::{ImportEntry, TextFields, text_or_base64};
use crate::client::WatchEvent;
use crate::model::{Bucket, ContentType, Entry, Error, ErrorKind, Key, LogEntry, Result};

/// A change, as the HTTP API has it.
#[derive(Serialize)]
struct ChangeRow<'a> {
    event: &'a str,
    id: String,
    bucket: &'a str,
    #[serde(flatten)]
    entry: Option<ExportedRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// A change on one line.
pub(crate) fn change_line(bucket: &Bucket, event: &WatchEvent) -> Result<String> {
    let (name, entry, key) = match event {
        WatchEvent::Put { key, entry, .. } => ("put", Some(ExportedRow::new(key, entry)), None),
        WatchEvent::Delete { key, .. } => ("delete", None, Some(key.as_str())),
        WatchEvent::Reset { .. } => ("reset", None, None),
    };
    let row = ChangeRow { event: name, id: event.revision().to_string(), bucket: bucket.as_str(), entry, key };
    serde_json::to_string(&row).map_err(|error| Error::new(ErrorKind::Invalid, format!("cannot write JSON: {error}")))
}

/// An entry of a log, as the HTTP API has it.
#[derive(Serialize)]
struct LogRow<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    updated: String,
}

/// An entry of a log on one line.
pub(crate) fn log_line(entry: &LogEntry) -> Result<String> {
    let json = entry.as_json_line().and_then(|json| RawValue::from_string(json).ok());
    let usual_type = if json.is_some() { ContentType::JSON } else { ContentType::TEXT };
    let (value, base64) = if json.is_some() { (None, None) } else { text_or_base64(&entry.value) };
    let content_type = entry.content_type.as_str();
    let r#type = (content_type != usual_type).then_some(content_type);
    let row = LogRow { index: entry.index, json, value, base64, r#type, updated: entry.updated.to_string() };
    serde_json::to_string(&row).map_err(|error| Error::new(ErrorKind::Invalid, format!("cannot write JSON: {error}")))
}

/// An object of the list in an export.
#[derive(Serialize)]
struct ExportedRow<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    r#type: &'a str,
    revision: String,
    updated: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl<'a> ExportedRow<'a> {
    fn new(key: &'a Key, entry: &'a Entry) -> Self {
        let (value, base64) = text_or_base64(&entry.value);
        Self {
            key: key.as_str(),
            value,
            base64,
            r#type: entry.content_type.as_str(),
            revision: entry.revision.to_string(),
            updated: entry.updated().to_string(),
            created: entry.created.to_string(),
            modified: entry.modified.map(|time| time.to_string()),
            expires: entry.expires.map(|time| time.to_string()),
        }
    }
}

/// Writes a list with one entry per line.
pub(crate) fn write<'a>(entries: impl Iterator<Item = (&'a Key, &'a Entry)>, to: &mut impl Write) -> io::Result<()> {
    let mut before = "[\n";
    for (key, entry) in entries {
        to.write_all(before.as_bytes())?;
        serde_json::to_writer(&mut *to, &ExportedRow::new(key, entry))?;
        before = ",\n";
    }
    to.write_all(if before == "[\n" { b"[]\n" } else { b"\n]\n" })
}

/// An object of the list in an import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportedRow<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    base64: Option<String>,
    r#type: Option<String>,
    updated: Option<String>,
    modified: Option<String>,
    expires: Option<String>,
    // The store sets these.
    #[serde(rename = "created")]
    _created: Option<IgnoredAny>,
    #[serde(rename = "revision")]
    _revision: Option<IgnoredAny>,
    #[serde(rename = "bucket")]
    _bucket: Option<IgnoredAny>,
}

pub(crate) fn read(text: &str) -> Result<Vec<ImportEntry>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let entries = parser.deserialize_any(FileVisitor).and_then(|entries| parser.end().map(|()| entries));
    entries.map_err(|e| {
        let text = e.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(front, _)| front);
        Error::new(ErrorKind::Invalid, format!("line {}: {text}", e.line()))
    })
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = Vec<ImportEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with keys and values, or a list of objects with \"key\" and \"value\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::default();
        while let Some(key) = map.next_key::<String>()? {
            let raw: &RawValue = map.next_value()?;
            entries.add(&key, Some(raw), TextFields::default()).map_err(A::Error::custom)?;
        }
        Ok(entries.all)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::default();
        while let Some(row) = seq.next_element::<ImportedRow<'de>>()? {
            let content_type = row.r#type.as_deref().map(ContentType::new).transpose().map_err(A::Error::custom)?;
            let fields = TextFields {
                value: None,
                base64: row.base64,
                content_type,
                updated: row.updated,
                modified: row.modified,
                expires: row.expires,
            };
            entries.add(&row.key, row.value, fields).map_err(A::Error::custom)?;
        }
        Ok(entries.all)
    }
}

/// The entries so far, each key once.
#[derive(Default)]
struct Entries {
    all: Vec<ImportEntry>,
    seen: HashSet<Key>,
}

impl Entries {
    fn add(&mut self, key: &str, raw: Option<&RawValue>, mut fields: TextFields) -> Result<()> {
        if let Some(raw) = raw {
            let (value, own_type) = value(key, raw.get())?;
            fields.value = Some(value);
            fields.content_type = fields.content_type.or(own_type);
        }
        let entry = fields.into_entry(key)?;
        if !self.seen.insert(entry.key.clone()) {
            return Err(Error::new(ErrorKind::Invalid, format!("the key {key:?} is given twice; remove one")));
        }
        self.all.push(entry);
        Ok(())
    }
}

/// The bytes to store for a JSON value, and `application/json` if it is an object or a list.
fn value(key: &str, raw: &str) -> Result<(Bytes, Option<ContentType>)> {
    let literal = || Bytes::copy_from_slice(raw.as_bytes());
    match raw.as_bytes().first() {
        Some(b'"') => {
            let mut parser = serde_json::Deserializer::from_str(raw);
            let text = std::marker::PhantomData::<String>.deserialize(&mut parser);
            let bad = |e: serde_json::Error| {
                let text = e.to_string();
                let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(front, _)| front).to_owned();
                Error::new(ErrorKind::Invalid, format!("the value of {key:?}: {text}"))
            };
            Ok((text.map_err(bad)?.into(), None))
        }
        Some(b'{' | b'[') => Ok((literal(), Some(ContentType::new("application/json")?))),
        Some(b'n') => Err(Error::new(ErrorKind::Invalid, format!("null is not a value; leave out the key {key:?}"))),
        _ => Ok((literal(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, String)> {
        let show = |r: ImportEntry| {
            let value = String::from_utf8(r.value.to_vec()).unwrap();
            (r.key.to_string(), value, r.content_type.essence())
        };
        read(text).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn values_of_an_object_keep_their_spelling() {
        let text = r#"{"s":"a\n\u00e4","n":21.50,"big":123456789012345678901234567890,"t":true,"o":{"x": [1]}}"#;
        let plain = "text/plain";
        let expected = [
            ("s", "a\nä", plain),
            ("n", "21.50", plain),
            ("big", "123456789012345678901234567890", plain),
            ("t", "true", plain),
            ("o", r#"{"x": [1]}"#, "application/json"),
        ];
        let expected = expected.map(|(k, v, t)| (k.to_owned(), v.to_owned(), t.to_owned()));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_list_has_types_and_expiry_times() {
        let text = r#"[{"key":"a","value":"<b>","type":"text/html","expires":"2030-01-01T00:00:00Z","bucket":"x"},
                       {"key":"b","base64":"/wA="}]"#;
        let entries = read(text).unwrap();
        assert_eq!(entries[0].content_type.as_str(), "text/html");
        assert_eq!(entries[0].expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
        assert_eq!(entries[1].value.as_ref(), b"\xff\x00");
    }

    #[test]
    fn errors_have_their_line() {
        for (text, expected) in [
            ("{\"a\":1,\n\"b\":null}", "line 2: null is not a value"),
            ("{\"a\":1,\n\"a\":2}", "line 2: the key \"a\" is given twice"),
            ("{\"\":1}", "line 1: bad key"),
            ("[\n{\"key\":\"a\"}]", "line 2: \"a\" has no value"),
            ("[{\"key\":\"a\",\"value\":\"x\",\"base64\":\"eA==\"}]", "give one of them"),
            ("[{\"key\":\"a\",\"base64\":\"!\"}]", "base64"),
            ("[{\"key\":\"a\",\"value\":\"x\",\n\"valeu\":1}]", "line 2: unknown field"),
            ("[{\"key\":\"a\",\"value\":\"x\",\"expires\":\"soon\"}]", "bad time"),
            ("[{\"key\":\"a\",\"value\":\"x\",\"type\":\"html\"}]", "bad content type"),
            ("[{\"key\":\"a\",\"value\":\"\\ud800\"}]", "line 1: "),
            ("{\"a\":1}\n{", "line 2: "),
            ("\"a\"", "line 1: "),
            ("", "line "),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text} gave {error}");
        }
    }
}
