//! Large values on the command line: from standard input, to standard output, and in files of exports.

use super::{assert_files, content, files, name, names, place_with};
use crate::cli::Place;

#[test]
fn a_large_value_goes_in_and_out() {
    let place = Place::new();
    let value = content(1, 3_000_001);
    place.with(&["set", "logo", "-", "--type", "image/png"], &[("KVS_MAX_VALUE", "4MiB")], &value).ok();
    let run = place.run(&["get", "logo"]).ok();
    assert!(run.out == value, "{} bytes", run.out.len());
    assert_eq!(run.err, "");
    assert_files(&place.path("data"), &[&value]);
    let listed = place.run(&["list", "--json"]).ok();
    let listed: serde_json::Value = serde_json::from_slice(&listed.out).unwrap();
    assert_eq!(listed[0]["type"], "image/png");
    assert_eq!(place.run(&["check"]).ok().text(), "");
}

#[test]
fn a_value_above_the_limit_is_refused_and_the_old_one_stays() {
    let place = Place::new();
    let (value, long) = (content(2, 1 << 20), content(3, (1 << 20) + 1));
    place.with(&["set", "a", "-"], &[], &value).ok();
    for key in ["a", "b"] {
        let run = place.with(&["set", key, "-"], &[], &long);
        assert!(run.code != 0 && run.err.contains("1048576"), "{run:?}");
    }
    assert!(place.run(&["get", "a"]).ok().out == value);
    place.run(&["get", "b"]).fails(1, "not found");
    assert_eq!(files(&place.path("data")), names(&[&value]));
    place.with(&["set", "a", "-", "--max-value", "11GiB"], &[], b"1").fails(2, "10 GiB");
}

#[test]
fn a_value_that_is_replaced_leaves_no_file() {
    let (first, second) = (content(4, 200_000), content(5, 200_000));
    let place = place_with(&[("a", &first)]);
    place.with(&["set", "a", "-"], &[], &second).ok();
    assert_files(&place.path("data"), &[&second]);
    place.run(&["set", "a", "small"]).ok();
    assert_files(&place.path("data"), &[]);
}

#[test]
fn values_that_are_deleted_or_expire_leave_no_file() {
    let (first, second) = (content(4, 200_000), content(5, 200_000));
    let place = place_with(&[("a", &second)]);
    let data = place.path("data");
    place.with(&["set", "b", "-", "--ttl", "1s"], &[], &first).ok();
    assert_files(&data, &[&first, &second]);
    place.run(&["delete", "a"]).ok();
    assert_files(&data, &[&first]);
    let begun = std::time::Instant::now();
    while place.run(&["get", "b"]).code == 0 {
        assert!(begun.elapsed().as_secs() < 20, "b does not expire");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    place.run(&["sweep"]).ok();
    assert_files(&data, &[]);
}

#[test]
fn a_sweep_of_old_entries_removes_their_files() {
    let (old, kept) = (content(6, 200_000), content(7, 200_000));
    let place = place_with(&[("old", &old), ("kept", &kept)]);
    let begun = std::time::Instant::now();
    while place.run(&["sweep", "--older-than", "1s", "--keep", "kept", "--dry-run"]).ok().text().is_empty() {
        assert!(begun.elapsed().as_secs() < 20, "nothing gets old");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(files(&place.path("data")), names(&[&old, &kept]), "a dry run removes nothing");
    place.run(&["sweep", "--older-than", "1s", "--keep", "kept"]).ok();
    assert_files(&place.path("data"), &[&kept]);
    assert!(place.run(&["get", "kept"]).ok().out == kept);
}

#[test]
fn exports_have_the_values_and_imports_store_them() {
    let value = content(8, 200_000);
    let text = "a line of text\n".repeat(10_000);
    for format in ["yaml", "json", "csv"] {
        let place = place_with(&[("image", &value)]);
        place.with(&["set", "text", "-"], &[], text.as_bytes()).ok();
        let file = format!("backup.{format}");
        place.run(&["export", &file]).ok();
        let exported = place.read(&file);
        assert!(!String::from_utf8_lossy(&exported).contains(&name(&value)), "{format} has a reference");
        let other = ["--store", "yaml:other"];
        place.run(&[&["import", &file][..], &other].concat()).ok();
        for (key, expected) in [("image", &value[..]), ("text", text.as_bytes())] {
            assert!(place.run(&[&["get", key][..], &other].concat()).ok().out == expected, "{format}: {key}");
        }
        assert_eq!(files(&place.path("other")), names(&[&value, text.as_bytes()]), "{format}");
        let listed = place.run(&[&["list", "image", "--json"][..], &other].concat()).ok();
        assert!(listed.text().contains("\"image/png\""), "{format}");
    }
}

#[test]
fn what_a_killed_writer_left_is_swept() {
    let value = content(9, 200_000);
    for command in ["sweep", "compact"] {
        let place = place_with(&[("image", &value)]);
        let unused = content(10, 100_000);
        for left in ["4194305-1.new", &name(&unused)] {
            place.file(&format!("data/blobs/default/{left}"), &unused);
        }
        assert!(place.run(&["get", "image"]).ok().out == value);
        place.run(&[command]).ok();
        assert_eq!(files(&place.path("data")), names(&[&value]), "after {command}");
        assert!(place.run(&["get", "image"]).ok().out == value);
    }
}
