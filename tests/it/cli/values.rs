//! The commands on single keys and on a bucket as a whole: get, set, delete, incr, list, check, compact, sweep.

use std::fmt::Write as _;

use super::Place;

#[test]
fn values_are_stored_printed_exactly_and_deleted() {
    let place = Place::new();
    let set = place.run(&["set", "kitchen/temp", "21.5"]).ok();
    assert_eq!((set.text(), set.err.as_str()), ("", ""));
    assert_eq!(place.run(&["get", "kitchen/temp"]).ok().out, b"21.5");
    assert_eq!(place.run(&["set", "below", "-5"]).ok().code, 0);
    place.with(&["set", "raw", "-", "--type", "image/png"], &[], b"\xff\x00\n").ok();
    assert_eq!(place.run(&["get", "raw"]).ok().out, b"\xff\x00\n");
    assert_eq!(place.run(&["get", "missing", "raw", "below", "kitchen/temp"]).ok().out, b"\xff\x00\n");
    let gone = place.run(&["delete", "raw", "missing"]).ok();
    assert_eq!((gone.text(), gone.err.trim_end()), ("", "1 deleted, 1 not found"));
    let missing = place.run(&["get", "raw", "other"]).fails(1, "not found in bucket default: raw, other");
    assert_eq!(missing.text(), "");
}

#[test]
fn buckets_are_separate_and_numbers_are_incremented() {
    let place = Place::new();
    assert_eq!(place.run(&["incr", "n"]).ok().text(), "1\n");
    assert_eq!(place.run(&["incr", "n", "-3", "--bucket", "b"]).ok().text(), "-3\n");
    assert_eq!(place.run(&["--bucket", "b", "incr", "n", "10"]).ok().text(), "7\n");
    assert_eq!(place.run(&["get", "n"]).ok().text(), "1");
    place.run(&["set", "n", "many"]).ok();
    place.run(&["incr", "n"]).fails(1, "64-bit");
}

#[test]
fn buckets_are_listed_in_order_without_those_of_kvs() {
    let place = Place::new();
    place.run(&["buckets"]).fails(1, "there is no folder");
    for (bucket, keys) in [("b", 2), ("default", 1), ("a.1", 3)] {
        for key in 0..keys {
            place.run(&["set", "--bucket", bucket, &format!("k{key}"), "1"]).ok();
        }
    }
    place.file("data/_kvs.own.yaml", "a: 1\n");
    assert_eq!(place.run(&["buckets"]).ok().text(), "a.1\nb\ndefault\n");
    assert_eq!(place.run(&["buckets", "--count"]).ok().text(), "a.1\t3\nb\t2\ndefault\t1\n");
    assert_eq!(place.run(&["buckets", "--count", "--bucket", "b"]).ok().text(), "b\t2\n");
    place.run(&["buckets", "--bucket", "c"]).fails(1, "there is no bucket c");
    // A damaged bucket does not hide the others.
    place.file("data/b.yaml", "a: [1\n");
    std::fs::remove_file(place.path("data/b.yaml.last")).unwrap();
    let run = place.run(&["buckets", "--count"]).fails(1, "b.yaml");
    assert_eq!(run.text(), "a.1\t3\ndefault\t1\n");
    assert_eq!(place.run(&["buckets"]).ok().text(), "a.1\nb\ndefault\n");
}

#[test]
fn a_key_with_a_ttl_expires() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--ttl", "2s"]).ok();
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    place.run(&["get", "a"]).fails(1, "not found");
    assert!(place.run(&["sweep"]).ok().err.contains("default: 1 expired"));
    place.run(&["set", "a", "1", "--ttl", "0"]).fails(2, "--ttl");
}

