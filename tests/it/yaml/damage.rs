//! Files that cannot be read: kvs never changes a byte of them, serves the last good state, reports where the error is,
//! refuses writes, and works again once a person has fixed the file, by hand or by `kvs edit`.

use kvs::model::{ErrorKind, Revision};
use kvs::store::{Severity, Task};
use kvs::yaml::FileSystem as _;
use kvs::yaml::{EditSession, EditSummary, YamlStore};

use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{
    Values, all, apply, bucket, commit, data, delete, model, open, pair, put, run, upkeep, values,
};

fn prepared() -> (CrashFs, YamlStore, Values) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    let mut known = Values::new();
    for n in 0..3 {
        commit(&store, pair(n, &format!("value {n}")));
        model(&mut known, &pair(n, &format!("value {n}")));
    }
    (disk, store, known)
}

fn text(disk: &CrashFs) -> String {
    String::from_utf8(disk.bytes(&data()).unwrap()).unwrap()
}

fn line_of(text: &str, part: &str) -> u64 {
    text.lines().position(|line| line.contains(part)).unwrap() as u64 + 1
}

/// A name, the change of the text, and a part of the line with the error.
type Damage = (&'static str, fn(&str) -> String, &'static str);

/// Ways to damage a file.
const DAMAGE_CASES: [Damage; 9] = [
    ("a line in the snapshot", |text| text.replacen("a0: {", "a0: [", 1), "a0: ["),
    ("a line in the log", |text| text.replacen("b2: {value", "b2: {valeu", 1), "valeu"),
    ("a key given twice", |text| text.replacen("b1: ", "a1: x\nb1: ", 1), "a1: {"),
    ("a whole document at the end", |text| text.to_owned() + "---\nx: {value: [}\n...\n", "x: {value: [}"),
    ("an anchor", |text| text.to_owned() + "---\nx: &anchor y\n...\n", "anchor"),
    ("a tag", |text| text.to_owned() + "---\nx: !!binary y\n...\n", "!!binary"),
    ("a merge key", |text| text.to_owned() + "---\n<<: {value: y}\n...\n", "<<"),
    ("a bad time", |text| text.to_owned() + "---\nx: {value: y, expires: soon}\n...\n", "soon"),
    ("not a mapping", |text| text.to_owned() + "---\n- x\n...\n", "- x"),
];

