//! Writes to a bucket of the target in batches, in the order of revisions, and records each batch.
//!
//! Entries that have changed in the source since the comparison are left for the next comparison.

use std::collections::HashSet;

use super::compare::{BucketDiff, MissingEntry};
use super::plan::WriteOrder;
use super::progress_record::ProgressRecord;
use super::side::{Side, on};
use crate::model::{
    Batch, BlobRef, Bucket, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning, Revision, Write,
};
use crate::store::{BatchLimits, ImportSource, Store, StoredBlob};

/// How many bytes of a blob are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Writes one bucket of the target.
pub(crate) struct BucketWriter<'a> {
    pub(crate) from: &'a dyn ImportSource,
    pub(crate) to: &'a dyn Store,
    pub(crate) record: &'a ProgressRecord,
    pub(crate) bucket: &'a Bucket,
    pub(crate) batches: BatchLimits,
    /// The revision of the bucket after the last batch.
    pub(crate) last: Revision,
    /// The last revision that certainly came from this copy. The revision after a deletion cannot be predicted, so it
    /// is not certain.
    pub(crate) last_own: Revision,
    /// The number of entries that were written.
    pub(crate) copied: u64,
    /// The number of entries that were deleted.
    pub(crate) deleted: u64,
}

impl BucketWriter<'_> {
    /// Writes the differences of a comparison. `on_written` gets the number of entries that are done.
    pub(crate) async fn write(&mut self, mut diff: BucketDiff, on_written: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        if diff.target_revision != self.last {
            return Err(self.others_write());
        }
        let order = WriteOrder::new(&mut diff, self.from.has_revisions());
        let mut done = 0;
        for (all, deletes_first) in [(&order.plain, false), (&order.delete_first, true)] {
            for batch in self.batches.split(all, |missing| missing.size) {
                self.restore(batch, deletes_first).await?;
                done += batch.len() as u64;
                on_written(done);
            }
            if !deletes_first {
                self.last_own = self.last;
            }
        }
        for batch in diff.extra.chunks(self.batches.keys) {
            self.delete(batch).await?;
            done += batch.len() as u64;
            on_written(done);
        }
        Ok(())
    }

    /// Checks by the comparison after the writes that nobody else has written at the moment of a deletion. If somebody
    /// has, the bucket is no longer recorded as a copy, and their data stays.
    pub(crate) async fn check_sole_writer(&self, diff: &BucketDiff) -> Result<()> {
        let extra = diff.extra.iter().map(|(_, revision)| *revision);
        let replaced = diff.missing.iter().filter_map(|missing| Some(missing.replaces?.0));
        if extra.chain(replaced).all(|revision| revision <= self.last_own) {
            return Ok(());
        }
        self.record.save(self.bucket, self.last_own, self.last_own).await.map_err(on(Side::Target))?;
        Err(self.others_write())
    }

    async fn restore(&mut self, missing: &[MissingEntry], deletes_first: bool) -> Result<()> {
        let keys: Vec<Key> = missing.iter().map(|missing| missing.key.clone()).collect();
        let entries = self.from.get(self.bucket, &keys).await.map_err(on(Side::Source))?;
        let mut writes = Vec::with_capacity(missing.len());
        // Kept until the entries that refer to them are committed.
        let mut blobs = vec![];
        let mut next = self.last;
        for (missing, entry) in missing.iter().zip(entries) {
            let Some(mut entry) = entry.filter(|entry| entry.revision == missing.source_revision) else { continue };
            if let Some(blob) = BlobRef::of(&entry) {
                blobs.push(self.copy_blob(&missing.key, &blob).await?);
            }
            entry.revision = missing.revision;
            next = entry.revision.max(next.following());
            if deletes_first {
                writes.push(Write::Delete { key: missing.key.clone() });
                self.last_own = self.last_own.max(entry.revision);
            }
            writes.push(Write::Restore { key: missing.key.clone(), entry });
        }
        if writes.is_empty() {
            return Ok(());
        }
        let expectations = if deletes_first { self.expect_unchanged(keys).await? } else { vec![] };
        let has_blobs = !blobs.is_empty();
        let committed = self.commit(writes, expectations, (!deletes_first).then_some(next)).await;
        drop(blobs);
        if let Some(blobs) = self.to.blobs().filter(|_| has_blobs) {
            // Those that were replaced.
            blobs.remove_unused_blobs(self.bucket, &[]).await.map_err(on(Side::Target))?;
        }
        self.copied += committed?;
        Ok(())
    }

    /// Copies a blob, which may be larger than the memory.
    async fn copy_blob(&self, key: &Key, blob: &BlobRef) -> Result<StoredBlob> {
        let cannot = |why: &str| {
            let text =
                format!("bucket {}, key {key:?}: the value is a blob of {} bytes, {why}", self.bucket, blob.bytes);
            Error::new(ErrorKind::TooLarge, text)
        };
        let to = self.to.blobs().ok_or_else(|| cannot("and the target has no blobs; it cannot be copied"))?;
        let reader = match self.from.blobs() {
            Some(from) => from.open_blob(self.bucket, blob.id).await.map_err(on(Side::Source))?,
            None => None,
        };
        let reader = reader.ok_or_else(|| cannot("which is missing in the source; store the value again"))?;
        let mut copied = to.create_blob(self.bucket).await.map_err(on(Side::Target))?;
        let mut offset = 0;
        while offset < blob.bytes {
            let piece = reader.read(offset, PIECE_BYTES).await.map_err(on(Side::Source))?;
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            copied.write(piece).await.map_err(on(Side::Target))?;
        }
        let stored = copied.finish().await.map_err(on(Side::Target))?;
        if stored.id == blob.id {
            Ok(stored)
        } else {
            Err(cannot("which is damaged in the source; store the value again"))
        }
    }

    async fn delete(&mut self, extra: &[(Key, Revision)]) -> Result<()> {
        let expectations = self.expect_unchanged(extra.iter().map(|(key, _)| key.clone()).collect()).await?;
        let writes = expectations.iter().map(|expected| Write::Delete { key: expected.key.clone() }).collect();
        self.deleted += self.commit(writes, expectations, None).await?;
        Ok(())
    }

    /// The expectations that these entries of the target stay unchanged. Fails if somebody else has written to the
    /// bucket since our last batch. Entries that have expired are left out.
    async fn expect_unchanged(&self, keys: Vec<Key>) -> Result<Vec<Expectation>> {
        let now = self.to.get(self.bucket, &keys).await.map_err(on(Side::Target))?;
        if now.revision != self.last {
            return Err(self.others_write());
        }
        let entries = keys.into_iter().zip(&now.entries);
        Ok(entries.filter_map(|(key, entry)| Some(Expectation::unchanged(key, Some(entry.as_ref()?)))).collect())
    }

    /// Commits a batch and returns the number of different keys in it. `next` is the revision of the bucket after it,
    /// if that can be predicted: after a deletion only the store knows it.
    async fn commit(
        &mut self,
        writes: Vec<Write>,
        expectations: Vec<Expectation>,
        next: Option<Revision>,
    ) -> Result<u64> {
        self.record.save(self.bucket, self.last, next.unwrap_or(self.last)).await.map_err(on(Side::Target))?;
        let keys: HashSet<Key> = writes.iter().map(|write| write.key().clone()).collect();
        let batch = Batch::new(writes).with_expectations(expectations).returning(Returning::Nothing);
        let outcome = self.to.apply(self.bucket, batch).await;
        let outcome = outcome.map_err(|e| match e.kind() {
            // The comparison found that all of it can be written.
            ErrorKind::Invalid => Error::new(ErrorKind::Busy, format!("{}: {e}", self.others_write())),
            _ => on(Side::Target)(e),
        })?;
        let Outcome::Committed { revision, .. } = outcome else { return Err(self.others_write()) };
        // It can be lower than predicted, if entries have expired, but not higher.
        if next.is_some_and(|next| revision > next) {
            return Err(self.others_write());
        }
        if next != Some(revision) {
            self.record.save(self.bucket, revision, revision).await.map_err(on(Side::Target))?;
        }
        self.last = revision;
        Ok(keys.len() as u64)
    }

    fn others_write(&self) -> Error {
        let text = format!("others write to bucket {} of the target; stop them, then copy again", self.bucket);
        Error::new(ErrorKind::Busy, text)
    }
}
