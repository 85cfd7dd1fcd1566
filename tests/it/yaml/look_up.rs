//! Looking up keys in the files of a bucket gives what reading the whole bucket gives.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use kvs::model::{Clock as _, ContentType, Snapshot, Time, Write};
use kvs::store::{Store as _, Task};
use kvs::yaml::{RealFileSystem, YamlOptions, YamlStore};
use proptest::prelude::*;

use crate::yaml::fixtures::{apply, bucket, delete, key, options, put, run, upkeep};

/// The keys that are written and read, and one that is never there.
const KEYS: [&str; 8] = ["a", "aa", "house/1 temp", "- odd: key", "\"quoted\"", "~", "ünï", "never"];

/// What happens to the bucket.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, String),
    Json(usize),
    Bytes(usize),
    Expiring(usize, bool),
    Delete(usize),
    Two(usize, usize),
    Compact,
    Tidy,
    /// A person saves a file.
    Save(String),
    /// A person adds a line.
    Add(String),
    RemoveCopy,
    CutCopy(usize),
    ZeroCopy(usize),
    RemoveLock,
}

fn steps() -> impl Strategy<Value = Step> {
    let any_key = 0..KEYS.len() - 1;
    prop_oneof![
        4 => (any_key.clone(), "[ -~\n]{0,12}").prop_map(|(n, value)| Step::Put(n, value)),
        1 => any_key.clone().prop_map(Step::Json),
        1 => any_key.clone().prop_map(Step::Bytes),
        1 => (any_key.clone(), any::<bool>()).prop_map(|(n, is_over)| Step::Expiring(n, is_over)),
        2 => any_key.clone().prop_map(Step::Delete),
        1 => (any_key.clone(), any_key).prop_map(|(a, b)| Step::Two(a, b)),
        1 => Just(Step::Compact),
        2 => Just(Step::Tidy),
        1 => "(a|aa|b): [a-z]{1,5}\n".prop_map(Step::Save),
        1 => "(c|d): [a-z]{1,5}\n".prop_map(Step::Add),
        1 => Just(Step::RemoveCopy),
        1 => (0_usize..400).prop_map(Step::CutCopy),
        1 => (0_usize..400).prop_map(Step::ZeroCopy),
        1 => Just(Step::RemoveLock),
    ]
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    if let Ok(mut bytes) = std::fs::read(path) {
        change(&mut bytes);
        File::create(path).unwrap().write_all(&bytes).unwrap();
    }
}

fn carry_out(step: Step, store: &YamlStore, folder: &Path) {
    let (file, copy) = (folder.join("default.yaml"), folder.join("default.yaml.last"));
    let typed = |n: usize, value: Vec<u8>, kind: &str, expires| {
        let content_type = ContentType::new(kind).unwrap();
        let _ = apply(
            store,
            vec![Write::Put { key: key(KEYS[n]), value: value.into(), content_type, expires, modified: None }],
        );
    };
    match step {
        Step::Put(n, value) => drop(apply(store, vec![put(KEYS[n], value)])),
        Step::Json(n) => typed(n, b"{\"a\": [1, \"x\"]}".to_vec(), "application/json", None),
        Step::Bytes(n) => typed(n, vec![0, 255, b'\n'], "application/octet-stream", None),
        Step::Expiring(n, is_over) => {
            let wait = Duration::from_nanos(if is_over { 1 } else { 3_600_000_000_000 });
            typed(n, b"soon".to_vec(), "text/plain", Some(now().plus(wait)));
        }
        Step::Delete(n) => drop(apply(store, vec![delete(KEYS[n])])),
        Step::Two(a, b) if a != b => drop(apply(store, vec![put(KEYS[a], "x"), put(KEYS[b], "y")])),
        Step::Two(..) => {}
        Step::Compact => drop(upkeep(store, Task::Compact)),
        Step::Tidy => {
            // It is tidied when the store is dropped.
            let tidying = YamlOptions { tidy_after: Duration::from_secs(3600), ..options(RealFileSystem) };
            drop(apply(&YamlStore::open(folder, tidying).unwrap(), vec![put("tidy", "x")]));
        }
        Step::Save(text) => change(&file, |bytes| *bytes = text.into_bytes()),
        Step::Add(line) => change(&file, |bytes| bytes.extend(line.into_bytes())),
        Step::RemoveCopy => drop(std::fs::remove_file(copy)),
        Step::CutCopy(len) => change(&copy, |bytes| bytes.truncate(bytes.len().saturating_sub(len))),
        Step::ZeroCopy(at) => change(&copy, |bytes| bytes.iter_mut().skip(at).take(20).for_each(|byte| *byte = 0)),
        Step::RemoveLock => drop(std::fs::remove_file(folder.join("default.lock"))),
    }
}

fn now() -> Time {
    kvs::model::SystemClock.now()
}

fn read(folder: &Path, is_short_lived: bool) -> Result<Snapshot, String> {
    let options =
        YamlOptions { is_short_lived, clock: std::sync::Arc::new(kvs::model::SystemClock), ..options(RealFileSystem) };
    let store = YamlStore::open(folder, options).unwrap();
    run(store.get(&bucket(), &KEYS.map(key))).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn keys_are_looked_up_as_they_are_read(steps in proptest::collection::vec(steps(), 1..14)) {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(kvs::model::SystemClock);
        let store = YamlStore::open(folder.path(), YamlOptions { clock, ..options(RealFileSystem) }).unwrap();
        for step in steps {
            carry_out(step.clone(), &store, folder.path());
            // The first reader may have to read the whole file, and to record what a person has done to it.
            let first = read(folder.path(), true);
            let whole = read(folder.path(), false);
            let looked_up = read(folder.path(), true);
            prop_assert_eq!(first.map(|read| read.entries), whole.clone().map(|read| read.entries), "after {:?}", &step);
            prop_assert_eq!(looked_up, whole, "after {:?}", step);
        }
    }
}

#[test]
fn cut_copy_hides_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tidying = YamlOptions { tidy_after: Duration::from_secs(3600), ..options(RealFileSystem) };
    let store = YamlStore::open(folder.path(), tidying).unwrap();
    for name in ["a", "aa", "house/1 temp"] {
        apply(&store, vec![put(name, "x")]).unwrap();
    }
    // It is tidied when the store is dropped.
    drop(store);
    let path = folder.path().join("default.yaml.last");
    let copy = std::fs::read(&path).unwrap();
    for len in 0..copy.len() {
        File::create(&path).unwrap().write_all(&copy[..len]).unwrap();
        let found = read(folder.path(), true).unwrap();
        assert_eq!(found.entries.iter().flatten().count(), 3, "{len} of {} bytes", copy.len());
        std::fs::remove_file(&path).unwrap();
    }
}
