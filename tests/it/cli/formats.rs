//! Export and import: both ways, files of other programs, and errors.

use super::Place;

/// Keys and values that break careless writers and readers.
fn hostile() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "",
        " ",
        "  two  ",
        "plain",
        "~",
        "null",
        "yes",
        "No",
        "0x1F",
        "1e3",
        "1_000",
        "12:30:45",
        "2026-11-20",
        ".inf",
        "- a",
        "? b",
        "a: b",
        "#no",
        "{a}",
        "[b]",
        "&a",
        "*a",
        "!!binary x",
        "%YAML 1.2",
        "---",
        "...",
        "'single'",
        "\"double\"",
        "back\\slash",
        "tab\there",
        "line\nline",
        "cr\r\nlf",
        "lone\rcr",
        "end\n",
        "\n",
        "=1+1",
        "@x",
        "`x`",
        "a,b;c",
        "ä€",
        "🙂",
        "\u{feff}bom",
        "\u{2028}\u{2029}",
        "\u{85}",
        "\u{0}",
        "\u{1b}[31m",
        "<img onerror=alert(1)>",
    ];
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let key: String = text.chars().filter(|c| !c.is_control()).collect();
        all.push((format!("{key}{n}"), text.as_bytes().to_vec()));
    }
    all.push(("bytes".to_owned(), vec![0xff, 0xfe, 0, 0x80, b'\n']));
    all.push(("k".repeat(1024), b"long key".to_vec()));
    all.push(("long value".to_owned(), b"0123456789\n".repeat(5000)));
    all
}

#[test]
fn an_import_of_an_export_gives_the_same_entries_in_every_format() {
    let place = Place::new();
    for (key, value) in hostile() {
        place.with(&["set", "--", &key, "-"], &[], &value).ok();
    }
    place.run(&["set", "typed", "<b>", "--type", "text/html; charset=utf-8", "--ttl", "1h"]).ok();
    let meta = |store: &str| {
        let json = place.run(&["list", "--json", "--store", store]).ok();
        let mut list: serde_json::Value = serde_json::from_slice(&json.out).unwrap();
        for entry in list.as_array_mut().unwrap() {
            let entry = entry.as_object_mut().unwrap();
            entry.retain(|name, _| !["revision", "updated", "created"].contains(&name.as_str()));
        }
        list
    };
    let expected = meta("yaml:data");
    assert_eq!(expected.as_array().unwrap().len(), hostile().len() + 1);
    for format in ["yaml", "json", "csv"] {
        let (file, store) = (format!("backup.{format}"), format!("yaml:{format}"));
        let run = place.run(&["export", &file]).ok();
        assert_eq!(run.text(), "");
        place.run(&["import", &file, "--store", &store]).ok();
        assert_eq!(meta(&store), expected, "{format}");
        let piped = place.run(&["export", "--format", format]).ok();
        assert_eq!(piped.out, place.read(&file), "{format}");
        for (key, value) in hostile() {
            assert_eq!(place.run(&["get", "--store", &store, "--", &key]).ok().out, value, "{format} {key:?}");
        }
        // The most recent is still the most recent.
        assert_eq!(place.run(&["get", "--store", &store, "plain3", "typed", "bytes"]).ok().out, b"<b>", "{format}");
    }
}

#[test]
fn plain_files_of_other_programs_are_imported() {
    let place = Place::new();
    place.file("a.yml", "greeting: hello\ntemp: 21.50\n\"on\": yes\n");
    place.file("b.json", "{\"greeting\": \"hi\", \"n\": 21.50, \"list\": [1, 2]}");
    place.file("c.csv", "\u{feff}value,key\r\n\"a,b\",csv\r\n");
    let run = place.run(&["import", "a.yml", "b.json", "c.csv"]).ok();
    assert_eq!((run.text(), run.err.trim_end()), ("", "6 keys stored in bucket default"));
    let expected = "csv\ta,b\ngreeting\thi\nlist\t[1, 2]\nn\t21.50\non\tyes\ntemp\t21.50\n";
    assert_eq!(place.run(&["list"]).ok().text(), expected);
    place.with(&["import"], &[], b"greeting: from stdin\n").ok();
    assert_eq!(place.run(&["get", "greeting"]).ok().text(), "from stdin");
}

#[test]
fn a_file_name_without_a_known_ending_is_yaml() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    for name in ["x.txt", "plain", "archive.old"] {
        place.run(&["export", name]).ok();
        assert!(String::from_utf8(place.read(name)).unwrap().contains("a: {value: \"1\""), "{name}");
        place.run(&["import", name, "--bucket", "copy"]).ok();
        assert_eq!(place.run(&["get", "a", "--bucket", "copy"]).ok().text(), "1");
        place.run(&["delete", "a", "--bucket", "copy"]).ok();
    }
    // A file that is not YAML is an error with its line.
    place.file("rows.txt", "key,value\na,1\n");
    place.run(&["import", "rows.txt"]).fails(1, "rows.txt: line 1: ").fails(1, "nothing was written");
    place.run(&["import", "rows.txt", "--format", "csv"]).ok();
}

#[test]
fn an_import_with_an_error_in_any_file_writes_nothing() {
    let place = Place::new();
    let good = place.file("good.yaml", "a: 1\n");
    for (name, content, expected) in [
        ("bad.yaml", "b: 1\nc: *b\n", "bad.yaml: line 2: "),
        ("bad.json", "{\"b\": 1,\n\"c\": null}", "bad.json: line 2: null is not a value"),
        ("bad.csv", "key,value\nb,1\n,2\n", "bad.csv: line 3: bad key"),
        ("missing.csv", "", "missing.csv: line 1: "),
    ] {
        let bad = place.file(name, content);
        place.run(&["import", &good, &bad]).fails(1, expected).fails(1, "nothing was written");
    }
    place.run(&["import", &good, "nowhere.csv"]).fails(1, "nowhere.csv");
    assert!(!place.path("data").exists());
    let dry = place.run(&["import", &good, "--dry-run"]).ok();
    assert!(dry.err.contains("1 key can be stored; nothing was written"), "{dry:?}");
    assert!(!place.path("data").exists());
}
