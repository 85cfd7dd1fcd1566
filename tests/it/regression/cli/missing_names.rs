//! Missing folders, buckets and tables are errors that list the existing ones; they are not read as empty.

use crate::cli::Place;

const READS: [&[&str]; 8] = [
    &["get", "a"],
    &["list"],
    &["list", "--keys"],
    &["list", "--json"],
    &["export"],
    &["export", "backup.csv"],
    &["check"],
    // It does not create anything either.
    &["delete", "a"],
];

#[test]
fn mistyped_folder_or_bucket_is_reported_and_no_backup_replaced() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--bucket", "shop"]).ok();
    place.run(&["set", "a", "1", "--bucket", "news"]).ok();
    place.file("backup.csv", "the good one");
    for read in READS {
        let with = |more: &[&str]| place.run(&[read, more].concat());
        for (more, says) in [
            (&["--bucket", "shpo"][..], &["no bucket shpo in yaml:data", "did you mean shop?", "news, shop"][..]),
            (&["--bucket", "other"], &["no bucket other in yaml:data", "there are news, shop"]),
            (&["--store", "yaml:dtaa"], &["no folder dtaa", "did you mean data?"]),
            (&["--store", "yaml:no/such/folder"], &["no folder no/such/folder"]),
        ] {
            let run = with(more);
            for says in says {
                assert!(run.err.contains(says), "{read:?} {more:?}: {run:?}");
            }
            assert_eq!((run.code, run.text()), (1, ""), "{read:?} {more:?}: {run:?}");
        }
        assert_eq!(place.read("backup.csv"), b"the good one", "{read:?}");
    }
    assert!(!place.path("dtaa").exists() && !place.path("no").exists(), "reading makes nothing");
    let copy = |from: &str, bucket: &str| place.run(&["copy", from, "yaml:copied", "--bucket", bucket]);
    copy("yaml:data", "shpo").fails(1, "the source has no bucket shpo; did you mean shop?");
    copy("yaml:dtaa", "shop").fails(1, "FROM: there is no folder dtaa; did you mean data?");
}

#[test]
fn empty_bucket_is_read_as_empty() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.run(&["delete", "a"]).ok();
    assert_eq!(place.run(&["list"]).ok().text(), "");
    assert!(place.run(&["export", "backup.json"]).ok().err.contains("0 entries"));
    assert_eq!(place.read("backup.json"), b"[]\n");
    place.run(&["get", "a"]).fails(1, "not found in bucket default: a");
}

#[test]
fn failed_export_keeps_the_old_file_and_leaves_no_other() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    std::fs::create_dir(place.path("folder")).unwrap();
    place.file("folder/old.yaml", "old");
    place.run(&["export", "folder/old.yaml", "--bucket", "none"]).fails(1, "no bucket none");
    place.run(&["export", "none/new.yaml"]).fails(1, "none/new.yaml");
    place.run(&["export", "folder"]).fails(1, "folder");
    assert_eq!(place.read("folder/old.yaml"), b"old");
    assert_eq!(std::fs::read_dir(place.path("folder")).unwrap().count(), 1);
}

#[test]
fn missing_tables_and_buckets_are_reported() {
    let url = crate::postgres::empty("");
    let place = Place::new();
    let with = |args: &[&str]| place.with(args, &[("KVS_STORE", &url)], b"");
    for read in READS {
        with(read).fails(1, "has no kvs tables");
    }
    with(&["set", "a", "1", "--bucket", "shop"]).ok();
    for read in READS {
        let run = with(&[read, &["--bucket", "shpo"]].concat()).fails(1, "no bucket shpo in postgresql://");
        assert!(run.err.contains("did you mean shop?"), "{run:?}");
    }
    assert!(!place.path("backup.csv").exists());
    assert_eq!(with(&["list", "--bucket", "shop"]).ok().text(), "a\t1\n");
}
