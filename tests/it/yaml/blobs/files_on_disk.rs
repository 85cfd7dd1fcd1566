//! The files of large values are as docs/file-format.md describes them.

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use kvs::model::{Bucket, ContentType, Write};
use kvs::store::Store;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::{assert_files, blob_folder, content, files, name, names, open, place_with};
use crate::yaml::fixtures::{batch, bucket, key};
use crate::yaml::formats::pyyaml;

#[test]
fn a_blob_is_a_file_with_the_bytes_of_the_value() {
    let (value, other) = (content(1, 300_000), content(2, 70_000));
    let place = place_with(&[("a", &value), ("b", &other)]);
    place.with(&["set", "a", "-", "--bucket", "second", "--max-value", "8MiB"], &[], &value).ok();
    for (bucket, bytes) in [("default", &value), ("default", &other), ("second", &value)] {
        let path = format!("data/blobs/{bucket}/{}", name(bytes));
        assert!(&place.read(&path) == bytes, "{path}");
    }
    assert_eq!(files(&place.path("data")), names(&[&value, &other]));
    for (path, mode) in [
        ("data/blobs", 0o700),
        ("data/blobs/default", 0o700),
        (&*format!("data/blobs/default/{}", name(&value)), 0o600),
    ] {
        assert_eq!(place.path(path).metadata().unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn the_data_file_has_a_reference_that_every_reader_reads() {
    let value = content(3, 300_000);
    let place = place_with(&[("image", &value)]);
    let found = pyyaml(&place.path("data/default.yaml"));
    let reference: Value = serde_json::from_slice(&found["image"]).unwrap();
    assert_eq!(reference, json!({"sha-256": name(&value), "bytes": 300_000, "type": "image/png"}));
    let text = String::from_utf8(place.read("data/default.yaml")).unwrap();
    let document: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(document["image"]["type"], "application/vnd.kvs.blob", "{text}");
    assert!(document["image"]["updated"].is_string() && text.len() < 1_000, "{text}");
}

#[test]
fn only_values_of_more_than_64_kib_are_blobs() {
    let (inside, outside) = (content(4, 65_536), content(5, 65_537));
    let place = place_with(&[("inside", &inside), ("outside", &outside)]);
    assert_eq!(files(&place.path("data")), names(&[&outside]));
    assert!(pyyaml(&place.path("data/default.yaml"))["inside"] == inside);
    assert!(place.run(&["get", "inside"]).ok().out == inside);
    assert!(place.run(&["get", "outside"]).ok().out == outside);
}

#[test]
fn a_long_value_in_the_data_file_stays_there_until_it_is_written() {
    let place = place_with(&[("other", b"1")]);
    let long = "long text ".repeat(10_000);
    let file = place.path("data/default.yaml");
    let text = std::fs::read_to_string(&file).unwrap() + &format!("long: \"{long}\"\n");
    super::save(&file, &text);
    assert_eq!(place.run(&["get", "long"]).ok().text(), long);
    place.run(&["set", "other", "2"]).ok();
    place.run(&["compact"]).ok();
    assert!(files(&place.path("data")).is_empty());
    assert_eq!(place.run(&["get", "long"]).ok().text(), long);
    place.with(&["set", "long", "-"], &[], long.as_bytes()).ok();
    assert_eq!(files(&place.path("data")), names(&[long.as_bytes()]));
    assert_eq!(place.run(&["get", "long"]).ok().text(), long);
    assert!(std::fs::metadata(&file).unwrap().len() < 2_000);
}

/// Whether another process holds `flock` on a file.
fn is_locked(path: &std::path::Path) -> bool {
    flock(std::fs::File::open(path).unwrap(), FlockOperation::NonBlockingLockExclusive).is_err()
}

#[tokio::test]
async fn a_blob_has_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (store, client) = open(folder.path());
    client.set("other", "1").await.unwrap();
    let value = content(6, 300_000);
    let mut blob = store.blobs().unwrap().create_blob(&bucket()).await.unwrap();
    for part in value.chunks(100_000) {
        blob.write(Bytes::copy_from_slice(part)).await.unwrap();
        let found: Vec<String> = files(folder.path()).into_iter().collect();
        let [new] = &found[..] else { panic!("{found:?}") };
        let numbers = new.strip_suffix(".new").and_then(|stem| stem.split_once('-'));
        let (process, number) = numbers.unwrap_or_else(|| panic!("{new} is not <process>-<number>.new"));
        assert_eq!(process, std::process::id().to_string());
        assert!(number.parse::<u64>().is_ok(), "{new}");
        assert!(is_locked(&blob_folder(folder.path()).join(new)), "{new} is not locked");
    }
    let stored = blob.finish().await.unwrap();
    assert_eq!((stored.id, stored.bytes), (super::id(&value), 300_000));
    assert_files(folder.path(), &[&value]);
    assert!(is_locked(&blob_folder(folder.path()).join("lock")), "the blob may not be removed yet");
    let (reference, mark) = stored.reference(ContentType::new("image/png").unwrap());
    let write = Write::Put { key: key("image"), value: reference, content_type: mark, expires: None, modified: None };
    store.apply(&bucket(), batch(vec![write])).await.unwrap();
    drop(stored);
    assert!(client.get("image").await.unwrap().unwrap() == value);
}

#[tokio::test]
async fn nothing_is_left_of_a_blob_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for parts in [0, 1, 3] {
        let mut blob = store.blobs().unwrap().create_blob(&Bucket::default()).await.unwrap();
        for _ in 0..parts {
            blob.write(vec![1; 100_000].into()).await.unwrap();
        }
        drop(blob);
        assert_files(folder.path(), &[]);
    }
}
