//! Blobs: they are read back whole and in parts, and removed when nothing refers to them, but not before.
//!
//! They run only if the store has [`Blobs`](crate::store::Blobs).

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::model::{BlobId, BlobRef, Bucket, Condition, ContentType, Outcome, Write};
use crate::store::contract::{Blobs, StoredBlob, Task};
use crate::store::suite::cases::cases;
use crate::store::suite::store_under_test::{TestBench, expect, key};

cases![
    a_blob_is_read_back_whole_and_in_parts,
    the_name_of_a_blob_is_its_hash,
    a_missing_blob_is_not_an_error,
    an_unfinished_blob_leaves_nothing,
    a_blob_belongs_to_its_bucket,
    a_reference_is_an_entry_like_any_other,
    unused_blobs_are_removed,
    a_blob_is_kept_while_somebody_stores_it,
    a_blob_with_two_references_is_kept_until_both_are_gone,
    an_open_blob_can_be_read_after_its_removal,
    blobs_stored_at_once_by_many_are_kept,
];

impl TestBench {
    fn blobs(&self) -> &dyn Blobs {
        self.store.blobs().unwrap()
    }

    async fn stored(&self, pieces: &[&[u8]]) -> StoredBlob {
        let mut blob = self.blobs().create_blob(&self.bucket).await.unwrap();
        for piece in pieces {
            blob.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        blob.finish().await.unwrap()
    }

    async fn put_blob(&self, name: &str, blob: &StoredBlob) {
        self.commit(vec![put_reference(name, blob)]).await;
    }

    /// The bytes of a blob, read in parts of this length.
    async fn blob(&self, id: BlobId, part: usize) -> Option<Vec<u8>> {
        let reader = self.blobs().open_blob(&self.bucket, id).await.unwrap()?;
        let mut all = vec![];
        loop {
            let read = reader.read(all.len() as u64, part).await.unwrap();
            assert!(read.len() <= part, "no more than was asked for");
            if read.is_empty() {
                return Some(all);
            }
            all.extend_from_slice(&read);
        }
    }

    async fn maintained(&self, task: Task) {
        self.store.maintain(&self.bucket, task).await.unwrap();
    }

    /// Waits until a blob is gone. The end of a hold may take a moment, as every message to a server does.
    async fn gone(&self, id: BlobId, removal: Removal) {
        for _ in 0..500 {
            match removal {
                Removal::Task(task) => self.maintained(task).await,
                Removal::OfThese => drop(self.blobs().remove_unused_blobs(&self.bucket, &[id]).await.unwrap()),
            }
            if !self.exists(id).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("blob {id} was not removed");
    }

    /// Waits until the store has looked for blobs that can be removed.
    async fn looked(&self, id: BlobId) {
        for _ in 0..500 {
            if self.blobs().remove_unused_blobs(&self.bucket, &[id]).await.unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("blob {id} is still held");
    }

    async fn exists(&self, id: BlobId) -> bool {
        self.blobs().open_blob(&self.bucket, id).await.unwrap().is_some()
    }
}

#[derive(Clone, Copy)]
enum Removal {
    Task(Task),
    OfThese,
}

fn put_reference(name: &str, blob: &StoredBlob) -> Write {
    let (value, content_type) = blob.reference(ContentType::new("image/png").unwrap());
    Write::Put { key: key(name), value, content_type, expires: None, modified: None }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

async fn a_blob_is_read_back_whole_and_in_parts(bench: TestBench) {
    for (bytes, piece) in [(0, 1), (1, 1), (1_000, 7), (1_000_000, 65_536), (3_000_000, 3_000_000)] {
        let all = pattern(bytes);
        let pieces: Vec<&[u8]> = all.chunks(piece).collect();
        let blob = bench.stored(&pieces).await;
        assert_eq!(blob.bytes, bytes as u64);
        for part in [bytes.max(1), bytes / 3 + 1, 2 * bytes + 1] {
            assert!(bench.blob(blob.id, part).await.unwrap() == all, "{bytes} bytes in parts of {part}");
        }
        let reader = bench.blobs().open_blob(&bench.bucket, blob.id).await.unwrap().unwrap();
        assert_eq!(reader.read(bytes as u64, 9).await.unwrap(), "", "at the end");
        assert_eq!(reader.read(bytes as u64 + 9, 9).await.unwrap(), "", "after the end");
        let middle = bytes / 2;
        let part = reader.read(middle as u64, 5).await.unwrap();
        assert_eq!(part, all[middle..bytes.min(middle + 5)]);
    }
}

async fn the_name_of_a_blob_is_its_hash(bench: TestBench) {
    let first = bench.stored(&[b"some ", b"bytes"]).await;
    assert_eq!(first.id, BlobId::new(Sha256::digest(b"some bytes").into()));
    let second = bench.stored(&[b"some bytes"]).await;
    assert_eq!((second.id, second.bytes), (first.id, 10));
    drop(first);
    assert_eq!(bench.blob(second.id, 99).await.unwrap(), b"some bytes");
}

async fn a_missing_blob_is_not_an_error(bench: TestBench) {
    let id = BlobId::new([7; 32]);
    assert!(!bench.exists(id).await);
    assert!(bench.blobs().remove_unused_blobs(&bench.bucket, &[id]).await.is_ok());
    assert!(bench.store.buckets().await.unwrap().is_empty(), "reading creates no bucket");
}

async fn an_unfinished_blob_leaves_nothing(bench: TestBench) {
    let mut blob = bench.blobs().create_blob(&bench.bucket).await.unwrap();
    blob.write(pattern(500_000).into()).await.unwrap();
    drop(blob);
    assert!(!bench.exists(BlobId::new(Sha256::digest(pattern(500_000)).into())).await);
    assert!(bench.store.buckets().await.unwrap().is_empty(), "a blob alone is no bucket");
}

async fn a_blob_belongs_to_its_bucket(bench: TestBench) {
    let blob = bench.stored(&[b"x"]).await;
    let other = Bucket::new("other").unwrap();
    assert!(bench.blobs().open_blob(&other, blob.id).await.unwrap().is_none());
    let _ = bench.blobs().remove_unused_blobs(&other, &[blob.id]).await.unwrap();
    assert!(bench.exists(blob.id).await);
}

async fn a_reference_is_an_entry_like_any_other(bench: TestBench) {
    // Longer than any other value.
    let bytes = pattern(bench.limits.max_value_bytes + 1);
    let blob = bench.stored(&[&bytes]).await;
    bench.put_blob("a", &blob).await;
    let snapshot = bench.blobs().get_references(&bench.bucket, &[key("a"), key("b")]).await.unwrap();
    let entry = snapshot.entries[0].clone().unwrap();
    let expected = BlobRef { id: blob.id, bytes: blob.bytes, content_type: ContentType::new("image/png").unwrap() };
    assert_eq!((BlobRef::of(&entry), &snapshot.entries[1]), (Some(expected), &None));
    drop(blob);
    // Its expiry and its revision are those of any entry.
    bench.write(Write::Touch { key: key("a"), expires: Some(bench.secs_ahead(9)) }).await;
    let condition = Condition::RevisionIn(vec![entry.revision]);
    let replaced = bench.apply(vec![expect("a", condition)], vec![Write::put(key("a"), "small")]).await;
    assert!(matches!(replaced, Outcome::Committed { .. }));
    assert_eq!(bench.value("a").await.unwrap(), "small");
}

async fn unused_blobs_are_removed(bench: TestBench) {
    for task in [Task::Compact, Task::RemoveExpired, Task::RemoveLeftovers] {
        let unused = bench.stored(&[b"unused"]).await.id;
        let stored = bench.stored(&[b"used"]).await;
        bench.put_blob("a", &stored).await;
        let used = stored.id;
        drop(stored);
        bench.maintained(Task::Check).await;
        bench.maintained(Task::Status).await;
        assert!(bench.exists(unused).await, "a check changes nothing");
        bench.gone(unused, Removal::Task(task)).await;
        assert!(bench.exists(used).await, "{task:?}");
        bench.write(Write::Delete { key: key("a") }).await;
        bench.gone(used, Removal::OfThese).await;
    }
}

async fn a_blob_is_kept_while_somebody_stores_it(bench: TestBench) {
    let blob = bench.stored(&[b"bytes"]).await;
    let _ = bench.blobs().remove_unused_blobs(&bench.bucket, &[blob.id]).await.unwrap();
    for task in [Task::Compact, Task::RemoveExpired, Task::RemoveLeftovers] {
        bench.maintained(task).await;
        assert!(bench.exists(blob.id).await, "{task:?}");
    }
    bench.put_blob("a", &blob).await;
    drop(blob);
    bench.maintained(Task::Compact).await;
    let id = BlobId::new(Sha256::digest(b"bytes").into());
    assert_eq!(bench.blob(id, 99).await.unwrap(), b"bytes");
}

async fn a_blob_with_two_references_is_kept_until_both_are_gone(bench: TestBench) {
    let blob = bench.stored(&[b"bytes"]).await;
    bench.put_blob("a", &blob).await;
    bench.put_blob("b", &blob).await;
    let id = blob.id;
    drop(blob);
    bench.write(Write::Delete { key: key("a") }).await;
    bench.looked(id).await;
    assert!(bench.exists(id).await);
    bench.write(Write::put(key("b"), "small")).await;
    bench.gone(id, Removal::OfThese).await;
}

async fn an_open_blob_can_be_read_after_its_removal(bench: TestBench) {
    let blob = bench.stored(&[&pattern(400_000)]).await;
    let id = blob.id;
    drop(blob);
    let reader = bench.blobs().open_blob(&bench.bucket, id).await.unwrap().unwrap();
    assert_eq!(reader.read(0, 10).await.unwrap(), pattern(10));
    bench.gone(id, Removal::Task(Task::RemoveLeftovers)).await;
    assert_eq!(reader.read(399_990, 100).await.unwrap(), pattern(400_000)[399_990..]);
}

async fn blobs_stored_at_once_by_many_are_kept(bench: TestBench) {
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let bench = bench.clone();
        writers.spawn(async move {
            for round in 0..12_usize {
                // Some have the same bytes.
                let bytes = pattern(1_000 + (writer / 2) * 100 + round);
                let blob = bench.stored(&[&bytes]).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                bench.put_blob(&format!("w{writer}"), &blob).await;
                let id = blob.id;
                drop(blob);
                assert!(bench.blob(id, 9_999).await.unwrap() == bytes);
            }
        });
    }
    let removing = bench.clone();
    let remover = tokio::spawn(async move {
        loop {
            removing.maintained(Task::RemoveLeftovers).await;
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    });
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    remover.abort();
    let _ = remover.await;
    for writer in 0..8_usize {
        let entries = bench.blobs().get_references(&bench.bucket, &[key(&format!("w{writer}"))]).await.unwrap().entries;
        let blob = BlobRef::of(entries[0].as_ref().unwrap()).unwrap();
        assert!(bench.blob(blob.id, 9_999).await.unwrap() == pattern(1_000 + (writer / 2) * 100 + 11));
    }
}
