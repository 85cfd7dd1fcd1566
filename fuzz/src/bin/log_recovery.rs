//! A damaged file of a log: it opens, or there is an error that names the file. Entries before the damage are never lost
//! without an error, and a file that ends early has the whole appends before its end. Afterwards appending works, or is
//! refused, and loses nothing.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kvs::model::{
    AppendOutcome, Bucket, ContentType, ErrorKind, Key, LogAppend, LogQuery, NewLogEntry, Result,
};
use kvs::store::Logs as _;
use kvs::yaml::YamlStore;
use kvs_fuzz::api::run;
use kvs_fuzz::disk::{FOLDER, MemoryDisk, damage, open};
use libfuzzer_sys::fuzz_target;

fn file() -> PathBuf {
    Path::new(FOLDER).join("default.logs/temp.log")
}

fn key() -> Key {
    Key::new("temp").expect("a key")
}

fn append(store: &YamlStore, values: &[&str]) -> Result<AppendOutcome> {
    let entries = values.iter().map(|value| NewLogEntry::new((*value).to_owned())).collect();
    run(store.append(&Bucket::default(), &key(), LogAppend { entries, ..LogAppend::default() }))
}

/// Indexes and values.
fn read(store: &YamlStore) -> Result<Vec<(u64, Vec<u8>)>> {
    let page = run(store.read_log(&Bucket::default(), &key(), LogQuery { limit: 10_000, ..LogQuery::from_index(0) }))?;
    let entries = page.map_or(vec![], |page| page.entries);
    Ok(entries.into_iter().map(|entry| (entry.index, entry.value.to_vec())).collect())
}

/// A disk with a log, the bytes of its file, and the length after each append with the entries until then.
struct Prepared {
    disk: MemoryDisk,
    bytes: Vec<u8>,
    header: usize,
    appends: Vec<(usize, usize)>,
    entries: Vec<(u64, Vec<u8>)>,
}

static PREPARED: LazyLock<Prepared> = LazyLock::new(|| {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut appends = vec![];
    let mut count = 0;
    for values in [&["zero"][..], &["one", "two\nlines", "- {index: 9}"], &["21.5"], &["five", ""], &["\0 bytes", "x: y #z"]] {
        append(&store, values).expect("appended");
        count += values.len();
        appends.push((disk.bytes(&file()).expect("a file").len(), count));
    }
    let json = NewLogEntry { content_type: ContentType::json(), ..NewLogEntry::new("{\"a\": [1, \"}\"]}") };
    run(store.append(&Bucket::default(), &key(), LogAppend { entries: vec![json], ..LogAppend::default() })).expect("appended");
    let bytes = disk.bytes(&file()).expect("a file");
    appends.push((bytes.len(), count + 1));
    let entries = read(&store).expect("readable");
    let mark = b"entries:\n";
    let header = bytes.windows(mark.len()).position(|part| part == mark).expect("a header") + mark.len();
    drop(store);
    Prepared { disk, bytes, header, appends, entries }
});

fn check_error(error: &kvs::model::Error) {
    let text = error.to_string();
    assert!(error.kind() == ErrorKind::Corrupt, "{:?}: {text}", error.kind());
    assert!(text.contains("temp.log"), "no file in: {text}");
}

fuzz_target!(|input: &[u8]| {
    let Prepared { disk, bytes, header, appends, entries } = &*PREPARED;
    let disk = disk.copy();
    let damage = damage(bytes, input);
    disk.put(&file(), damage.bytes.clone());
    let store = open(&disk);
    let found = read(&store);
    // The entries of the appends that are complete before the damage.
    let before = appends.iter().filter(|(end, _)| *end <= damage.first).map(|(_, count)| *count).max().unwrap_or(0);
    match &found {
        Err(error) => {
            check_error(error);
            assert!(!damage.is_cut || damage.first < *header, "a log that ends early can be read: {error}");
        }
        Ok(found) if damage.first >= *header => {
            let shown = || format!("{found:?} in {:?}", String::from_utf8_lossy(&damage.bytes));
            assert!(found.len() >= before && found[..before] == entries[..before], "lost: {}", shown());
            // The line feed of the last append may be missing.
            let is_prefix = entries.starts_with(found) && found.len() <= before + 4;
            assert!(!damage.is_cut || is_prefix, "invented: {}", shown());
        }
        Ok(_) => {}
    }
    match append(&store, &["after"]) {
        Err(error) => check_error(&error),
        Ok(AppendOutcome::Appended { .. }) => {
            drop(store);
            match read(&open(&disk)) {
                Ok(again) => {
                    let shown = || String::from_utf8_lossy(&damage.bytes).into_owned();
                    assert!(again.iter().any(|(_, value)| value == b"after"), "lost: {again:?} after {}", shown());
                    if let Ok(found) = &found {
                        assert!(again.starts_with(found), "an append has lost {found:?}: {again:?}");
                    }
                }
                // Damage in the middle is only found by a read.
                Err(error) => check_error(&error),
            }
        }
        Ok(_) => panic!("an append without a condition is done or fails"),
    }
});
