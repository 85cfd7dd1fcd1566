//! Texts in the file format: no text makes the reader panic, and entries that it reads are equal after kvs has written
//! them and reads them again.
#![no_main]

use kvs::model::{Entry, Key, Revision};
use kvs::yaml::{ParsedEntry, read_text, write_text};
use libfuzzer_sys::fuzz_target;

fn entry((key, parsed): (Key, ParsedEntry)) -> (Key, Entry) {
    let revision = parsed.updated.map_or(Revision::new(1), Revision::from);
    (key, parsed.at(revision))
}

fuzz_target!(|text: &str| {
    let Ok(read) = read_text(text) else { return };
    let first: Vec<(Key, Entry)> = read.into_iter().map(entry).collect();
    let written = write_text(first.iter().map(|(key, entry)| (key, entry)));
    let again: Vec<(Key, Entry)> = match read_text(&written) {
        Ok(read) => read.into_iter().map(entry).collect(),
        Err(error) => panic!("{error} in {written:?}"),
    };
    assert_eq!(first, again, "{written:?}");
});
