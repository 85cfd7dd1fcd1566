//! The formats of export and import: entries to bytes and back, without stores or files.
//!
//! Reading a text that was written in the same format gives the same keys, values, types and expiry times.

mod csv;
mod import_entry;
pub(crate) mod json;
mod rows;

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;

pub(crate) use self::import_entry::ImportEntry;
use crate::model::{Entry, Error, ErrorKind, Key, Result};
use crate::yaml;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// The format of the data files; or a mapping of keys to values
    Yaml,
    /// A list of objects; or one object with keys and values
    Json,
    /// A header and rows: key,value[,base64,type,updated,created,modified,expires]
    Csv,
}

impl Format {
    /// The format for a file name, if the name has a known ending.
    pub(crate) fn from_name(path: &Path) -> Option<Self> {
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

    /// The entries of a file, in their order.
    ///
    /// # Errors
    /// `Invalid`; the text begins with the line.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Vec<ImportEntry>> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let line = memchr::memchr_iter(b'\n', good).count() + 1;
            Error::new(ErrorKind::Invalid, format!("line {line}: the file is not UTF-8; save it as UTF-8"))
        })?;
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Yaml => read_yaml(text),
            Self::Json => json::read(text),
            Self::Csv => csv::read(text),
        }
    }

    pub(crate) fn write<'a>(
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

fn read_yaml(text: &str) -> Result<Vec<ImportEntry>> {
    let entry = |(key, parsed): (Key, yaml::ParsedEntry)| ImportEntry {
        key,
        value: parsed.value,
        content_type: parsed.content_type,
        updated: parsed.updated,
        modified: parsed.modified,
        expires: parsed.expires,
        ttl: parsed.ttl,
    };
    Ok(yaml::read_text(text)?.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{ContentType, Revision, Time};

    fn entry(value: &[u8], content_type: &str, expires: Option<i64>) -> Entry {
        Entry {
            value: Bytes::copy_from_slice(value),
            content_type: ContentType::new(content_type).unwrap(),
            revision: Revision::new(1_795_000_000_123_456_789),
            created: Time::from_secs(1_700_000_000),
            modified: expires.map(|_| Time::from_secs(1_600_000_000)),
            expires: expires.map(Time::from_secs),
        }
    }

    fn round_trip(format: Format) {
        let hostile: [&[u8]; 14] = [
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
        for (n, value) in hostile.iter().enumerate() {
            let end = (n % 3 == 0).then_some(4_000_000_000);
            let kind = if n % 2 == 0 { ContentType::TEXT } else { "application/x-y; q=\"1,2\"" };
            all.push((Key::new(&format!("{n:02} ä,\"'=:#{{}}")).unwrap(), entry(value, kind, end)));
        }
        let mut text = Vec::new();
        format.write(all.iter().map(|(k, e)| (k, e)), &mut text).unwrap();
        let read = format.read(&text).unwrap();
        assert_eq!(read.len(), all.len());
        for ((key, entry), other) in all.iter().zip(&read) {
            assert_eq!((key, &entry.value), (&other.key, &other.value));
            assert_eq!(entry.content_type, other.content_type, "{key}");
            assert_eq!((entry.expires, entry.modified), (other.expires, other.modified), "{key}");
            assert_eq!(Some(entry.updated()), other.updated, "{key}");
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        for format in [Format::Yaml, Format::Json, Format::Csv] {
            round_trip(format);
        }
    }

    #[test]
    fn an_export_without_entries_is_read_as_no_entries() {
        for format in [Format::Yaml, Format::Json, Format::Csv] {
            let mut text = Vec::new();
            format.write(std::iter::empty::<(&Key, &Entry)>(), &mut text).unwrap();
            assert_eq!(format.read(&text).unwrap(), [], "{format:?}");
        }
    }

    #[test]
    fn the_format_follows_from_the_file_name() {
        for (name, format) in [
            ("a.yaml", Some(Format::Yaml)),
            ("default.yaml.overwritten-1800000000000000000", Some(Format::Yaml)),
            ("a.b/c.YML", Some(Format::Yaml)),
            ("a.json", Some(Format::Json)),
            ("a.csv", Some(Format::Csv)),
            ("a.txt", None),
            ("yaml", None),
        ] {
            assert_eq!(Format::from_name(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_an_error_with_its_line() {
        let error = Format::Csv.read(b"key,value\na,\xe4\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
