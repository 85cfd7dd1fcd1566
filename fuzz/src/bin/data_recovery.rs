//! A damaged data file: the store opens, and serves each entry that was stored before the damage as it was written, or an
//! error, a finding or a file that was set aside says that something is wrong. Writes work, or are refused with the name
//! of the file, and never destroy what was stored.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kvs::model::{Batch, Bucket, ErrorKind, Key, Write};
use kvs::store::{Store, Task};
use kvs::yaml::YamlStore;
use kvs_fuzz::api::run;
use kvs_fuzz::disk::{FOLDER, MemoryDisk, damage, open};
use libfuzzer_sys::fuzz_target;

fn file() -> PathBuf {
    Path::new(FOLDER).join("default.yaml")
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

/// The writes, each a commit.
const WRITES: [&[(&str, &str)]; 5] = [
    &[("kitchen/temp", "21.5"), ("door", "yes")],
    &[("text", "two\nlines: here\n"), ("odd", "- {a: b} #c")],
    &[("kitchen/temp", "22"), ("bytes", "\0\u{7f}")],
    &[("long", "0123456789012345678901234567890123456789012345678901234567890123456789")],
    &[("last", "~"), ("door", "no")],
];

/// A disk with a bucket, and the length of its file after each commit. One disk has only commits; the other was compacted
/// after the second, so that it also has the form at rest.
struct Prepared {
    disk: MemoryDisk,
    ends: Vec<usize>,
}

fn prepared(compacted: bool) -> Prepared {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut ends = vec![];
    for (number, pairs) in WRITES.iter().enumerate() {
        let writes = pairs.iter().map(|(name, value)| Write::put(key(name), (*value).to_owned())).collect();
        run(store.apply(&Bucket::default(), Batch::new(writes))).expect("stored");
        if compacted && number == 1 {
            run(store.maintain(&Bucket::default(), Task::Compact)).expect("compacted");
            let length = disk.bytes(&file()).expect("a file").len();
            ends.iter_mut().for_each(|end| *end = length);
        }
        ends.push(disk.bytes(&file()).expect("a file").len());
    }
    drop(store);
    Prepared { disk, ends }
}

static PREPARED: LazyLock<[Prepared; 2]> = LazyLock::new(|| [prepared(false), prepared(true)]);

/// The newest value of each key, if it was committed in whole before an offset.
fn stored_before(ends: &[usize], offset: usize) -> Vec<(&'static str, &'static str)> {
    let mut newest: Vec<(&str, &str, usize)> = vec![];
    for (pairs, end) in WRITES.iter().zip(ends) {
        for (name, value) in *pairs {
            newest.retain(|(known, ..)| known != name);
            newest.push((name, value, *end));
        }
    }
    newest.into_iter().filter(|(_, _, end)| *end <= offset).map(|(name, value, _)| (name, value)).collect()
}

/// The value of a key; `Err` if the store says that it cannot read it.
fn value(store: &YamlStore, name: &str) -> Result<Option<Vec<u8>>, kvs::model::Error> {
    let entry = run(store.get(&Bucket::default(), &[key(name)]))?.entries.pop().flatten();
    Ok(entry.map(|entry| entry.value.to_vec()))
}

/// Whether the store says that something is wrong.
fn is_reported(store: &YamlStore, disk: &MemoryDisk) -> bool {
    let task = |task| run(store.maintain(&Bucket::default(), task)).map_or(true, |report| !report.findings.is_empty());
    let is_aside = |name: &String| name.contains(".overwritten-") || name.contains(".torn-");
    task(Task::Check) || task(Task::Status) || disk.names().iter().any(is_aside)
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let Prepared { disk, ends } = &PREPARED[usize::from(first % 2)];
    let disk = disk.copy();
    let damage = damage(&disk.bytes(&file()).expect("a file"), rest);
    let shown = || String::from_utf8_lossy(&damage.bytes).into_owned();
    disk.put(&file(), damage.bytes.clone());
    let store = open(&disk);
    let expected = stored_before(ends, damage.first);
    for (name, written) in &expected {
        match value(&store, name) {
            Ok(Some(found)) if found == written.as_bytes() => {}
            Err(error) => assert!(error.kind() == ErrorKind::Corrupt, "{error} in {}", shown()),
            Ok(found) => assert!(is_reported(&store, &disk), "{name} is {found:?} without a report: {}", shown()),
        }
    }
    // What was cut off was acknowledged, so it is not missing in silence.
    if damage.is_cut {
        for (name, written) in stored_before(ends, usize::MAX) {
            let is_there = value(&store, name).is_ok_and(|found| found.as_deref() == Some(written.as_bytes()));
            assert!(is_there || is_reported(&store, &disk), "{name} is missing without a report: {}", shown());
        }
    }
    let write = Batch::new(vec![Write::put(key("new"), "after".to_owned())]);
    match run(store.apply(&Bucket::default(), write)) {
        Err(error) => {
            assert!(error.kind() == ErrorKind::Corrupt, "{:?}: {error} in {}", error.kind(), shown());
            assert!(error.to_string().contains("default.yaml"), "no file in: {error}");
            assert_eq!(disk.bytes(&file()), Some(damage.bytes.clone()), "a file that cannot be read is not changed");
        }
        Ok(_) => {
            let again = open(&disk);
            assert_eq!(value(&again, "new").expect("readable").as_deref(), Some(&b"after"[..]), "{}", shown());
            for (name, written) in &expected {
                let found = value(&again, name).expect("readable");
                let is_same = found.as_deref() == Some(written.as_bytes());
                assert!(is_same || is_reported(&again, &disk), "{name} is {found:?} after a write to {}", shown());
            }
        }
    }
});
