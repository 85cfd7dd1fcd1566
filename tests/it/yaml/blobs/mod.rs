//! Large values in files: what is on the disk, edits by a person, damage, several processes, copies, the command line.

mod command_line;
mod copied_blobs;
mod damaged_blobs;
mod files_on_disk;
mod hand_edited;
mod power_cuts;
mod shared_folder;
mod stored_by_others;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::layers::LargeValues;
use kvs::model::BlobId;
use kvs::store::{Limits, Store};
use kvs::yaml::YamlStore;
use sha2::{Digest, Sha256};

use crate::cli::Place;
use crate::yaml::processes::real;

const LIMITS: Limits = Limits { max_value_bytes: 8 << 20 };

/// Bytes that are not UTF-8, different for each seed.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The name of the file of these bytes.
fn name(bytes: &[u8]) -> String {
    id(bytes).to_string()
}

fn id(bytes: &[u8]) -> BlobId {
    BlobId::new(Sha256::digest(bytes).into())
}

/// The folder of the blobs of `default` in a data folder.
fn blob_folder(data: &Path) -> PathBuf {
    data.join("blobs/default")
}

/// The files in it, without the lock.
fn files(data: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(blob_folder(data)) else { return BTreeSet::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

fn names(contents: &[&[u8]]) -> BTreeSet<String> {
    contents.iter().map(|bytes| name(bytes)).collect()
}

/// Waits until there are exactly these files.
#[track_caller]
fn assert_files(data: &Path, contents: &[&[u8]]) {
    let (expected, begun) = (names(contents), Instant::now());
    while files(data) != expected {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}, not {expected:?}", files(data));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a file as a person does.
fn save(path: &Path, bytes: impl AsRef<[u8]>) {
    use std::io::Write as _;

    std::fs::File::create(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

/// A place whose bucket `default` has these values.
fn place_with(values: &[(&str, &[u8])]) -> Place {
    let place = Place::new();
    for (key, value) in values {
        place.with(&["set", key, "-", "--type", "image/png", "--max-value", "8MiB"], &[], value).ok();
    }
    place
}

/// A store on a real folder, and a client of it with large values. Another one on this folder is another process.
fn open(data: &Path) -> (YamlStore, Client) {
    let inner = real(data);
    let store: Arc<dyn Store> = Arc::new(LargeValues::new(Arc::new(inner.clone()), LIMITS).unwrap());
    (inner, Client::new(store))
}
