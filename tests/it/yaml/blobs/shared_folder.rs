//! Several stores on one folder, which are several processes: no blob is removed while somebody needs it.

use kvs::model::{ContentType, Write};
use kvs::store::{Store, StoredBlob, Task};
use kvs::yaml::YamlStore;

use super::{assert_files, content, files, id, names, open};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Freezing, FreezingFs, Which};
use crate::yaml::fixtures::{self, batch, bucket, key};

/// Each task that removes unused blobs.
const TASKS: [Task; 3] = [Task::RemoveLeftovers, Task::RemoveExpired, Task::Compact];

async fn sweep(store: &YamlStore) {
    for task in TASKS {
        store.maintain(&bucket(), task).await.unwrap();
    }
}

/// Writes a blob and finishes it.
async fn stored(store: &YamlStore, bytes: &[u8]) -> StoredBlob {
    let mut blob = store.blobs().unwrap().create_blob(&bucket()).await.unwrap();
    blob.write(bytes.to_vec().into()).await.unwrap();
    blob.finish().await.unwrap()
}

/// Puts the reference of a blob under a key.
async fn refer(store: &YamlStore, name: &str, blob: &StoredBlob) {
    let (value, content_type) = blob.reference(ContentType::new("image/png").unwrap());
    let put = Write::Put { key: key(name), value, content_type, expires: None, modified: None };
    store.apply(&bucket(), batch(vec![put])).await.unwrap();
}

#[tokio::test]
async fn a_sweep_of_another_process_keeps_a_blob_that_is_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let ((writer, client), (other, others)) = (open(folder.path()), open(folder.path()));
    client.set("first", "1").await.unwrap();
    let value = content(1, 300_000);
    let mut blob = writer.blobs().unwrap().create_blob(&bucket()).await.unwrap();
    for part in value.chunks(100_000) {
        blob.write(part.to_vec().into()).await.unwrap();
        sweep(&other).await;
    }
    let held = blob.finish().await.unwrap();
    sweep(&other).await;
    assert!(!other.blobs().unwrap().remove_unused_blobs(&bucket(), &[held.id]).await.unwrap(), "it did not look");
    assert_eq!(files(folder.path()), names(&[&value]));
    refer(&writer, "image", &held).await;
    drop(held);
    sweep(&other).await;
    assert!(others.get("image").await.unwrap().unwrap() == value);
}

#[tokio::test]
async fn a_blob_that_was_never_referred_to_is_swept_by_anybody() {
    for by_itself in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let ((writer, client), (other, _)) = (open(folder.path()), open(folder.path()));
        client.set("first", "1").await.unwrap();
        let value = content(2, 300_000);
        drop(stored(&writer, &value).await);
        sweep(if by_itself { &writer } else { &other }).await;
        assert_files(folder.path(), &[]);
        assert!(writer.blobs().unwrap().open_blob(&bucket(), id(&value)).await.unwrap().is_none());
    }
}

/// The sweep begins before the bucket has a data file, and looks for unused blobs after its first entry is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_during_the_first_write_of_a_bucket_keeps_its_blob() {
    let disk = CrashFs::default();
    let frozen = FreezingFs::new(disk.clone(), Freezing::default());
    let (writer, sweeper) = (fixtures::open(disk), fixtures::open(frozen.clone()));
    let held = stored(&writer, &content(12, 100_000)).await;
    let gate = frozen.probe.freeze(Which(Call::Open, "blobs/default/lock"));
    let sweeping = std::thread::spawn(move || fixtures::upkeep(&sweeper, Task::RemoveLeftovers).unwrap());
    gate.reached();
    refer(&writer, "image", &held).await;
    let id = held.id;
    drop(held);
    gate.open();
    sweeping.join().unwrap();
    let found = writer.blobs().unwrap().open_blob(&bucket(), id).await.unwrap();
    assert!(found.is_some(), "the blob of an acknowledged entry was removed");
}

#[tokio::test]
async fn a_value_that_one_removes_while_another_stores_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ((writer, _), (other, others)) = (open(folder.path()), open(folder.path()));
    let value = content(3, 300_000);
    others.set("old", value.clone()).await.unwrap();
    let held = stored(&writer, &value).await;
    // The last entry that needs the file is deleted before the new one is committed.
    others.delete("old").await.unwrap();
    sweep(&other).await;
    refer(&writer, "new", &held).await;
    drop(held);
    sweep(&other).await;
    assert!(others.get("new").await.unwrap().unwrap() == value);
    others.delete("new").await.unwrap();
    assert_files(folder.path(), &[]);
}

#[tokio::test]
async fn an_open_blob_is_read_to_its_end_after_another_process_removed_it() {
    let folder = tempfile::tempdir().unwrap();
    let ((reader, client), (other, others)) = (open(folder.path()), open(folder.path()));
    let value = content(4, 300_000);
    client.set("image", value.clone()).await.unwrap();
    let blob = reader.blobs().unwrap().open_blob(&bucket(), id(&value)).await.unwrap().unwrap();
    let mut found = blob.read(0, 1_000).await.unwrap().to_vec();
    others.delete("image").await.unwrap();
    sweep(&other).await;
    assert_files(folder.path(), &[]);
    while found.len() < value.len() {
        let part = blob.read(found.len() as u64, 70_000).await.unwrap();
        assert!(!part.is_empty(), "it ends after {} bytes", found.len());
        found.extend_from_slice(&part);
    }
    assert!(found == value);
    assert!(blob.read(300_000, 10).await.unwrap().is_empty(), "nothing after the end");
    assert_eq!(client.get("image").await.unwrap(), None);
}

#[tokio::test]
async fn a_replaced_value_leaves_no_file_whoever_replaced_it() {
    let folder = tempfile::tempdir().unwrap();
    let ((_, first), (_, second)) = (open(folder.path()), open(folder.path()));
    let values: Vec<_> = (5..11).map(|seed| content(seed, 200_000)).collect();
    for (turn, value) in values.iter().enumerate() {
        let client = if turn % 2 == 0 { &first } else { &second };
        client.set("image", value.clone()).await.unwrap();
        assert_files(folder.path(), &[value]);
        assert!(first.get("image").await.unwrap().unwrap() == *value);
    }
}
