//! CSV (RFC 4180) with a header line. The columns `key` and `value` are required; in other columns an empty field means
//! that there is no value.

use std::collections::HashMap;
use std::io::{self, Write};

use bytes::Bytes;
use csv::Writer;

use super::import_entry::{ImportEntry, TextFields, text_or_base64};
use super::rows::{CsvRow, CsvRows};
use crate::model::{ContentType, Entry, Error, ErrorKind, Key, Result};

const COLUMNS: [&str; 9] = ["key", "value", "base64", "type", "updated", "created", "modified", "expires", "revision"];

/// Writes a header and a row for each entry. The column `base64` is written only if a value is not UTF-8.
pub(crate) fn write<'a>(
    entries: impl Iterator<Item = (&'a Key, &'a Entry)> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let has_base64 = entries.clone().any(|(_, entry)| entry.as_text().is_none());
    let columns = || COLUMNS.iter().filter(|column| **column != "revision" && (has_base64 || **column != "base64"));
    let mut rows = Writer::from_writer(to);
    rows.write_record(columns())?;
    for (key, entry) in entries {
        let (value, base64) = text_or_base64(&entry.value);
        let time = |time: Option<crate::model::Time>| time.map_or(String::new(), |time| time.to_string());
        let field = |column: &&str| match *column {
            "key" => key.as_str().to_owned(),
            "value" => value.unwrap_or_default().to_owned(),
            "base64" => base64.clone().unwrap_or_default(),
            "type" if entry.content_type.is_default() => String::new(),
            "type" => entry.content_type.as_str().to_owned(),
            "updated" => time(Some(entry.updated())),
            "created" => time(Some(entry.created)),
            "modified" => time(entry.modified),
            _ => time(entry.expires),
        };
        rows.write_record(columns().map(field))?;
    }
    rows.flush()
}

pub(crate) fn read(text: &str) -> Result<Vec<ImportEntry>> {
    let mut rows = CsvRows::new(text);
    let header = rows.next().map_err(|e| at(e.line, &e.text))?;
    let header = header.unwrap_or(CsvRow { line: 1, fields: vec![] });
    check_header(&header.fields).map_err(|text| at(header.line, &text))?;
    let mut seen: HashMap<Key, u64> = HashMap::new();
    let mut entries = Vec::new();
    while let Some(CsvRow { line, fields }) = rows.next().map_err(|e| at(e.line, &e.text))? {
        if fields.len() != header.fields.len() {
            return Err(at(line, &wrong_field_count(fields.len(), header.fields.len())));
        }
        let entry = entry(&header.fields, &fields).map_err(|e| at(line, &e.to_string()))?;
        if let Some(first) = seen.insert(entry.key.clone(), line) {
            return Err(at(line, &format!("the key {:?} is already in line {first}; remove one", entry.key.as_str())));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn at(line: u64, text: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("line {line}: {text}"))
}

fn wrong_field_count(here: usize, header: usize) -> String {
    let hint = if here > header { "; put a value with a comma in quotes" } else { "" };
    format!("this row has {here} fields, but the header has {header}{hint}")
}

/// Checks that the header has the required columns, and no unknown one.
fn check_header(header: &[String]) -> Result<(), String> {
    let form = "the first line must name the columns: key,value[,base64,type,updated,created,modified,expires]";
    for (n, column) in header.iter().enumerate() {
        if !COLUMNS.contains(&column.as_str()) {
            let other = [(';', "semicolons"), ('\t', "tabs")].into_iter().find(|(c, _)| column.contains(*c));
            return Err(match other {
                Some((_, name)) => format!("the columns are separated by {name}; save the file with commas. {form}"),
                None => format!("unknown column {column:?}; {form}"),
            });
        }
        if header.iter().take(n).any(|other| other == column) {
            return Err(format!("the column {column:?} is given twice; remove one"));
        }
    }
    let has = |column| header.iter().any(|other| other == column);
    if has("key") && (has("value") || has("base64")) { Ok(()) } else { Err(form.to_owned()) }
}

fn entry(header: &[String], row: &[String]) -> Result<ImportEntry> {
    let mut key = "";
    let mut value = None;
    let mut fields = TextFields::default();
    for (column, field) in header.iter().zip(row) {
        let some = (!field.is_empty()).then(|| field.to_owned());
        match column.as_str() {
            "key" => key = field.as_str(),
            "value" => value = Some(Bytes::copy_from_slice(field.as_bytes())),
            "base64" => fields.base64 = some,
            "type" => fields.content_type = some.as_deref().map(ContentType::new).transpose()?,
            "updated" => fields.updated = some,
            "modified" => fields.modified = some,
            "expires" => fields.expires = some,
            // The store sets `created` and `revision`.
            _ => {}
        }
    }
    // With base64, an empty `value` means that there is none. Without, it is the empty value.
    fields.value = match (value, &fields.base64) {
        (Some(value), Some(_)) if value.is_empty() => None,
        (None, None) => Some(Bytes::new()),
        (value, _) => value,
    };
    fields.into_entry(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_value_are_enough_in_any_order() {
        let entries = read("value,key\r\n\"a,\"\"b\"\"\r\nc\",x\r\n,y\r\n").unwrap();
        assert_eq!(entries[0].value.as_ref(), b"a,\"b\"\r\nc");
        assert_eq!(entries[1].value.as_ref(), b"");
        assert_eq!(entries[1].key.as_str(), "y");
    }

    #[test]
    fn errors_have_their_line() {
        for (text, expected) in [
            ("", "line 1: the first line must name the columns"),
            ("a,b\n1,2\n", "line 1: unknown column \"a\""),
            ("key;value\na;1\n", "line 1: the columns are separated by semicolons"),
            ("key\tvalue\na\t1\n", "line 1: the columns are separated by tabs"),
            ("key,value\na,1,5\n", "line 2: this row has 3 fields, but the header has 2; put a value with a comma"),
            ("key,value\nb,x\na,\"21.5\" C\n", "got \" \""),
            ("key,value\na,\"1\nb,2\nc,3\n", "line 2: the quote that opens a field here is not closed"),
            ("key\na\n", "line 1: the first line must name the columns"),
            ("key,value,key\n", "line 1: the column \"key\" is given twice"),
            ("key,value\na,1\nb\n", "line 3: this row has 1 fields, but the header has 2"),
            ("key,value\n\"a\n\",1\n", "line 2: bad key"),
            ("key,value\na,\"x\ny\"\na,2\n", "line 4: the key \"a\" is already in line 2"),
            ("key,value,expires\na,1,soon\n", "line 2: bad time"),
            ("key,value,base64\na,1,MQ==\n", "line 2: \"a\" has both value and base64"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
    }
}
