//! Files that cannot be read: kvs never changes a byte of them, serves the last good state, says where the fault is, refuses
//! to write, and works again once a person has mended the file, by hand or through a draft.

use kvs::model::{Kind, Revision};
use kvs::store::Task;
use kvs::yaml::Disk as _;
use kvs::yaml::{Draft, Replaced, YamlStore};

use crate::bench::{Values, all, apply, bucket, commit, data, delete, model, open, pair, put, run, upkeep, values};
use crate::disks::crash_disk::CrashDisk;

fn begun() -> (CrashDisk, YamlStore, Values) {
    let disk = CrashDisk::default();
    let store = open(disk.clone());
    let mut known = Values::new();
    for n in 0..3 {
        commit(&store, pair(n, &format!("value {n}")));
        model(&mut known, &pair(n, &format!("value {n}")));
    }
    (disk, store, known)
}

fn text(disk: &CrashDisk) -> String {
    String::from_utf8(disk.bytes(&data()).unwrap()).unwrap()
}

fn line_of(text: &str, part: &str) -> u64 {
    text.lines().position(|line| line.contains(part)).unwrap() as u64 + 1
}

/// A name, what is done to the text, and a part of the line of the fault.
type Spoil = (&'static str, fn(&str) -> String, &'static str);

/// Ways to spoil a file: the text before and after, and what stands in the line of the fault.
const SPOILS: [Spoil; 9] = [
    ("a line in the snapshot", |text| text.replacen("a0: {", "a0: [", 1), "a0: ["),
    ("a line in the log", |text| text.replacen("b2: {value", "b2: {valeu", 1), "valeu"),
    ("a key given twice", |text| text.replacen("b1: ", "a1: x\nb1: ", 1), "a1: {"),
    ("a whole document behind", |text| text.to_owned() + "---\nx: {value: [}\n...\n", "x: {value: [}"),
    ("an anchor", |text| text.to_owned() + "---\nx: &anchor y\n...\n", "anchor"),
    ("a tag", |text| text.to_owned() + "---\nx: !!binary y\n...\n", "!!binary"),
    ("a merge key", |text| text.to_owned() + "---\n<<: {value: y}\n...\n", "<<"),
    ("a bad time", |text| text.to_owned() + "---\nx: {value: y, expires: soon}\n...\n", "soon"),
    ("not a mapping", |text| text.to_owned() + "---\n- x\n...\n", "- x"),
];

#[test]
fn a_damaged_file_is_never_changed_and_the_last_good_state_is_served() {
    for by_rename in [true, false] {
        for (name, spoil, at) in SPOILS {
            let (disk, store, known) = begun();
            let good = text(&disk);
            let bad = spoil(&good);
            assert_ne!(good, bad, "{name}");
            if by_rename {
                disk.put(&data(), bad.as_bytes());
            } else {
                disk.edit(&data(), bad.as_bytes());
            }
            assert_eq!(values(&store), known, "{name}: who knew it serves what it was");
            for store in [&store, &open(disk.clone())] {
                let error = apply(store, pair(0, "new")).unwrap_err();
                assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
                let told = error.to_string();
                let wanted = format!("default.yaml, line {}:", line_of(&bad, at));
                let near = format!("default.yaml, line {}:", line_of(&bad, at) + 1);
                assert!(told.contains(&wanted) || told.contains(&near), "{name}: {told}; wanted {wanted}");
                assert_eq!(upkeep(store, Task::Compact).unwrap_err().kind(), Kind::Damaged, "{name}");
                let findings = upkeep(store, Task::Check).unwrap().findings;
                let found = findings.iter().find(|finding| !finding.harmless).unwrap();
                assert!(found.line.unwrap().abs_diff(line_of(&bad, at)) <= 1, "{name}: {findings:?}");
                let _ = upkeep(store, Task::Sweep);
                let _ = all(store);
            }
            assert_eq!(text(&disk), bad, "{name}: not a byte is changed");
            // Mended by hand: all works again, in every process.
            disk.put(&data(), good.as_bytes());
            assert_eq!(values(&store), known, "{name}");
            commit(&store, pair(0, "after"));
            assert_eq!(values(&open(disk.clone()))["b0"], "after", "{name}");
        }
    }
}

#[test]
fn a_new_process_serves_the_copy_or_what_comes_before_the_damage_or_nothing() {
    let (disk, _, known) = begun();
    let good = text(&disk);
    let copy = data().with_extension("yaml.last");
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    assert_eq!(values(&open(disk.clone())), known, "the copy says what was good");
    disk.remove(&copy).unwrap();
    disk.put(&data(), (good.clone() + "---\nx: {value: [}\n...\n").as_bytes());
    assert_eq!(values(&open(disk.clone())), known);
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    let error = all(&open(disk.clone())).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(error.to_string().contains("default.yaml, line"), "{error}");
}

#[test]
fn bytes_that_are_no_text_are_damage_and_not_a_torn_tail() {
    let (disk, store, known) = begun();
    let bad = [&disk.bytes(&data()).unwrap(), &b"---\nx: \xff\xfe\n...\n"[..]].concat();
    disk.edit(&data(), &bad);
    assert_eq!(apply(&store, pair(0, "new")).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(values(&store), known);
    assert_eq!(disk.bytes(&data()).unwrap(), bad);
}

#[test]
fn a_torn_tail_is_kept_aside_whole_and_reported_until_then() {
    for tail in
        ["-", "---", "---\n", "---\na0: {val", "---\na0: {value: x, updated: 2027-01-15T08:00:00Z}\n", "---\na0: ~\n.."]
    {
        let (disk, store, known) = begun();
        let before = text(&disk);
        disk.edit(&data(), (before.clone() + tail).as_bytes());
        assert_eq!(values(&store), known, "{tail:?}");
        assert_eq!(text(&disk), before.clone() + tail, "{tail:?}: reading cuts nothing");
        let findings = upkeep(&store, Task::Check).unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].harmless && findings[0].line == Some(before.lines().count() as u64 + 1), "{findings:?}");
        commit(&store, pair(5, "next"));
        let kept = disk.names().into_iter().find(|name| name.to_string_lossy().contains(".torn-")).unwrap();
        assert_eq!(disk.bytes(&kept).unwrap(), tail.as_bytes());
        assert!(text(&disk).starts_with(&before) && values(&open(disk.clone()))["b5"] == "next");
        upkeep(&store, Task::Sweep).unwrap();
        assert!(disk.bytes(&kept).is_some(), "a torn tail is for a person to remove");
    }
}

