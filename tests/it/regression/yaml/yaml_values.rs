//! Handwritten values: lists, mappings, empty values, and times in any form of YAML.

use std::io::Write as _;

use kvs::yaml::{YamlOptions, YamlStore};

use crate::cli::Place;
use crate::yaml::fixtures::all;

/// The entries of a data file with this text.
fn entries(text: &str) -> std::collections::BTreeMap<String, kvs::model::Entry> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("default.yaml")).unwrap().write_all(text.as_bytes()).unwrap();
    let store = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
    all(&store).unwrap_or_else(|error| panic!("{text:?}: {error}")).1
}

#[test]
fn lists_and_mappings_are_served_as_json() {
    let found = entries(
        "a: [1, 2]\nb:\n  - x\n  - y: 2.50\nc: {json: {\"theme\":\"dark\"}, updated: 2026-01-01}\n\
         d:\n  e:\n    f: ~\ng: {\"h\":[{\"i\": 1}]}\n",
    );
    for (key, value) in [
        ("a", "[1, 2]"),
        ("b", r#"["x",{"y":2.50}]"#),
        ("c", r#"{"theme":"dark"}"#),
        ("d", r#"{"e":{"f":null}}"#),
        ("g", r#"{"h":[{"i": 1}]}"#),
    ] {
        assert_eq!((&*found[key].value, found[key].content_type.as_str()), (value.as_bytes(), "application/json"));
    }
    assert_eq!(found["c"].updated().to_string(), "2026-01-01T00:00:00Z");
}

#[test]
fn empty_value_is_an_empty_text_and_null_is_no_entry() {
    let found = entries("a:\nb: # nothing\nc: {value: }\nd: ~\ne: null\n...\n---\nb: ~\nf:\n...\n");
    assert!(found.values().all(|entry| entry.value.is_empty() && entry.content_type.is_default()));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "c", "f"]);
}

#[test]
fn expiry_can_be_a_date_or_a_yaml_timestamp() {
    let found = entries(
        "a: {value: 1, expires: 2130-01-01}\nb: {value: 1, expires: 2129-12-31t19:00:00-05:00}\n\
         c: {value: 1, expires: 2129-12-31 19:00:00.0 -5}\nd: {value: 1, expires: 2130-1-1 0:00:00}\n",
    );
    assert_eq!(found.len(), 4);
    assert!(found.values().all(|entry| entry.expires.unwrap().to_string() == "2130-01-01T00:00:00Z"));
}

#[test]
fn tabs_and_crlf_are_read() {
    let found = entries("\u{feff}a:\t1\t# c\r\nb: \t2\r\nc:\r\n  value:\tx\r\nd:\t[1,\t2]\r\ne: |\r\n  x\r\n  y\r\n");
    let value = |key: &str| String::from_utf8(found[key].value.to_vec()).unwrap();
    assert_eq!(["a", "b", "c", "d", "e"].map(value), ["1", "2", "x", "[1,\t2]", "x\ny\n"]);
}

#[test]
fn import_accepts_json_expiries_and_ttls() {
    let place = Place::new();
    let file = place.file(
        "in.yaml",
        "list: [1, 2]\nempty:\nsession: {value: x, ttl: 1d12h}\nold: {value: x, ttl: 10m, updated: 2001-01-01}\n\
         dated: {value: x, expires: 2130-01-01}\n",
    );
    place.run(&["import", &file]).ok();
    let listed: serde_json::Value = serde_json::from_slice(&place.run(&["list", "--json"]).ok().out).unwrap();
    let entry = |key: &str| listed.as_array().unwrap().iter().find(|entry| entry["key"] == key).unwrap();
    assert_eq!(place.run(&["get", "list"]).ok().text(), "[1, 2]");
    assert_eq!(entry("list")["type"], "application/json");
    assert_eq!(place.run(&["get", "empty"]).ok().text(), "");
    assert_eq!(entry("dated")["expires"], "2130-01-01T00:00:00Z");
    let lives = |key: &str| {
        let time = |name: &str| entry(key)[name].as_str().unwrap().parse::<kvs::model::Time>().unwrap();
        time("expires").since(time("updated")).as_secs_f64()
    };
    // The import reads the clock before the write.
    assert!((129_000.0..129_601.0).contains(&lives("session")), "{}", lives("session"));
    assert!((1.0..601.0).contains(&lives("old")), "counted from the import: {}", lives("old"));
    for (text, says) in [
        ("a: {value: x, ttl: 10x}\n", "line 1: "),
        ("a: {value: x, ttl: 1h, expires: 2130-01-01}\n", "both ttl and expires"),
        ("a: 1\nb: ~\n", "\"b\" has no value"),
        ("a: {value: ~}\n", "write \"\""),
        ("a: {value: 1, colour: red}\n", "write it under json:"),
    ] {
        let file = place.file("bad.yaml", text);
        place.run(&["import", &file]).fails(1, says).fails(1, "nothing was written");
    }
}
