//! A person edits the entries of large values.

use std::path::PathBuf;

use super::{assert_files, content, files, names, place_with, save};
use crate::cli::Place;

/// Changes the text of the data file.
fn edit(place: &Place, change: impl FnOnce(String) -> String) {
    let file: PathBuf = place.path("data/default.yaml");
    let before = std::fs::read_to_string(&file).unwrap();
    let after = change(before.clone());
    assert_ne!(after, before, "the edit changes something");
    save(&file, after);
}

/// The line of an entry.
fn line(text: &str, key: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(&format!("{key}:")));
    found.unwrap_or_else(|| panic!("{key} is not on one line of {text}")).to_owned()
}

#[track_caller]
fn assert_value(place: &Place, key: &str, expected: &[u8]) {
    assert!(place.run(&["get", key]).ok().out == expected, "{key}");
}

#[track_caller]
fn assert_no_findings(place: &Place) {
    let run = place.run(&["check"]).ok();
    assert_eq!(run.text(), "", "{run:?}");
}

#[test]
fn an_entry_that_a_person_deletes_is_gone_and_its_file_is_swept() {
    for command in ["sweep", "compact"] {
        let (value, other) = (content(1, 200_000), content(2, 200_000));
        let place = place_with(&[("image", &value), ("other", &other)]);
        edit(&place, |text| text.replace(&format!("{}\n", line(&text, "image")), ""));
        place.run(&["get", "image"]).fails(1, "not found");
        assert_value(&place, "other", &other);
        assert_no_findings(&place);
        place.run(&[command]).ok();
        assert_eq!(files(&place.path("data")), names(&[&other]), "after {command}");
        assert_value(&place, "other", &other);
    }
}

#[test]
fn a_text_that_a_person_writes_over_a_reference_is_the_value() {
    for text in ["image: a new text", "image: {value: a new text, type: text/html}", "image: {json: [1, 2]}"] {
        let value = content(3, 200_000);
        let place = place_with(&[("image", &value)]);
        edit(&place, |before| before.replace(&line(&before, "image"), text));
        let expected: &[u8] = if text.contains("json") { b"[1, 2]" } else { b"a new text" };
        assert_value(&place, "image", expected);
        place.run(&["sweep"]).ok();
        assert_files(&place.path("data"), &[]);
        assert_value(&place, "image", expected);
        assert_no_findings(&place);
    }
}

#[test]
fn a_reference_that_a_person_renames_or_copies_is_the_value() {
    let (value, other) = (content(4, 200_000), content(5, 200_000));
    let place = place_with(&[("image", &value), ("other", &other)]);
    edit(&place, |text| {
        let entry = line(&text, "image").replacen("image:", "renamed:", 1);
        text.replacen("image:", "copy:", 1) + &entry + "\n"
    });
    place.run(&["get", "image"]).fails(1, "not found");
    for command in ["sweep", "compact"] {
        for key in ["renamed", "copy"] {
            assert_value(&place, key, &value);
        }
        place.run(&[command]).ok();
    }
    place.run(&["delete", "copy"]).ok();
    assert_value(&place, "renamed", &value);
    place.run(&["sweep"]).ok();
    assert_value(&place, "renamed", &value);
    place.run(&["delete", "renamed"]).ok();
    assert_files(&place.path("data"), &[&other]);
    assert_no_findings(&place);
}

#[test]
fn comments_and_spelling_around_a_reference_stay() {
    let value = content(6, 200_000);
    let place = place_with(&[("a", b"1"), ("image", &value), ("z", b"1")]);
    edit(&place, |text| {
        let entry = line(&text, "image");
        text.replace(&entry, &format!("# the logo\n{entry} # made in 2026"))
    });
    place.run(&["set", "z", "2"]).ok();
    place.run(&["compact"]).ok();
    let text = String::from_utf8(place.read("data/default.yaml")).unwrap();
    assert!(text.contains("# the logo\nimage: ") && text.contains(" # made in 2026\n"), "{text}");
    assert_value(&place, "image", &value);
}

#[test]
fn a_reference_in_another_bucket_is_an_error_of_its_key_only() {
    let value = content(7, 200_000);
    let place = place_with(&[("image", &value)]);
    place.run(&["set", "a", "1", "--bucket", "second"]).ok();
    let entry = line(&std::fs::read_to_string(place.path("data/default.yaml")).unwrap(), "image");
    let second = place.path("data/second.yaml");
    let text = std::fs::read_to_string(&second).unwrap() + &entry + "\n";
    save(&second, text);
    let run = place.run(&["get", "image", "--bucket", "second"]);
    assert!(run.code != 0 && run.out.is_empty() && run.err.contains("image"), "{run:?}");
    assert_eq!(place.run(&["get", "a", "--bucket", "second"]).ok().text(), "1");
    let check = place.run(&["check", "--bucket", "second"]).fails(1, "");
    assert!(check.text().contains("second"), "{check:?}");
    assert_value(&place, "image", &value);
}