#[test]
fn two_torn_tails_at_one_moment_are_both_kept() {
    // Each process has a clock of its own here, and they tell the same.
    let (disk, _, _) = begun();
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
fn documents_by_hand_without_end_marks_are_all_taken() {
    let disk = CrashDisk::default();
    disk.put(&data(), b"a: 1\n---\nb: 2\n");
    let store = open(disk.clone());
    let wanted = Values::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!(values(&store), wanted, "nothing here was appended by kvs, so nothing is torn");
    commit(&store, pair(0, "x"));
    assert_eq!(values(&open(disk))["b"], "2");
}

fn replace(store: &YamlStore, draft: &Draft, text: &str) -> kvs::model::Result<Replaced> {
    run(store.replace(&bucket(), draft, text))
}

#[test]
fn a_draft_of_a_sound_bucket_writes_only_what_was_changed() {
    let (disk, store, mut known) = begun();
    let before = all(&store).unwrap().1;
    let draft = store.draft(&bucket()).unwrap();
    let edited = draft.text.replace("a0: {value: value 0,", "a0: {value: edited,") + "";
    let edited: String =
        edited.lines().filter(|line| !line.starts_with("b1")).map(|line| format!("{line}\n")).collect();
    let edited = edited + "added: by hand\n";
    // Another writes another key meanwhile, and keeps it.
    commit(&open(disk.clone()), vec![put("b2", "meanwhile")]);
    assert_eq!(replace(&store, &draft, &edited).unwrap(), Replaced { written: 2, deleted: 1 });
    model(&mut known, &[put("a0", "edited"), delete("b1"), put("added", "by hand"), put("b2", "meanwhile")]);
    assert_eq!(values(&open(disk.clone())), known);
    assert_eq!(all(&store).unwrap().1["a1"], before["a1"], "untouched");
    assert_eq!(replace(&store, &draft, &edited).unwrap_err().kind(), Kind::Busy, "a0 is not what it was");
    let error = replace(&store, &draft, "a0: &b 1\n").unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("line 1"), "{error}");
    let same = store.draft(&bucket()).unwrap();
    assert_eq!(replace(&store, &same, &same.text).unwrap(), Replaced::default());
}

#[test]
fn a_draft_of_a_damaged_file_mends_it_and_the_revision_does_not_go_back() {
    for fresh in [false, true] {
        for (name, spoil, _) in SPOILS {
            let (disk, store, known) = begun();
            let good = text(&disk);
            let (before, _) = all(&store).unwrap();
            disk.put(&data(), spoil(&good).as_bytes());
            let mender = if fresh { open(disk.clone()) } else { store.clone() };
            let draft = mender.draft(&bucket()).unwrap();
            assert_eq!(draft.text, spoil(&good), "{name}");
            assert_eq!(replace(&mender, &draft, &draft.text).unwrap_err().kind(), Kind::Invalid, "{name}");
            replace(&mender, &draft, &good).unwrap();
            for store in [&store, &mender, &open(disk.clone())] {
                assert_eq!(values(store), known, "{name}");
            }
            // The same, but the person takes the last transaction out.
            disk.put(&data(), spoil(&good).as_bytes());
            let draft = mender.draft(&bucket()).unwrap();
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
fn a_draft_is_refused_if_the_damaged_file_was_changed_meanwhile() {
    let (disk, store, _) = begun();
    let good = text(&disk);
    disk.put(&data(), ("x: [\n".to_owned() + &good).as_bytes());
    let draft = store.draft(&bucket()).unwrap();
    disk.put(&data(), ("y: [\n".to_owned() + &good).as_bytes());
    assert_eq!(replace(&store, &draft, &good).unwrap_err().kind(), Kind::Busy);
    assert!(text(&disk).starts_with("y: ["));
}

#[test]
fn a_bucket_whose_file_was_removed_is_served_and_takes_writes_once_a_person_decides() {
    let (disk, store, known) = begun();
    let good = text(&disk);
    let (before, _) = all(&store).unwrap();
    for by_hand in [good.as_str(), "# I mean it\n---\n"] {
        disk.take_away(&data());
        assert_eq!(values(&store), known);
        for store in [&store, &open(disk.clone())] {
            let error = apply(store, pair(0, "new")).unwrap_err();
            assert!(error.kind() == Kind::Damaged && error.to_string().contains("is missing"), "{error}");
            let findings = upkeep(store, Task::Check).unwrap().findings;
            assert!(findings.iter().any(|f| !f.harmless && f.text.contains("is missing")), "{findings:?}");
        }
        assert!(disk.bytes(&data()).is_none(), "nothing is written in its place");
        disk.put(&data(), by_hand.as_bytes());
        let (after, entries) = all(&store).unwrap();
        assert_eq!(entries.is_empty(), by_hand != good);
        assert!(after >= before && after > Revision::ZERO);
    }
    assert!(commit(&store, pair(0, "anew")) > before);
    assert_eq!(values(&open(disk)).len(), 2);
}
