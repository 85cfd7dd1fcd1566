//! Handwritten files: every process and other YAML readers read the same from them.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kvs::model::{ErrorKind, Revision, Time};
use kvs::store::Task;
use kvs::yaml::{YamlOptions, YamlStore};

use crate::yaml::fixtures::{all, apply, commit, put, upkeep, values};
use crate::yaml::formats::{bytes, pyyaml};

/// A file of the bucket, saved in place.
fn save(folder: &Path, text: &str) {
    std::fs::File::create(folder.join("default.yaml")).unwrap().write_all(text.as_bytes()).unwrap();
}

fn open(folder: &Path) -> YamlStore {
    YamlStore::open(folder, YamlOptions::default()).unwrap()
}

fn opened(text: &str) -> (tempfile::TempDir, YamlStore) {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), text);
    let store = open(folder.path());
    (folder, store)
}

fn newest(store: &YamlStore) -> String {
    let entries = all(store).unwrap().1;
    entries.into_iter().max_by_key(|(_, entry)| entry.revision).unwrap().0
}

#[test]
fn every_process_reads_the_same_from_a_file() {
    let edits: [(&str, &str); 6] = [
        ("a: 1\nb: 2\n", "a: 9\nb: 2\n"),
        ("a: 1\nb: 2\n", "b: 2\na: 1\n"),
        ("a: 1\nb: 2\n", "a: 1\nb: 2\nc: 3\n"),
        ("a: 1\nb: 2\nc: 3\n", "a: 1\nc: 3\n"),
        ("a: {value: x, type: text/html}\nb: 2\n", "a: {value: x}\nb: 2\n"),
        ("a: 1\n---\nb: 2\na: 3\n", "a: 1\n---\nb: 2\na: 4\n"),
    ];
    for (first, second) in edits {
        let (folder, long_running) = opened(first);
        let before = all(&long_running).unwrap();
        assert_eq!(all(&open(folder.path())).unwrap(), before, "{first:?}");
        save(folder.path(), second);
        let after = all(&long_running).unwrap().1;
        for _ in 0..2 {
            let fresh = open(folder.path());
            assert_eq!(all(&fresh).unwrap().1, after, "{second:?}");
            assert_eq!(newest(&fresh), newest(&long_running), "{second:?}");
        }
        // A write through either does not change the handwritten entries.
        for store in [&long_running, &open(folder.path())] {
            commit(store, vec![put("other", "x")]);
            for store in [&long_running, &open(folder.path())] {
                let mut found = all(store).unwrap().1;
                assert_eq!(found.remove("other").unwrap().value, "x");
                assert_eq!(found, after, "{second:?}");
            }
        }
    }
}

#[test]
fn changed_value_has_a_new_revision_at_the_same_mtime() {
    let times = [Duration::from_secs(1), Duration::from_secs(1_700_000_000), Duration::ZERO];
    for time in times {
        let (folder, long_running) = opened("a: 1\n");
        let path = folder.path().join("default.yaml");
        let touch = |path: &Path| {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + time).unwrap();
        };
        let mut seen = std::collections::HashMap::new();
        for n in 0..20 {
            for by_rename in [false, true] {
                let text = format!("a: {n}{}\nb: same\n", if by_rename { " renamed" } else { "" });
                if by_rename {
                    let sibling = folder.path().join("sibling");
                    std::fs::File::create(&sibling).unwrap().write_all(text.as_bytes()).unwrap();
                    touch(&sibling);
                    kvs::yaml::FileSystem::rename(&kvs::yaml::RealFileSystem, &sibling, &path).unwrap();
                } else {
                    save(folder.path(), &text);
                    touch(&path);
                }
                let entry = all(&long_running).unwrap().1.remove("a").unwrap();
                assert_eq!(all(&open(folder.path())).unwrap().1.remove("a").unwrap(), entry, "{text:?}");
                assert!(entry.revision > Revision::ZERO);
                let other = seen.insert(entry.revision, entry.value.clone());
                assert!(other.is_none_or(|value| value == entry.value), "one revision for two values");
            }
        }
    }
}

#[test]
fn trailing_empty_lines_of_a_keep_block_are_kept() {
    for (text, wanted) in [
        ("a: |+\n  x\n\n\nb: one\n", "x\n\n\n"),
        ("a: >+\n  x\n\n\nb: one\n", "x\n\n\n"),
        ("b: one\na: |+\n  x\n\n", "x\n\n"),
        ("a: |+\n  x\n\n  y\n\n# comment\nb: one\n", "x\n\ny\n\n"),
        ("a:\n  value: |+\n    x\n\n\nb: one\n", "x\n\n\n"),
        ("a: |+\n  x\n\n\n...\n---\nb: one\n...\n", "x\n\n\n"),
        ("a: |\n  x\n\n\nb: one\n", "x\n"),
        ("a: |-\n  x\n\n\nb: one\n", "x"),
        ("a: \"x\n\n\n  y\"\nb: one\n", "x\n\ny"),
        ("a: |+\r\n  x\r\n\r\n\r\nb: one\r\n", "x\n\n\n"),
    ] {
        let (folder, store) = opened(text);
        assert_eq!(values(&store)["a"], wanted, "{text:?}");
        assert_eq!(pyyaml(&folder.path().join("default.yaml")), bytes(&store), "{text:?}");
        commit(&store, vec![put("c", "written")]);
        for store in [&store, &open(folder.path())] {
            assert_eq!((values(store)["a"].as_str(), values(store)["b"].as_str()), (wanted, "one"), "{text:?}");
        }
    }
}

