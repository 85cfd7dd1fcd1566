//! `kvs append` and `kvs log`.

use super::Place;

#[test]
fn entries_are_appended_printed_and_removed() {
    let place = Place::new();
    assert_eq!(place.run(&["append", "kitchen/temp", "21.5"]).ok().text(), "0\n");
    assert_eq!(place.run(&["append", "kitchen/temp", "-3", "--keep", "2"]).ok().text(), "1\n");
    assert_eq!(place.run(&["append", "kitchen/temp", "a\tb"]).ok().text(), "2\n");
    let printed = place.run(&["log", "kitchen/temp"]).ok().text().to_owned();
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines[0][0], lines[0][2], lines[1][0], lines[1][2]), ("1", "-3", "2", "a\\tb"), "{printed}");
    assert_eq!(place.run(&["log", "kitchen/temp", "--values", "--last", "1"]).ok().text(), "a\tb\n");
    assert_eq!(place.run(&["log", "kitchen/temp", "--values", "--from", "2", "--since", "1h"]).ok().text(), "a\tb\n");
    let json = place.run(&["log", "kitchen/temp", "-n", "1", "--json"]).ok().text().to_owned();
    assert!(json.starts_with("{\"index\":2,\"value\":\"a\\tb\",\"updated\":\"2"), "{json}");
    let listed = place.run(&["log"]).ok().text().to_owned();
    assert!(listed.starts_with("kitchen/temp\t2\t2"), "{listed}");
    let removed = place.run(&["log", "kitchen/temp", "--remove", "--before", "2"]).ok();
    assert!(removed.err.contains("removed 1 entry"), "{}", removed.err);
    assert!(place.run(&["log", "kitchen/temp", "--remove"]).ok().err.contains("removed 1 entry"));
    place.run(&["log", "kitchen/temp"]).fails(1, "there is no log kitchen/temp");
}

#[test]
fn lines_types_and_indices_are_options() {
    let place = Place::new();
    let options = ["append", "readings", "-", "--lines", "--keep-for", "30d"];
    assert_eq!(place.with(&options, &[], b"1\n2\n3\n").ok().text(), "0\n");
    assert_eq!(place.run(&["append", "readings", "[1, 2]", "--type", "application/json"]).ok().text(), "3\n");
    let json = place.run(&["log", "readings", "--last", "1", "--json"]).ok().text().to_owned();
    assert!(json.starts_with("{\"index\":3,\"json\":[1, 2],\"updated\""), "{json}");
    place.run(&["append", "readings", "x", "--index", "3"]).fails(1, "the next index of log readings is 4");
    assert_eq!(place.run(&["append", "readings", "x", "--index", "4", "--keep-all"]).ok().text(), "4\n");
    place.run(&["append", "readings", "x", "--keep", "0"]).fails(2, "--keep");
    place.run(&["append", "readings", "x", "--keep-for", "0"]).fails(2, "--keep-for");
    place.with(&["append", "readings", "-", "--lines"], &[], b"").fails(1, "no lines");
    place.run(&["log", "readings", "--remove", "--json"]).fails(2, "--remove");
    assert_eq!(place.run(&["log", "readings", "--values"]).ok().text().lines().count(), 5);
    place.run(&["check"]).ok();
    place.run(&["compact"]).ok();
    assert_eq!(place.run(&["log", "readings", "--values"]).ok().text().lines().count(), 5);
}