#[test]
fn corrupt_file_is_never_changed_and_last_good_state_is_served() {
    for by_rename in [true, false] {
        for (name, damage, at) in DAMAGE_CASES {
            let (disk, store, known) = prepared();
            let good = text(&disk);
            let bad = damage(&good);
            assert_ne!(good, bad, "{name}");
            if by_rename {
                disk.put(&data(), bad.as_bytes());
            } else {
                disk.edit(&data(), bad.as_bytes());
            }
            assert_eq!(values(&store), known, "{name}: a process that knew it serves the last good state");
            for store in [&store, &open(disk.clone())] {
                let error = apply(store, pair(0, "new")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
                let error_text = error.to_string();
                let wanted = format!("default.yaml, line {}:", line_of(&bad, at));
                let near = format!("default.yaml, line {}:", line_of(&bad, at) + 1);
                assert!(
                    error_text.contains(&wanted) || error_text.contains(&near),
                    "{name}: {error_text}; wanted {wanted}"
                );
                assert_eq!(upkeep(store, Task::Compact).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
                let findings = upkeep(store, Task::Check).unwrap().findings;
                let found = findings.iter().find(|finding| finding.severity == Severity::Damage).unwrap();
                assert!(found.line.unwrap().abs_diff(line_of(&bad, at)) <= 1, "{name}: {findings:?}");
                let _ = upkeep(store, Task::RemoveLeftovers);
                let _ = all(store);
            }
            assert_eq!(text(&disk), bad, "{name}: the file was changed");
            // Fixed by hand: everything works again, in every process.
            disk.put(&data(), good.as_bytes());
            assert_eq!(values(&store), known, "{name}");
            commit(&store, pair(0, "after"));
            assert_eq!(values(&open(disk.clone()))["b0"], "after", "{name}");
        }
    }
}

#[test]
fn new_process_serves_the_copy_or_the_part_before_the_damage() {
    let (disk, _, known) = prepared();
    let good = text(&disk);
    let copy = data().with_extension("yaml.last");
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    assert_eq!(values(&open(disk.clone())), known, "the copy has the last good state");
    disk.remove(&copy).unwrap();
    disk.put(&data(), (good.clone() + "---\nx: {value: [}\n...\n").as_bytes());
    assert_eq!(values(&open(disk.clone())), known);
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    let error = all(&open(disk.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("default.yaml, line"), "{error}");
}

#[test]
fn invalid_utf8_is_damage_and_not_a_torn_tail() {
    let (disk, store, known) = prepared();
    let bad = [&disk.bytes(&data()).unwrap(), &b"---\nx: \xff\xfe\n...\n"[..]].concat();
    disk.edit(&data(), &bad);
    assert_eq!(apply(&store, pair(0, "new")).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(values(&store), known);
    assert_eq!(disk.bytes(&data()).unwrap(), bad);
}

#[test]
fn torn_tail_is_reported_and_then_kept_in_a_file() {
    for tail in
        ["-", "---", "---\n", "---\na0: {val", "---\na0: {value: x, updated: 2027-01-15T08:00:00Z}\n", "---\na0: ~\n.."]
    {
        let (disk, store, known) = prepared();
        let before = text(&disk);
        disk.edit(&data(), (before.clone() + tail).as_bytes());
        assert_eq!(values(&store), known, "{tail:?}");
        assert_eq!(text(&disk), before.clone() + tail, "{tail:?}: a read has cut the tail");
        let findings = upkeep(&store, Task::Check).unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0].severity == Severity::Note && findings[0].line == Some(before.lines().count() as u64 + 1),
            "{findings:?}"
        );
        commit(&store, pair(5, "next"));
        let kept = disk.names().into_iter().find(|name| name.to_string_lossy().contains(".torn-")).unwrap();
        assert_eq!(disk.bytes(&kept).unwrap(), tail.as_bytes());
        assert!(text(&disk).starts_with(&before) && values(&open(disk.clone()))["b5"] == "next");
        upkeep(&store, Task::RemoveLeftovers).unwrap();
        assert!(disk.bytes(&kept).is_some(), "only a person removes a torn tail");
    }
}

#[test]
fn two_torn_tails_of_the_same_time_are_both_kept() {
    // Each process has a clock of its own here.
    let (disk, _, _) = prepared();
    for tail in ["---\nfirst of the two, and longer: {", "---\nsecond: {"] {
        disk.edit(&data(), (text(&disk) + tail).as_bytes());
        let store = open(disk.clone());
        commit(&store, pair(0, "next"));
    }
    let torn = disk.names().into_iter().filter(|name| name.to_string_lossy().contains(".torn-"));
    let mut kept: Vec<_> = torn.map(|name| String::from_utf8(disk.bytes(&name).unwrap()).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["---\nfirst of the two, and longer: {", "---\nsecond: {"]);
}

#[test]
fn handwritten_documents_without_end_marks_are_all_read() {
    let disk = CrashFs::default();
    disk.put(&data(), b"a: 1\n---\nb: 2\n");
    let store = open(disk.clone());
    let wanted = Values::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!(values(&store), wanted, "nothing here was appended by kvs, so nothing is torn");
    commit(&store, pair(0, "x"));
    assert_eq!(values(&open(disk))["b"], "2");
}

fn replace(store: &YamlStore, draft: &EditSession, text: &str) -> kvs::model::Result<EditSummary> {
    run(store.save_edit(&bucket(), draft, text))
}

#[test]
fn edit_of_a_good_bucket_writes_only_the_changes() {
    let (disk, store, mut known) = prepared();
    let before = all(&store).unwrap().1;
    let draft = store.begin_edit(&bucket()).unwrap();
    let edited = draft.text.replace("a0: {value: value 0,", "a0: {value: edited,") + "";
    let edited: String =
        edited.lines().filter(|line| !line.starts_with("b1")).map(|line| format!("{line}\n")).collect();
    let edited = edited + "added: by hand\n";
    // Another process writes another key at the same time, and the write is kept.
    commit(&open(disk.clone()), vec![put("b2", "meanwhile")]);
    assert_eq!(replace(&store, &draft, &edited).unwrap(), EditSummary { written: 2, deleted: 1 });
    model(&mut known, &[put("a0", "edited"), delete("b1"), put("added", "by hand"), put("b2", "meanwhile")]);
    assert_eq!(values(&open(disk.clone())), known);
    assert_eq!(all(&store).unwrap().1["a1"], before["a1"], "untouched");
    assert_eq!(replace(&store, &draft, &edited).unwrap_err().kind(), ErrorKind::Busy, "a0 is not what it was");
    let error = replace(&store, &draft, "a0: &b 1\n").unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("line 1"), "{error}");
    let same = store.begin_edit(&bucket()).unwrap();
    assert_eq!(replace(&store, &same, &same.text).unwrap(), EditSummary::default());
}

#[test]
fn edit_repairs_a_corrupt_file_and_revision_does_not_go_back() {
    for fresh in [false, true] {
        for (name, damage, _) in DAMAGE_CASES {
            let (disk, store, known) = prepared();
            let good = text(&disk);
            let (before, _) = all(&store).unwrap();
            disk.put(&data(), damage(&good).as_bytes());
            let mender = if fresh { open(disk.clone()) } else { store.clone() };
            let draft = mender.begin_edit(&bucket()).unwrap();
            assert_eq!(draft.text, damage(&good), "{name}");
            assert_eq!(replace(&mender, &draft, &draft.text).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
            replace(&mender, &draft, &good).unwrap();
            for store in [&store, &mender, &open(disk.clone())] {
                assert_eq!(values(store), known, "{name}");
            }
            // The same, but the person removes the last transaction.
            disk.put(&data(), damage(&good).as_bytes());
            let draft = mender.begin_edit(&bucket()).unwrap();
            let shorter = good.split_inclusive("...\n").take(3).collect::<String>();
            replace(&mender, &draft, &shorter).unwrap();
            assert_eq!(values(&mender).len(), 4, "{name}");
            let (after, _) = all(&store).unwrap();
            assert!(after >= before, "{name}: the revision went back from {before:?} to {after:?}");
            assert!(commit(&mender, pair(0, "on")) > before);
            assert_eq!(values(&open(disk.clone()))["b0"], "on");
        }
    }
}

#[test]
fn edit_is_refused_if_the_corrupt_file_was_changed_meanwhile() {
    let (disk, store, _) = prepared();
    let good = text(&disk);
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    let draft = store.begin_edit(&bucket()).unwrap();
    disk.put(&data(), ("y: [\n".to_owned() + &good).as_bytes());
    assert_eq!(replace(&store, &draft, &good).unwrap_err().kind(), ErrorKind::Busy);
    assert!(text(&disk).starts_with("y: ["));
}

#[test]
fn bucket_without_its_file_is_read_only_until_repaired() {
    let (disk, store, known) = prepared();
    let good = text(&disk);
    let (before, _) = all(&store).unwrap();
    for by_hand in [good.as_str(), "# I mean it\n---\n"] {
        disk.take_away(&data());
        assert_eq!(values(&store), known);
        for store in [&store, &open(disk.clone())] {
            let error = apply(store, pair(0, "new")).unwrap_err();
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("is missing"), "{error}");
            let findings = upkeep(store, Task::Check).unwrap().findings;
            assert!(
                findings.iter().any(|f| f.severity == Severity::Damage && f.text.contains("is missing")),
                "{findings:?}"
            );
        }
        assert!(disk.bytes(&data()).is_none(), "a new file was written");
        disk.put(&data(), by_hand.as_bytes());
        let (after, entries) = all(&store).unwrap();
        assert_eq!(entries.is_empty(), by_hand != good);
        assert!(after >= before && after > Revision::ZERO);
    }
    assert!(commit(&store, pair(0, "again")) > before);
    assert_eq!(values(&open(disk)).len(), 2);
}
