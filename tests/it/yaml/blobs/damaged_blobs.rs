//! Files of large values that are missing or changed: an error of their entries, and of nothing else.

use std::path::Path;

use super::{assert_files, blob_folder, content, name, place_with, save};
use crate::cli::Place;
use crate::support::served::Served;

/// A kind of damage: its name, and what it does to the file.
type Damage = (&'static str, fn(&Path));

/// The files of the first five have another length.
const DAMAGE_CASES: [Damage; 7] = [
    ("missing", |path| std::fs::remove_file(path).unwrap()),
    ("empty", |path| save(path, b"")),
    ("truncated", |path| cut(path, 1)),
    ("half", |path| cut(path, 100_000)),
    ("longer", |path| save(path, [std::fs::read(path).unwrap(), vec![0]].concat())),
    ("flipped in the middle", |path| flip(path, 99_999)),
    ("flipped at the end", |path| flip(path, 199_999)),
];

fn cut(path: &Path, bytes: usize) {
    let content = std::fs::read(path).unwrap();
    save(path, &content[..content.len() - bytes]);
}

fn flip(path: &Path, at: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1;
    save(path, content);
}

/// A place with two large values and a small one.
fn prepared() -> (Place, [Vec<u8>; 2]) {
    let values = [content(1, 200_000), content(2, 200_000)];
    (place_with(&[("image", &values[0]), ("other", &values[1]), ("small", b"1")]), values)
}

#[test]
fn a_file_of_another_length_is_an_error_of_its_entry_only() {
    for (what, damage) in &DAMAGE_CASES[..5] {
        let (place, [value, other]) = prepared();
        damage(&blob_folder(&place.path("data")).join(name(&value)));
        let run = place.run(&["get", "image"]);
        assert!(run.code == 1 && run.out != value, "{what}: exit code {}", run.code);
        assert!(run.err.contains(&name(&value)), "{what}: the error names the file: {}", run.err);
        assert!(place.run(&["get", "other"]).ok().out == other, "{what}");
        assert_eq!(place.run(&["get", "small"]).ok().text(), "1", "{what}");
        place.run(&["set", "small", "2"]).ok();
        place.run(&["set", "new", "1"]).ok();
        assert_eq!(place.run(&["list", "--keys"]).ok().text(), "image\nnew\nother\nsmall\n", "{what}");
    }
}

#[test]
fn a_file_with_other_bytes_is_found_by_a_check() {
    for (what, damage) in &DAMAGE_CASES[5..] {
        let (place, [value, _]) = prepared();
        damage(&blob_folder(&place.path("data")).join(name(&value)));
        place.run(&["get", "image"]).ok();
        let check = place.run(&["check"]).fails(1, "");
        assert!(check.text().contains(&name(&value)) && check.text().contains("was changed"), "{what}: {check:?}");
    }
}

#[test]
fn check_names_each_damaged_file_and_a_restored_one_works_again() {
    for (what, damage) in DAMAGE_CASES {
        let (place, [value, other]) = prepared();
        let file = blob_folder(&place.path("data")).join(name(&value));
        damage(&file);
        let check = place.run(&["check"]).fails(1, "");
        let lines: Vec<&str> = check.text().lines().collect();
        assert_eq!(lines.len(), 1, "{what}: {check:?}");
        assert!(lines[0].contains(&name(&value)) && !lines[0].contains(&name(&other)), "{what}: {check:?}");
        save(&file, &value);
        assert_eq!(place.run(&["check"]).ok().text(), "", "{what}");
        assert!(place.run(&["get", "image"]).ok().out == value, "{what}");
    }
}

#[test]
fn a_damaged_value_can_be_stored_again() {
    for (what, damage) in DAMAGE_CASES {
        let (place, [value, other]) = prepared();
        damage(&blob_folder(&place.path("data")).join(name(&value)));
        place.with(&["set", "image", "-"], &[], &value).ok();
        assert!(place.run(&["get", "image"]).ok().out == value, "{what}");
        assert_eq!(place.run(&["check"]).ok().text(), "", "{what}");
        assert_files(&place.path("data"), &[&value, &other]);
    }
}

#[test]
fn a_damaged_value_can_be_replaced_and_deleted() {
    for (what, damage) in DAMAGE_CASES {
        let (place, [value, other]) = prepared();
        let data = place.path("data");
        damage(&blob_folder(&data).join(name(&value)));
        damage(&blob_folder(&data).join(name(&other)));
        place.run(&["set", "image", "small now"]).ok();
        place.run(&["delete", "other"]).ok();
        assert_eq!(place.run(&["get", "image"]).ok().text(), "small now", "{what}");
        place.run(&["sweep"]).ok();
        assert_files(&data, &[]);
        assert_eq!(place.run(&["check"]).ok().text(), "", "{what}");
    }
}

#[test]
fn a_sweep_never_removes_a_file_that_an_entry_needs() {
    for (what, damage) in DAMAGE_CASES {
        let (place, [value, other]) = prepared();
        let data = place.path("data");
        damage(&blob_folder(&data).join(name(&value)));
        let before = super::files(&data);
        for command in ["sweep", "compact"] {
            place.run(&[command]);
            assert_eq!(super::files(&data), before, "{what}: after {command}");
        }
        assert!(place.run(&["get", "other"]).ok().out == other, "{what}");
    }
}

/// The status and the body of a response; nothing if the connection was closed without one.
fn parsed(answer: &str) -> (&str, &str) {
    answer.split_once("\r\n\r\n").map_or(("", ""), |(head, body)| (&head[9..12], body))
}

#[test]
fn a_file_with_other_bytes_does_not_match_the_digest_of_its_response() {
    let kvs = Served::start(&[]);
    let value = "text ".repeat(40_000);
    kvs.put("/kv/default/image", &value);
    let digest = |answer: &str| answer.lines().find_map(|line| line.strip_prefix("Repr-Digest: ").map(str::to_owned));
    let whole = digest(&kvs.get("/kv/default/image")).unwrap();
    flip(&blob_folder(kvs.file("default").parent().unwrap()).join(name(value.as_bytes())), 99_999);
    let answer = kvs.get("/kv/default/image");
    assert!(parsed(&answer).1 != value, "a read does not compare the bytes with the name");
    assert_eq!(digest(&answer).unwrap(), whole, "but a client can");
}

#[test]
fn a_file_of_another_length_is_never_sent_as_a_whole_value() {
    for (what, damage) in &DAMAGE_CASES[..5] {
        let kvs = Served::start(&[]);
        // A text, so that the length of the response can be compared.
        let (value, other) = ("text ".repeat(40_000), "more ".repeat(40_000));
        kvs.put("/kv/default/image", &value);
        kvs.put("/kv/default/other", &other);
        damage(&blob_folder(kvs.file("default").parent().unwrap()).join(name(value.as_bytes())));
        let answer = kvs.get("/kv/default/image");
        let (status, body) = parsed(&answer);
        // The right bytes may come from a file that is too long. Wrong ones must not look like a value.
        assert!(status == "500" || body.len() < value.len() || body == value, "{what}: {status}, with other bytes");
        assert!(status == "500" || *what != "missing", "{what}: {status:?}");
        assert_eq!(parsed(&kvs.get("/kv/default/other")), ("200", &*other), "{what}");
        kvs.put("/kv/default/image", &value);
        assert_eq!(parsed(&kvs.get("/kv/default/image")), ("200", &*value), "{what}: stored again");
    }
}

#[test]
fn a_link_in_place_of_a_file_is_refused() {
    let (place, [value, other]) = prepared();
    let file = blob_folder(&place.path("data")).join(name(&value));
    let elsewhere = place.path("elsewhere");
    std::fs::copy(&file, &elsewhere).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let run = place.run(&["get", "image"]);
    assert!(run.code == 1 && run.out.is_empty(), "exit code {}", run.code);
    assert!(place.run(&["get", "other"]).ok().out == other);
    let check = place.run(&["check"]).fails(1, "");
    assert!(check.text().contains(&name(&value)), "{check:?}");
}
