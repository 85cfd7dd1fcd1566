//! The blobs of a bucket and the references to them: which blobs can be removed, and which are missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::blob_file::BlobFile;
use super::blob_folder::{BlobFolder, failed};
use super::new_blob::NewBlobFile;
use crate::model::{BlobId, BlobRef, ErrorKind, Key, Result};
use crate::store::{BlobReader, Finding, NewBlob, Report, Severity, Task};
use crate::yaml::bucket::bucket_store::BucketStore;
use crate::yaml::fs::LockMode;

/// How long the removal of blobs waits for those who store one: from the name of the blob to the commit of an entry.
const REMOVAL_TIMEOUT: Duration = Duration::from_millis(100);

/// The blobs of a bucket.
pub(crate) struct UsedBlobs<F> {
    pub(crate) folder: BlobFolder,
    /// Finds the bucket; `None` if it has no entries. Another process may create it at any time.
    pub(crate) find_bucket: F,
}

impl<F: Fn() -> Result<Option<Arc<BucketStore>>>> UsedBlobs<F> {
    /// Begins to write a blob.
    pub(crate) async fn create(self) -> Result<Box<dyn NewBlob>> {
        Ok(Box::new(NewBlobFile::create(self.folder).await?))
    }

    /// Opens a blob.
    pub(crate) fn open(&self, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        Ok(BlobFile::open(&self.folder, id)?.map(|file| Arc::new(file) as Arc<dyn BlobReader>))
    }

    /// Removes those of these blobs that nothing refers to; false if others are storing blobs.
    pub(crate) fn remove_unused(&self, ids: &[BlobId]) -> Result<bool> {
        Ok(self.remove_those_unused(ids)?.is_some())
    }

    /// Runs a maintenance task.
    pub(crate) fn maintain(&self, task: Task, report: &mut Report) -> Result<()> {
        match task {
            Task::Compact | Task::RemoveExpired | Task::RemoveLeftovers => {
                let content = self.folder.content()?;
                let mut removed = 0;
                for path in &content.unfinished {
                    removed += u64::from(self.folder.remove_unfinished(path)?);
                }
                removed += self.remove_those_unused(&content.blobs)?.unwrap_or(0);
                // The other tasks count entries.
                report.removed += if task == Task::RemoveLeftovers { removed } else { 0 };
            }
            Task::Check => report.findings.extend(self.check()?),
            Task::Status => {}
        }
        Ok(())
    }

    /// The number of blobs that were removed; `None` if others are storing blobs.
    fn remove_those_unused(&self, ids: &[BlobId]) -> Result<Option<u64>> {
        let mut present = vec![];
        for id in ids {
            let path = self.folder.file(*id);
            if self.folder.fs.stat(&path).map_err(|e| failed("inspect", &path, e))?.is_some() {
                present.push(*id);
            }
        }
        if present.is_empty() {
            return Ok(Some(0));
        }
        let Some(_lock) = self.folder.lock(LockMode::Exclusive, REMOVAL_TIMEOUT)? else { return Ok(None) };
        // Read under the lock: what was stored before is seen.
        let used: HashSet<BlobId> = self.references()?.into_iter().map(|(_, blob)| blob.id).collect();
        let mut removed = 0;
        for id in present.into_iter().filter(|id| !used.contains(id)) {
            removed += u64::from(self.folder.remove(id)?);
        }
        if removed > 0 {
            self.folder.fs.sync_folder(&self.folder.path).map_err(|e| failed("sync", &self.folder.path, e))?;
        }
        Ok(Some(removed))
    }

    fn references(&self) -> Result<Vec<(Key, BlobRef)>> {
        let Some(bucket) = (self.find_bucket)()? else { return Ok(vec![]) };
        let state = bucket.current_now()?;
        let references = state.entries.iter().filter_map(|view| view.blob().map(|blob| (view.to_key(), blob)));
        Ok(references.collect())
    }

    /// Reads all blobs that entries refer to.
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut findings, mut checked) = (vec![], HashSet::new());
        let references = match self.references() {
            // The check of the bucket reports it.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(vec![]),
            references => references?,
        };
        for (key, BlobRef { id, .. }) in references {
            if !checked.insert(id) {
                continue;
            }
            let wrong = match BlobFile::open(&self.folder, id) {
                Ok(None) => "is missing",
                Ok(Some(file)) if file.compute_id()? != id => "was changed",
                Ok(Some(_)) => continue,
                Err(error) if error.kind() == ErrorKind::Corrupt => "is a symbolic link",
                Err(error) => return Err(error),
            };
            let text = format!("the blob of {key:?} {wrong}; restore it from a backup, or store the value again");
            findings.push(Finding { file: Some(self.folder.file(id)), ..Finding::new(Severity::Damage, text) });
        }
        Ok(findings)
    }
}