#[test]
fn any_text_in_quotes_can_be_a_key() {
    for key in ["<<", "~", "null", "=", "*a", "&a", "!x", "?", "-", "yes", "#"] {
        let (folder, store) = opened("");
        commit(&store, vec![put(key, "1")]);
        let path = folder.path().join("default.yaml");
        let ours = std::fs::read_to_string(&path).unwrap();
        for text in
            [ours.replace('\n', "\r\n"), ours.replace(": {", ":   { ").replace('}', " }"), ours.replace('"', "'")]
        {
            save(folder.path(), &text);
            for store in [&store, &open(folder.path())] {
                assert_eq!(values(store)[key], "1", "{text:?}");
            }
            assert_eq!(pyyaml(&path), bytes(&store), "{text:?}");
            commit(&store, vec![put("other", "x")]);
        }
    }
    let (_folder, store) = opened("a: {value: 1}\n<<: {value: 2}\n");
    assert!(all(&store).is_err(), "without quotes it is a merge key");
}

#[test]
fn byte_order_mark_is_accepted_before_anything() {
    for rest in
        ["%YAML 1.2\n---\na: 1\n", "---\na: 1\n", "# comment\na: 1\n", "a: 1\n...\n", "%YAML 1.2\r\n---\r\na: 1\r\n"]
    {
        let text = format!("\u{feff}{rest}");
        let (_folder, store) = opened(&text);
        assert_eq!(values(&store)["a"], "1", "{text:?}");
        assert_eq!(upkeep(&store, Task::Check).unwrap().findings, [], "{text:?}");
        assert_eq!(kvs::yaml::read_text(&text).unwrap().len(), 1, "{text:?}");
        commit(&store, vec![put("b", "2")]);
        assert_eq!(values(&store).len(), 2, "{text:?}");
    }
}

#[test]
fn expiry_out_of_range_means_never() {
    for time in ["9999-12-31T23:59:59Z", "2262-04-12T00:00:00Z", "2500-01-01T00:00:00+02:00"] {
        let (folder, store) = opened(&format!("a: {{value: 1, expires: {time}}}\nb: 2\n"));
        assert_eq!(all(&store).unwrap().1["a"].expires, None, "{time}");
        assert_eq!(upkeep(&store, Task::Check).unwrap().findings, [], "{time}");
        commit(&store, vec![put("c", "3")]);
        assert_eq!(values(&open(folder.path())).len(), 3, "{time}");
    }
    let (_folder, store) = opened("a: {value: 1, expires: 1500-01-01T00:00:00Z}\nb: 2\n");
    assert_eq!(values(&store).len(), 1, "an entry that expired long ago is missing");
    let (_folder, store) = opened("a: {value: 1, created: 1500-01-01T00:00:00Z, modified: 9999-01-01T00:00:00Z}\n");
    assert_eq!(all(&store).unwrap().1["a"].created, Time::from_nanos(i64::MIN));
}

#[test]
fn latest_modified_time_is_rejected_with_its_line() {
    for time in ["2262-04-11T23:47:16.854775807Z", "2262-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        let (_folder, store) =
            opened(&format!("b: {{value: x, updated: 2026-11-20T12:00:00Z}}\na: {{value: x, updated: {time}}}\n"));
        let error = apply(&store, vec![put("c", "1")]).unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Corrupt && text.contains("line 2") && text.contains("too late"), "{text}");
    }
    // In a comment of kvs such a time is ignored.
    let late = "2262-04-11T23:47:16.854775807Z";
    for text in [
        format!("# kvs bucket: default\n# revision: {late}\na: 1\n...\n"),
        format!("a: 1\n...\n---\nb: ~ # {late}\n...\n"),
    ] {
        let (_folder, store) = opened(&text);
        let revisions: Vec<Revision> = (0..3).map(|n| commit(&store, vec![put("c", n.to_string())])).collect();
        assert!(revisions.is_sorted() && revisions[0] < revisions[1] && revisions[1] < revisions[2], "{revisions:?}");
        assert!(revisions[2].time() < Time::from_secs(8_000_000_000), "{revisions:?}");
    }
}

#[test]
fn entry_with_the_latest_modified_time_is_not_restored() {
    let (_folder, store) = opened("");
    let mut entry = {
        commit(&store, vec![put("a", "1")]);
        all(&store).unwrap().1.remove("a").unwrap()
    };
    entry.revision = Revision::new(u64::try_from(i64::MAX).unwrap());
    let error =
        apply(&store, vec![kvs::model::Write::Restore { key: crate::yaml::fixtures::key("b"), entry }]).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("2261"), "{error}");
    assert!(commit(&store, vec![put("a", "2")]) < commit(&store, vec![put("a", "3")]));
}