#[test]
fn lists_are_lines_keys_or_json() {
    let place = Place::new();
    for (key, value) in [("a/1", "one"), ("a/2", "two\tlines\nhere\\"), ("b", "x")] {
        place.run(&["set", key, value]).ok();
    }
    assert_eq!(place.run(&["list"]).ok().text(), "a/1\tone\na/2\ttwo\\tlines\\nhere\\\\\nb\tx\n");
    assert_eq!(place.run(&["list", "a/", "--keys", "--reverse"]).ok().text(), "a/2\na/1\n");
    assert_eq!(place.run(&["list", "--keys", "--limit", "1"]).ok().text(), "a/1\n");
    assert_eq!(place.run(&["list", "nothing"]).ok().text(), "");
    let json = place.run(&["list", "a/2", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_slice(&json.out).unwrap();
    assert_eq!(json[0]["value"], "two\tlines\nhere\\");
    assert!(json[0]["revision"].is_string() && json[0]["updated"].is_string(), "{json}");
}

#[test]
fn a_list_may_have_several_pages() {
    let place = Place::new();
    let mut csv = "key,value\n".to_owned();
    for n in 0..2345 {
        writeln!(csv, "k{n:05},{n}").unwrap();
    }
    place.with(&["import", "-", "--format", "csv"], &[], csv.as_bytes()).ok();
    let listed = place.run(&["list", "--keys"]).ok();
    assert_eq!(listed.text().lines().count(), 2345);
    assert_eq!(
        place.run(&["list", "--keys", "--limit", "1500", "--reverse"]).ok().text().lines().last(),
        Some("k00845")
    );
}

#[test]
fn check_names_file_and_line_of_damage() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.run(&["set", "b", "1", "--bucket", "other"]).ok();
    let sound = place.run(&["check"]).ok();
    assert_eq!(sound.text(), "");
    assert!(sound.err.contains("default: 1 entry") && sound.err.contains("other: 1 entry"), "{sound:?}");
    let mut text = place.read("data/default.yaml");
    text.extend_from_slice(b"---\nbad: [1, 2\n...\n");
    place.file("data/default.yaml", &text);
    let lines = String::from_utf8_lossy(&text).lines().count();
    let run = place.run(&["check", "-q"]).fails(1, "");
    let found = run.text();
    let line: usize = found.split(':').nth(1).unwrap().parse().unwrap();
    assert!(found.starts_with("data/default.yaml:") && (lines - 2..=lines).contains(&line), "{run:?}");
    place.run(&["check", "--bucket", "other"]).ok();
    place.run(&["check", "--bucket", "nobody"]).fails(1, "no bucket nobody");
    place.run(&["check", "--store", "yaml:dtaa"]).fails(1, "no folder");
}

#[test]
fn compact_reduces_the_file_and_keeps_the_values() {
    let place = Place::new();
    let store = ["--tidy-after", "0s", "set", "a"];
    for n in 0..50 {
        place.run(&[&store[..], &[&n.to_string()]].concat()).ok();
    }
    let before = place.read("data/default.yaml").len();
    let run = place.run(&["compact"]).ok();
    assert_eq!(run.text(), "");
    assert!(run.err.contains("default: 1 entry, "), "{run:?}");
    assert!(place.read("data/default.yaml").len() < before / 5);
    assert_eq!(place.run(&["get", "a"]).ok().text(), "49");
}

#[test]
fn a_damaged_bucket_does_not_stop_the_work_on_others() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.file("data/another.yaml", "a: &b 1\n");
    for command in ["sweep", "compact"] {
        let run = place.run(&[command]).fails(1, "another.yaml, line 1");
        assert!(run.err.contains("default: "), "{run:?}");
    }
    // The same for one that cannot be read.
    std::fs::create_dir(place.path("data/afolder.yaml")).unwrap();
    for command in ["check", "sweep", "compact"] {
        let run = place.run(&[command]).fails(1, "afolder.yaml");
        assert!(run.err.contains("default: "), "{run:?}");
        assert_eq!(run.text().contains("another.yaml:1: "), command == "check", "{run:?}");
    }
}

#[test]
fn an_export_of_an_empty_bucket_does_not_replace_a_backup() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.run(&["export", "backup.yaml"]).ok();
    place.run(&["delete", "a"]).ok();
    place.run(&["export", "backup.yaml"]).fails(1, "--force");
    assert!(String::from_utf8(place.read("backup.yaml")).unwrap().contains("a: {value: \"1\""));
    place.run(&["export", "--force", "backup.yaml"]).ok();
    assert_eq!(place.read("backup.yaml"), b"{}\n");
    place.run(&["export", "new.yaml"]).ok();
    place.run(&["import", "new.yaml"]).ok();
}

#[test]
fn check_notes_lines_that_delete_a_key() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    place.file("data/default.yaml", "# mine\na: 1\nb: ~\nc:\n  null\nd:\n");
    let run = place.run(&["check"]).ok();
    let note =
        |line: u32, key: &str| format!("default.yaml:{line}: note: {key:?} has the value ~ or null, which deletes");
    let all = run.text().to_owned() + &run.err;
    assert!(all.contains(&note(3, "b")) && all.contains(&note(4, "c")) && !all.contains("\"d\""), "{run:?}");
}
