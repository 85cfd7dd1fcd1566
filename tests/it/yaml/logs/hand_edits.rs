//! A person edits the file of a log while kvs is stopped.
//!
//! What always holds: what can be read as entries is read; anything else is an error that names the file, and no append
//! destroys what the file has.

use kvs::model::{ErrorKind, LogQuery};
use kvs::store::Logs as _;

use super::{Deed, append, file, keeping, text, texts, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{bucket, key, open, run};

/// A log with six entries in three appends.
fn six() -> (CrashFs, String) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    for part in [&["zero", "one", "two"][..], &["three"], &["four", "five"]] {
        append(&store, part).unwrap();
    }
    let before = text(&disk);
    (disk, before)
}

/// The line of the file, from 1, with this value.
fn line_of(text: &str, value: &str) -> usize {
    1 + text.lines().position(|line| line.contains(&format!("value: {value},"))).unwrap()
}

fn without(text: &str, value: &str) -> String {
    let kept = text.lines().filter(|line| !line.contains(&format!("value: {value},")));
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn deleted_lines_leave_the_other_entries() {
    for (deleted, left) in [
        ("zero", ["one", "two", "three", "four", "five"]),
        ("two", ["zero", "one", "three", "four", "five"]),
        ("three", ["zero", "one", "two", "four", "five"]),
        ("four", ["zero", "one", "two", "three", "five"]),
    ] {
        let (disk, before) = six();
        disk.put(&file(), without(&before, deleted).as_bytes());
        let store = open(disk.clone());
        assert_eq!(texts(&store), left, "without {deleted}");
        assert_eq!(append(&store, &["six"]).unwrap(), 6);
        assert_eq!(texts(&open(disk.clone()))[..5], left);
    }
}

#[test]
fn a_header_without_a_line_feed_is_followed_by_new_entries() {
    for end in ["", "\n"] {
        let (disk, before) = six();
        let header = &before[..before.find("\n- ").unwrap()];
        disk.put(&file(), format!("{header}{end}").as_bytes());
        assert_eq!(texts(&open(disk.clone())), [""; 0]);
        append(&open(disk.clone()), &["new"]).unwrap();
        assert_eq!(texts(&open(disk.clone())), ["new"], "{}", text(&disk));
        assert!(text(&disk).starts_with(&format!("{header}\n- {{")), "{}", text(&disk));
    }
}

#[test]
fn lines_without_the_end_of_their_append_are_kept_elsewhere() {
    let (disk, before) = six();
    disk.put(&file(), without(&before, "five").as_bytes());
    // They look like what a killed writer leaves.
    let left = ["zero", "one", "two", "three"];
    assert_eq!(texts(&open(disk.clone())), left);
    append(&open(disk.clone()), &["next"]).unwrap();
    assert_eq!(texts(&open(disk.clone()))[..4], left);
    let kept = disk.names().into_iter().filter(|name| name.to_string_lossy().contains(".torn-"));
    let kept: Vec<String> = kept.map(|name| String::from_utf8(disk.bytes(&name).unwrap()).unwrap()).collect();
    assert!(kept.len() == 1 && kept[0].contains("value: four,"), "{kept:?}");
}

#[test]
fn comments_empty_lines_and_other_line_ends_are_ignored() {
    let (_, before) = six();
    let commented = before.replace("- {index: 4", "# a note\n\n  # another\n- {index: 4") + "# at the end\n\n";
    let begun = format!("# at the begin\n\n{before}");
    for edited in [commented.clone(), begun, before.replace('\n', "\r\n"), commented.replace('\n', "\r\n")] {
        let disk = CrashFs::default();
        disk.put(&file(), edited.as_bytes());
        let store = open(disk.clone());
        let all = ["zero", "one", "two", "three", "four", "five"];
        assert_eq!(texts(&store), all, "{edited}");
        assert_eq!(append(&store, &["six"]).unwrap(), 6);
        assert_eq!(append(&store, &["seven"]).unwrap(), 7);
        assert_eq!(texts(&open(disk.clone()))[..6], all);
        assert!(text(&disk).starts_with(&edited), "{}", text(&disk));
    }
}

#[test]
fn last_line_without_a_line_feed_is_an_entry() {
    let (disk, before) = six();
    disk.put(&file(), before.trim_end().as_bytes());
    let store = open(disk.clone());
    assert_eq!(texts(&store).len(), 6);
    assert_eq!(append(&store, &["six"]).unwrap(), 6);
    assert_eq!(texts(&open(disk.clone())).last().unwrap(), "six");
    assert_eq!(text(&disk).lines().count(), before.lines().count() + 1);
}

#[test]
fn missing_last_line_feed_of_an_empty_log_keeps_its_next_index() {
    let (disk, _) = six();
    let store = open(disk.clone());
    keeping(values(&[]), Some(9)).run(&store).unwrap();
    Deed::Remove(Some(6)).run(&store).unwrap();
    assert_eq!(view(&store).unwrap().unwrap().next, 6);
    disk.put(&file(), text(&disk).trim_end().as_bytes());
    match append(&open(disk.clone()), &["six"]) {
        Ok(index) => assert_eq!(index, 6, "{}", text(&disk)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
}

#[test]
fn damaged_line_is_named_and_nothing_is_lost() {
    for value in ["zero", "two", "three", "five"] {
        let (disk, before) = six();
        let edited = before.replace(&format!("value: {value},"), &format!("valu: {value},"));
        let line = 1 + edited.lines().position(|line| line.contains("valu:")).unwrap();
        assert_eq!(line, line_of(&before, value));
        disk.put(&file(), edited.as_bytes());
        let store = open(disk.clone());
        for error in [view(&store).unwrap_err(), append(&store, &["six"]).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            let named = error.to_string();
            assert!(named.contains("a.log") && named.contains(&format!("line {line} ")), "{value}: {named}");
        }
        assert_eq!(text(&disk), edited);
        disk.put(&file(), before.as_bytes());
        assert_eq!(append(&store, &["six"]).unwrap(), 6, "after it was corrected");
    }
}

#[test]
fn damage_far_from_the_end_leaves_the_last_entries() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    let many: Vec<String> = (0..2_000).map(|n| format!("value number {n}")).collect();
    append(&store, &many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    for _ in 0..1_000 {
        append(&store, &["another value"]).unwrap();
    }
    let edited = text(&disk).replace("value: value number 100,", "valu: value number 100,");
    assert_ne!(edited, text(&disk));
    disk.put(&file(), edited.as_bytes());
    let store = open(disk.clone());
    let line = 1 + edited.lines().position(|line| line.contains("valu:")).unwrap();
    let error = view(&store).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(&format!("line {line} ")), "{error}");
    let last = run(store.read_log(&bucket(), &key(super::NAME), LogQuery::last(10))).unwrap().unwrap();
    assert_eq!((last.entries.len(), last.next), (10, 3_000));
    assert_eq!(append(&store, &["next"]).unwrap(), 3_000);
    assert!(text(&disk).starts_with(&edited));
}

/// Whether nothing of an edited file is lost, whatever was appended.
fn keeps(disk: &CrashFs, edited: &[u8]) -> bool {
    let bytes = |name| disk.bytes(name).unwrap();
    disk.names().iter().any(|name| bytes(name).windows(edited.len()).any(|part| part == edited))
}

#[test]
fn damaged_header_is_an_error_and_nothing_is_lost() {
    let (_, before) = six();
    let utf_16: Vec<u8> = before.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let indented = before.replace("\n- ", "\n  - ").replace("key: a", "key: 'a'");
    let edits: [(&str, Vec<u8>); 9] = [
        ("another field", before.replace("key: a", "key: a\nnote: hello").into()),
        ("no key", before.replace("key: a\n", "").into()),
        ("a wrong retention", before.replace("key: a", "key: a\nkeep: many").into()),
        ("no line before the entries", before.replace("entries:\n", "").into()),
        ("a byte order mark", format!("\u{feff}{before}").into()),
        ("UTF-16", utf_16),
        ("line ends of old systems", before.replace('\n', "\r").into()),
        ("indented by another program", indented.into()),
        ("a zero in the header", before.replace("key: a", "key: a\0").into()),
    ];
    let mut wrong = vec![];
    for (name, edited) in edits {
        let disk = CrashFs::default();
        disk.put(&file(), &edited);
        let store = open(disk.clone());
        let (read, appended) = (view(&store).map_err(|e| e.kind()), append(&store, &["x"]).map_err(|e| e.kind()));
        if (&read, &appended) != (&Err(ErrorKind::Corrupt), &Err(ErrorKind::Corrupt)) || !keeps(&disk, &edited) {
            wrong.push(format!("{name}: read {read:?}, appended {appended:?}, kept: {}", keeps(&disk, &edited)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Without the error all entries would be hidden, and those that are appended too.
#[test]
fn first_index_that_is_greater_than_the_last_one_is_an_error() {
    let (disk, before) = six();
    disk.put(&file(), before.replace("{index: 0,", "{index: 10,").as_bytes());
    let store = open(disk.clone());
    for error in [view(&store).unwrap_err(), append(&store, &["six"]).unwrap_err()] {
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Corrupt && text.contains("has index 10, but its last one 5"), "{text}");
    }
    disk.put(&file(), before.as_bytes());
    assert_eq!(append(&open(disk.clone()), &["six"]).unwrap(), 6);
}

#[test]
fn file_of_another_key_is_refused() {
    let (disk, before) = six();
    let other = file().with_file_name("b.log");
    disk.put(&other, before.as_bytes());
    let store = open(disk.clone());
    let error = run(store.read_log(&bucket(), &key("b"), LogQuery::default())).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("b.log"), "{error}");
    let error = run(store.append(&bucket(), &key("b"), kvs::model::LogAppend::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(disk.bytes(&other).unwrap(), before.as_bytes());
    assert_eq!(texts(&store).len(), 6);
}

#[test]
fn empty_file_is_a_missing_log() {
    let disk = CrashFs::default();
    disk.put(&file(), b"");
    let store = open(disk.clone());
    assert_eq!(view(&store).unwrap(), None);
    assert!(!super::is_listed(&store));
    assert_eq!(append(&store, &["x"]).unwrap(), 0);
    assert_eq!(texts(&open(disk)), ["x"]);
}

#[test]
fn folder_or_link_in_the_place_of_a_log_is_refused() {
    for is_folder in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("default.logs");
        std::fs::create_dir(&logs).unwrap();
        let at = logs.join("a.log");
        if is_folder {
            std::fs::create_dir(&at).unwrap();
        } else {
            std::os::unix::fs::symlink(folder.path().join("victim"), &at).unwrap();
        }
        let store = crate::yaml::processes::real(folder.path());
        let error = append(&store, &["x"]).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("a.log"), "{error}");
        assert!(!folder.path().join("victim").exists());
    }
}
