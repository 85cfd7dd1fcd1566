//! Copies of stores with large values: of the folder, by `kvs copy`, and by the library into memory.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kvs::client::Client;
use kvs::copy::{CopyJob, CopySettings};
use kvs::layers::LargeValues;
use kvs::memory::MemoryStore;
use kvs::model::SystemClock;
use kvs::store::Store;

use super::{LIMITS, assert_files, content, files, names, place_with};
use crate::cli::Place;
use crate::yaml::processes::real;

/// The options of a command on another folder of a place.
const OTHER: [&str; 2] = ["--store", "yaml:other"];

#[track_caller]
fn assert_there(place: &Place, values: &[(&str, &[u8])]) {
    for (key, value) in values {
        assert!(place.run(&[&["get", key][..], &OTHER].concat()).ok().out == *value, "{key}");
    }
    assert_eq!(place.run(&[&["check"][..], &OTHER].concat()).ok().text(), "");
}

#[test]
fn a_copy_of_the_folder_has_all_values() {
    let (value, other) = (content(1, 200_000), content(2, 200_000));
    let place = place_with(&[("a", &value), ("b", &other), ("c", b"small")]);
    let copied = Command::new("cp").arg("-r").args([place.path("data"), place.path("other")]).status().unwrap();
    assert!(copied.success());
    std::fs::remove_dir_all(place.path("data")).unwrap();
    assert_there(&place, &[("a", &value), ("b", &other), ("c", b"small")]);
    place.run(&[&["delete", "a"][..], &OTHER].concat()).ok();
    assert_files(&place.path("other"), &[&other]);
    assert_there(&place, &[("b", &other), ("c", b"small")]);
}

#[test]
fn kvs_copy_copies_and_removes_large_values() {
    let (first, second, shared) = (content(3, 1_000_000), content(4, 200_000), content(5, 200_000));
    let place = place_with(&[("a", &first), ("b", &second), ("c", &shared), ("d", &shared), ("e", b"small")]);
    let copy = |more: &[&str]| place.run(&[&["copy", "yaml:data", "yaml:other"], more].concat());
    copy(&[]).ok();
    assert_there(&place, &[("a", &first), ("b", &second), ("c", &shared), ("d", &shared), ("e", b"small")]);
    assert_eq!(files(&place.path("other")), names(&[&first, &second, &shared]));
    copy(&["--verify"]).ok();
    let types = |store: &str| place.run(&["list", "--json", "--store", store]).ok().out;
    assert!(types("yaml:data") == types("yaml:other"), "types, times and revisions are the same");
    // Only what has changed is copied, and what is gone is removed.
    let newer = content(6, 300_000);
    place.with(&["set", "a", "-"], &[], &newer).ok();
    place.run(&["delete", "b"]).ok();
    place.run(&["delete", "c"]).ok();
    copy(&["--verify"]).fails(1, "");
    copy(&[]).ok();
    assert_there(&place, &[("a", &newer), ("d", &shared), ("e", b"small")]);
    assert_files(&place.path("other"), &[&newer, &shared]);
    copy(&["--verify"]).ok();
}

#[test]
fn a_copy_stops_at_a_missing_file_and_continues_when_it_is_back() {
    let (value, other) = (content(7, 200_000), content(8, 200_000));
    let place = place_with(&[("a", &value), ("b", &other)]);
    let file = super::blob_folder(&place.path("data")).join(super::name(&value));
    std::fs::remove_file(&file).unwrap();
    let run = place.run(&["copy", "yaml:data", "yaml:other"]);
    assert!(run.code == 1 && run.err.contains("kvs check"), "{run:?}");
    super::save(&file, &value);
    place.run(&["copy", "yaml:data", "yaml:other"]).ok();
    assert_there(&place, &[("a", &value), ("b", &other)]);
}

#[test]
fn values_above_the_limit_are_named_before_anything_is_copied() {
    let long = content(9, 2 << 20);
    let place = place_with(&[("a", b"small"), ("long", &long)]);
    let run = place.run(&["copy", "yaml:data", "yaml:other", "--max-value", "1MiB"]);
    assert!(run.code == 1 && (run.err.clone() + run.text()).contains("long"), "{run:?}");
    assert!(files(&place.path("other")).is_empty());
    place.run(&["copy", "yaml:data", "yaml:other", "--max-value", "4MiB"]).ok();
    assert_there(&place, &[("a", b"small"), ("long", &long)]);
}

/// Stores on the folder and in memory, with large values as blobs.
fn with_large_values(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(LargeValues::new(inner, LIMITS).unwrap())
}

async fn copy(from: &Arc<dyn Store>, to: &Arc<dyn Store>) {
    let settings = CopySettings { name: "the source".to_owned(), ..CopySettings::default() };
    let report = CopyJob::new(from.clone(), to.clone(), settings).run().await.unwrap();
    assert!(report.is_equal(), "{report:?}");
}

#[tokio::test]
async fn the_library_copies_large_values_to_memory_and_back() {
    let (value, other) = (content(10, 200_000), content(11, 200_000));
    let place = place_with(&[("a", &value), ("b", &other), ("c", b"small")]);
    let open = |data: &Path| with_large_values(Arc::new(real(data)));
    let memory = with_large_values(Arc::new(MemoryStore::new(Arc::new(SystemClock), LIMITS)));
    let folder = open(&place.path("data"));
    copy(&folder, &memory).await;
    let client = Client::new(Arc::clone(&memory));
    for (key, expected) in [("a", &value[..]), ("b", &other), ("c", b"small")] {
        assert!(client.get(key).await.unwrap().unwrap() == expected, "{key}");
    }
    client.delete("a").await.unwrap();
    copy(&memory, &open(&place.path("other"))).await;
    assert_there(&place, &[("b", &other), ("c", b"small")]);
    assert_files(&place.path("other"), &[&other]);
}
