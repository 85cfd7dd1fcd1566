//! Other YAML readers find in the file of a log what kvs has stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvs::model::{ContentType, Key, LogAppend, LogQuery, NewLogEntry, Retention};
use kvs::store::Logs as _;
use proptest::prelude::*;
use serde_yaml::Value;

use super::{NAME, file};
use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{bucket, key, open, run};

const HOSTILE: [&str; 24] = [
    "",
    " ",
    "yes",
    "~",
    "null",
    "1e3",
    "0x10",
    "2027-01-15",
    "- a",
    "a: b",
    "a #b",
    "#",
    "'",
    "\"",
    "\\",
    "}",
    "a, continues: true, value: b",
    "x, updated: 2027-01-15T08:00:00Z}\n- {index: 9, value: y, updated: 2027-01-15T08:00:00Z}\n",
    "a\nb\r\nc\rd\te",
    "\0\u{1b}\u{7f}\u{85}\u{a0}",
    "\u{2028}\u{2029}\u{feff}",
    "\u{fffe}\u{ffff}\u{10ffff}",
    "---\n...\n%YAML",
    "!!binary &a *a |>",
];

const JSON: [&str; 14] = [
    "{}",
    "[]",
    "null",
    "1.50",
    "-1",
    "1e400",
    "\"a\"",
    "{\"a\": [1, {\"b\": \"c, updated: \"}]}",
    "{\"a\":1,\"b\":\"}\"}",
    "{\"a\": 1, \"a\": 2}",
    "{\n  \"a\": 1\n}",
    "[1,\t2]",
    "\"\u{2028}\u{feff}\\ud83d\\ude00\"",
    "{not json}",
];

/// Appends, and returns what another reader finds.
fn read_by_another(store: &kvs::yaml::YamlStore, disk: &CrashFs, entries: Vec<NewLogEntry>) -> Value {
    let append = LogAppend { entries, ..LogAppend::default() };
    run(store.append(&bucket(), &key(NAME), append)).unwrap();
    serde_yaml::from_slice(&disk.bytes(&file()).unwrap()).unwrap()
}

/// Checks what another reader finds of an entry.
fn check(found: &Value, index: usize, wanted: &NewLogEntry) {
    assert_eq!(found["index"], Value::from(index as u64), "{found:?}");
    if let Some(json) = found.get("json") {
        let json = serde_json::to_value(json).unwrap();
        let wanted: serde_json::Value = serde_json::from_slice(&wanted.value).unwrap();
        assert_eq!(json, wanted);
        return;
    }
    let value = match found.get("value") {
        Some(value) => value.as_str().unwrap_or_else(|| panic!("no text: {value:?}")).as_bytes().to_vec(),
        None => STANDARD.decode(found["base64"].as_str().unwrap()).unwrap(),
    };
    assert_eq!(value, wanted.value);
    let kind = found.get("type").map_or(ContentType::TEXT, |kind| kind.as_str().unwrap());
    assert_eq!(kind, wanted.content_type.as_str());
}

fn check_all(entries: &[NewLogEntry]) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    let yaml = read_by_another(&store, &disk, entries.to_vec());
    assert_eq!(yaml["key"], Value::from(NAME));
    let found = yaml["entries"].as_sequence().unwrap();
    assert_eq!(found.len(), entries.len());
    for (index, (found, wanted)) in found.iter().zip(entries).enumerate() {
        check(found, index, wanted);
    }
    let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
    let page = run(open(disk).read_log(&bucket(), &key(NAME), query)).unwrap().unwrap();
    for (found, wanted) in page.entries.iter().zip(entries) {
        assert_eq!((&found.value, &found.content_type), (&wanted.value, &wanted.content_type));
    }
    assert_eq!(page.entries.len(), entries.len());
}

fn typed(value: impl Into<bytes::Bytes>, content_type: &str) -> NewLogEntry {
    NewLogEntry { content_type: ContentType::new(content_type).unwrap(), ..NewLogEntry::new(value) }
}

#[test]
fn hostile_values_are_the_same_for_another_reader() {
    let texts = HOSTILE.map(NewLogEntry::new);
    let other = HOSTILE.map(|text| typed(text, "text/csv; header=\"a, b\""));
    let bytes = [&b"\xff\0"[..], b"\xc3", b"\x80}"].map(|bytes| typed(bytes, "image/png"));
    check_all(&[&texts[..], &other, &bytes].concat());
}

#[test]
fn json_is_the_same_for_another_reader() {
    let json = JSON.map(|text| typed(text, ContentType::JSON));
    let other = JSON.map(|text| typed(text, "application/problem+json"));
    check_all(&[&json[..], &other].concat());
}

#[test]
fn header_is_the_same_for_another_reader() {
    let long = "\u{ad}".repeat(Key::MAX_BYTES / 2);
    for name in ["yes", "a: b", "#", "- x", "\u{2028}", "'\"\\", "1", "kitchen/temp", &long] {
        let disk = CrashFs::default();
        let store = open(disk.clone());
        let retention = Some(Retention { max_entries: Some(7), max_age: None });
        let append = LogAppend { entries: vec![NewLogEntry::new("x")], index: Some(3), retention };
        run(store.append(&bucket(), &Key::new(name).unwrap(), append)).unwrap();
        let written = disk.names().into_iter().find(|name| name.to_string_lossy().ends_with(".log")).unwrap();
        let yaml: Value = serde_yaml::from_slice(&disk.bytes(&written).unwrap()).unwrap();
        let fields = ["key", "first", "keep"].map(|field| yaml[field].clone());
        assert_eq!(fields, [Value::from(name), Value::from(3), Value::from(7)]);
        assert_eq!(yaml["entries"][0]["index"], Value::from(3));
    }
}

proptest! {
    #[test]
    fn any_value_is_the_same_for_another_reader(texts in proptest::collection::vec("\\PC{0,30}|[ -~]{0,30}", 1..6)) {
        let entries: Vec<NewLogEntry> = texts.iter().enumerate().map(|(n, text)| {
            if n % 2 == 0 { NewLogEntry::new(text.clone()) } else { typed(text.clone(), ContentType::JSON) }
        }).collect();
        check_all(&entries);
    }
}
