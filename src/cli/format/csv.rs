//! CSV (RFC 4180) with a header line. `key` and `value` must be among its columns; an empty field of another column is
//! none given.

use std::collections::HashMap;
use std::io::{self, Write};

use bytes::Bytes;
use csv::Writer;

use super::rows::{Row, Rows};
use super::{Given, Record, text_or_base64};
use crate::model::{ContentType, Entry, Error, Key, Kind, Result};

const COLUMNS: [&str; 9] = ["key", "value", "base64", "type", "updated", "created", "modified", "expires", "revision"];

/// Writes a header and a row for each entry. The column `base64` is there only if a value is not UTF-8.
pub(super) fn write<'a>(
    entries: impl Iterator<Item = (&'a Key, &'a Entry)> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let coded = entries.clone().any(|(_, entry)| std::str::from_utf8(&entry.value).is_err());
    let columns = || COLUMNS.iter().filter(|column| **column != "revision" && (coded || **column != "base64"));
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

/// What stands in that text.
pub(super) fn read(text: &str) -> Result<Vec<Record>> {
    let mut rows = Rows::new(text);
    let header = rows.next().map_err(|fault| at(fault.line, &fault.text))?;
    let header = header.unwrap_or(Row { line: 1, fields: vec![] });
    judge(&header.fields).map_err(|text| at(header.line, &text))?;
    let mut seen: HashMap<Key, u64> = HashMap::new();
    let mut records = Vec::new();
    while let Some(Row { line, fields }) = rows.next().map_err(|fault| at(fault.line, &fault.text))? {
        if fields.len() != header.fields.len() {
            return Err(at(line, &unequal(fields.len(), header.fields.len())));
        }
        let record = record(&header.fields, &fields).map_err(|e| at(line, &e.to_string()))?;
        if let Some(first) = seen.insert(record.key.clone(), line) {
            return Err(at(line, &format!("the key {:?} stands in line {first} already", record.key.as_str())));
        }
        records.push(record);
    }
    Ok(records)
}

fn at(line: u64, text: &str) -> Error {
    Error::new(Kind::Invalid, format!("line {line}: {text}"))
}

fn unequal(here: usize, header: usize) -> String {
    let hint = if here > header { "; a value with a comma in it stands in quotes" } else { "" };
    format!("this row has {here} fields, the header {header}{hint}")
}

/// Whether the header has what we need, and nothing that we would drop.
fn judge(header: &[String]) -> Result<(), String> {
    let form = "the first line names the columns: key,value[,base64,type,updated,created,modified,expires]";
    for (n, column) in header.iter().enumerate() {
        if !COLUMNS.contains(&column.as_str()) {
            let other = [(';', "semicolons"), ('\t', "tabs")].into_iter().find(|(c, _)| column.contains(*c));
            return Err(match other {
                Some((_, name)) => format!("the columns are separated by {name}; save the file with commas. {form}"),
                None => format!("unknown column {column:?}; {form}"),
            });
        }
        if header.iter().take(n).any(|other| other == column) {
            return Err(format!("the column {column:?} is there twice"));
        }
    }
    let has = |column| header.iter().any(|other| other == column);
    if has("key") && (has("value") || has("base64")) { Ok(()) } else { Err(form.to_owned()) }
}

fn record(header: &[String], row: &[String]) -> Result<Record> {
    let mut key = "";
    let mut value = None;
    let mut given = Given::default();
    for (column, field) in header.iter().zip(row) {
        let some = (!field.is_empty()).then(|| field.to_owned());
        match column.as_str() {
            "key" => key = field.as_str(),
            "value" => value = Some(Bytes::copy_from_slice(field.as_bytes())),
            "base64" => given.base64 = some,
            "type" => given.content_type = some.as_deref().map(ContentType::new).transpose()?,
            "updated" => given.updated = some,
            "modified" => given.modified = some,
            "expires" => given.expires = some,
            // The store gives `created` and `revision` anew.
            _ => {}
        }
    }
    // An empty value beside base64 is none; alone, or with both empty, it is the empty value.
    given.value = match (value, &given.base64) {
        (Some(value), Some(_)) if value.is_empty() => None,
        (None, None) => Some(Bytes::new()),
        (value, _) => value,
    };
    given.record(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_are_enough_in_any_order() {
        let records = read("value,key\r\n\"a,\"\"b\"\"\r\nc\",x\r\n,y\r\n").unwrap();
        assert_eq!(records[0].value.as_ref(), b"a,\"b\"\r\nc");
        assert_eq!(records[1].value.as_ref(), b"");
        assert_eq!(records[1].key.as_str(), "y");
    }

    #[test]
    fn what_cannot_be_stored_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "line 1: the first line names the columns"),
            ("a,b\n1,2\n", "line 1: unknown column \"a\""),
            ("key;value\na;1\n", "line 1: the columns are separated by semicolons"),
            ("key\tvalue\na\t1\n", "line 1: the columns are separated by tabs"),
            ("key,value\na,1,5\n", "line 2: this row has 3 fields, the header 2; a value with a comma"),
            ("key,value\nb,x\na,\"21.5\" C\n", "line 3: \" \" follows the quote"),
            ("key,value\na,\"1\nb,2\nc,3\n", "line 2: the quote that opens a field here is never closed"),
            ("key\na\n", "line 1: the first line names the columns"),
            ("key,value,key\n", "line 1: the column \"key\" is there twice"),
            ("key,value\na,1\nb\n", "line 3: this row has 1 fields, the header 2"),
            ("key,value\n\"a\n\",1\n", "line 2: bad key"),
            ("key,value\na,\"x\ny\"\na,2\n", "line 4: the key \"a\" stands in line 2 already"),
            ("key,value,expires\na,1,soon\n", "line 2: bad time"),
            ("key,value,base64\na,1,MQ==\n", "line 2: \"a\" has a value and base64"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
    }
}
