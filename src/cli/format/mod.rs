//! The formats of export and import. They know entries and bytes; no store and no file.
//!
//! Whatever is written in a format is read from it as the same keys, values, types and ends.

mod csv;
mod json;
mod rows;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;

use crate::model::{ContentType, Entry, Error, Key, Kind, Result, Time};
use crate::yaml;

/// A format of files of keys and values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Format {
    /// The format of the store's own files; or a plain mapping of keys to values
    Yaml,
    /// A list of objects; or one object of keys and values
    Json,
    /// Rows under a header: key,value[,base64,type,updated,created,modified,expires]
    Csv,
}

/// A key with its value and what was given of it, not stored yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Record {
    /// The key.
    pub(in crate::cli) key: Key,
    /// The value.
    pub(in crate::cli) value: Bytes,
    /// Its type.
    pub(in crate::cli) content_type: ContentType,
    /// When it was written: later ones are to be written later.
    pub(in crate::cli) updated: Option<Time>,
    /// The client's time of modification.
    pub(in crate::cli) modified: Option<Time>,
    /// When it ends.
    pub(in crate::cli) expires: Option<Time>,
    /// How long it lives from now on, if that is given instead.
    pub(in crate::cli) ttl: Option<Duration>,
}

impl Format {
    /// The format that the name of a file tells, if it does.
    pub(in crate::cli) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name.contains(".yaml.overwritten-") {
            return Some(Self::Yaml);
        }
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// What stands in that text, in its order.
    ///
    /// # Errors
    /// `Invalid`, beginning with the line.
    pub(in crate::cli) fn read(self, bytes: &[u8]) -> Result<Vec<Record>> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let line = memchr::memchr_iter(b'\n', good).count() + 1;
            Error::new(Kind::Invalid, format!("line {line}: this is not UTF-8; save the file as UTF-8"))
        })?;
        // Some editors put a byte order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Yaml => read_yaml(text),
            Self::Json => json::read(text),
            Self::Csv => csv::read(text),
        }
    }

    /// Writes these entries.
    pub(in crate::cli) fn write<'a>(
        self,
        entries: impl Iterator<Item = (&'a Key, &'a Entry)> + Clone,
        to: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Yaml => to.write_all(yaml::write_text(entries).as_bytes()),
            Self::Json => json::write(entries, to),
            Self::Csv => csv::write(entries, to),
        }
    }
}

fn read_yaml(text: &str) -> Result<Vec<Record>> {
    let record = |(key, given): (Key, yaml::Given)| Record {
        key,
        value: given.value,
        content_type: given.content_type,
        updated: given.updated,
        modified: given.modified,
        expires: given.expires,
        ttl: given.ttl,
    };
    Ok(yaml::read_text(text)?.into_iter().map(record).collect())
}

/// The texts that a row of JSON or CSV gives beside its key. Absent is absent, not empty.
#[derive(Default)]
struct Given {
    value: Option<Bytes>,
    base64: Option<String>,
    content_type: Option<ContentType>,
    updated: Option<String>,
    modified: Option<String>,
    expires: Option<String>,
}

impl Given {
    /// The record of that key.
    ///
    /// # Errors
    /// `Invalid`, without a position.
    fn record(self, key: &str) -> Result<Record> {
        let time = |text: Option<String>| text.map(|text| Time::parse_clamped(&text)).transpose();
        let value = match (self.value, self.base64) {
            (Some(value), None) => value,
            (None, Some(coded)) => STANDARD
                .decode(coded.trim())
                .map(Bytes::from)
                .map_err(|e| Error::new(Kind::Invalid, format!("the base64 of {key:?} is damaged: {e}")))?,
            (None, None) => return Err(Error::new(Kind::Invalid, format!("{key:?} has no value"))),
            (Some(_), Some(_)) => {
                return Err(Error::new(Kind::Invalid, format!("{key:?} has a value and base64; give one")));
            }
        };
        Ok(Record {
            key: Key::new(key)?,
            value,
            content_type: self.content_type.unwrap_or_default(),
            updated: time(self.updated)?,
            modified: time(self.modified)?,
            expires: self.expires.map(|text| Time::parse_expiry(&text)).transpose()?.flatten(),
            ttl: None,
        })
    }
}

/// The value as text, or else as base64.
fn text_or_base64(value: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(value) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revision;

    pub(super) fn entry(value: &[u8], content_type: &str, expires: Option<i64>) -> Entry {
        Entry {
            value: Bytes::copy_from_slice(value),
            content_type: ContentType::new(content_type).unwrap(),
            revision: Revision::new(1_795_000_000_123_456_789),
            created: Time::from_secs(1_700_000_000),
            modified: expires.map(|_| Time::from_secs(1_600_000_000)),
            expires: expires.map(Time::from_secs),
        }
    }

    /// What is written is read again as the same.
    pub(super) fn round_trip(format: Format) {
        let nasty: [&[u8]; 14] = [
            b"",
            b" ",
            b"plain",
            b"a,b;c\td",
            b"\"quoted\" 'twice'",
            b"line\nline\r\nline\rend",
            b"=1+1",
            b"true",
            b"~",
            b"1e3",
            "ä€🙂\u{feff}\u{2028}".as_bytes(),
            b"\x00\x01\x1b\x7f",
            b"\xff\xfe\x00",
            b"\\\\ - : # {}",
        ];
        let mut all: Vec<(Key, Entry)> = Vec::new();
        for (n, value) in nasty.iter().enumerate() {
            let end = (n % 3 == 0).then_some(4_000_000_000);
            let kind = if n % 2 == 0 { ContentType::TEXT } else { "application/x-y; q=\"1,2\"" };
            all.push((Key::new(&format!("{n:02} ä,\"'=:#{{}}")).unwrap(), entry(value, kind, end)));
        }
        let mut text = Vec::new();
        format.write(all.iter().map(|(k, e)| (k, e)), &mut text).unwrap();
        let records = format.read(&text).unwrap();
        assert_eq!(records.len(), all.len());
        for ((key, entry), record) in all.iter().zip(&records) {
            assert_eq!((key, &entry.value), (&record.key, &record.value));
            assert_eq!(entry.content_type, record.content_type, "{key}");
            assert_eq!((entry.expires, entry.modified), (record.expires, record.modified), "{key}");
            assert_eq!(Some(entry.updated()), record.updated, "{key}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for format in [Format::Yaml, Format::Json, Format::Csv] {
            round_trip(format);
        }
    }

    #[test]
    fn nothing_is_written_as_something_that_is_read_as_nothing() {
        for format in [Format::Yaml, Format::Json, Format::Csv] {
            let mut text = Vec::new();
            format.write(std::iter::empty::<(&Key, &Entry)>(), &mut text).unwrap();
            assert_eq!(format.read(&text).unwrap(), [], "{format:?}");
        }
    }

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for (name, format) in [
            ("a.yaml", Some(Format::Yaml)),
            ("default.yaml.overwritten-1800000000000000000", Some(Format::Yaml)),
            ("a.b/c.YML", Some(Format::Yaml)),
            ("a.json", Some(Format::Json)),
            ("a.csv", Some(Format::Csv)),
            ("a.txt", None),
            ("yaml", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused_with_its_line() {
        let error = Format::Csv.read(b"key,value\na,\xe4\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
