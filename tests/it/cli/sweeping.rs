//! `kvs sweep --older-than`: old entries are listed, then deleted.

use super::Place;

#[test]
fn old_entries_are_listed_by_a_dry_run_and_deleted_without() {
    let place = Place::new();
    for (bucket, key) in [("default", "config/wifi"), ("default", "door"), ("default", "log/1"), ("shop", "log/1")] {
        place.run(&["set", "--bucket", bucket, key, "1"]).ok();
    }
    let old = ["sweep", "--older-than", "1ms", "--keep", "config/*", "--keep", "door"];
    let listed = place.run(&[&old[..], &["--dry-run"]].concat()).ok();
    assert_eq!(listed.text(), "default\tlog/1\nshop\tlog/1\n");
    assert_eq!(place.run(&["sweep", "--older-than", "1d"]).ok().text(), "");
    assert_eq!(place.run(&["list", "--keys"]).ok().text(), "config/wifi\ndoor\nlog/1\n");
    let swept = place.run(&[&old[..], &["--bucket", "default"]].concat()).ok();
    assert!(swept.err.contains("1 old entry removed"), "{swept:?}");
    assert_eq!(place.run(&["list", "--keys"]).ok().text(), "config/wifi\ndoor\n");
    assert_eq!(place.run(&["get", "--bucket", "shop", "log/1"]).ok().text(), "1");
    assert!(!place.run(&["sweep"]).ok().err.contains("old entr"));
}

#[test]
fn a_list_of_keys_to_keep_needs_an_age() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.run(&["sweep", "--keep", "a"]).fails(2, "--older-than");
    place.run(&["sweep", "--dry-run"]).fails(2, "--older-than");
    place.run(&["sweep", "--older-than", "soon"]).fails(2, "1d12h");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
}
