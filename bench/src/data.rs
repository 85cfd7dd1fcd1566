//! The entries that all sides store: those of a house with many sensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kvs::model::{Entry, Key, Revision};
use kvs::yaml::{ParsedEntry, write_text};

/// The key of an entry. `peers/post.lua` and `peers/get.lua` make the same keys.
pub(crate) fn key(number: usize) -> String {
    format!("house/{:04}/sensor-{number:07}", number % 5000)
}

/// The value of an entry.
pub(crate) fn value(number: usize) -> String {
    if number.is_multiple_of(3) { format!("Living Room {number}") } else { format!("{}.{}", number % 40, number % 10) }
}

/// A short value, each time another one.
pub(crate) fn reading(number: usize) -> String {
    format!("{:02}.{}", number % 40, number % 10)
}

/// Writes the data file of a store with this number of entries. Returns its length in bytes.
pub(crate) fn write_store(folder: &Path, entries: usize) -> usize {
    let revision = |number: usize| Revision::new(1_795_000_000_000_000_000 + number as u64 * 1_000_003);
    let entry = |number: usize| ParsedEntry::text(value(number)).at(revision(number));
    let all: BTreeMap<Key, Entry> =
        (0..entries).map(|number| (Key::new(&key(number)).unwrap(), entry(number))).collect();
    let text = write_text(all.iter());
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("default.yaml"), &text).unwrap();
    text.len()
}
