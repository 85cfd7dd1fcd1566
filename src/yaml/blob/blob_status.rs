//! The status of the blobs of a bucket: files that entries refer to and that cannot be read, found without a lock.
//!
//! Only buckets that this process uses are inspected. The bytes of a blob are not read; `Task::Check` does that.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::blob_folder::{BlobFolder, failed};
use crate::model::{Bucket, Error, Result};
use crate::store::{Finding, Report, Severity, Sizes};
use crate::yaml::bucket::bucket_store::BucketStore;
use crate::yaml::file::errors::is_too_many_open_files;
use crate::yaml::fs::{OpenMode, Stat};
use crate::yaml::inspected::{Inspected, InspectedFile};
use crate::yaml::last_failures::add_error;

/// The blobs to which a data file in one state refers, with their lengths.
type References = (Stat, Arc<HashMap<PathBuf, u64>>);

impl BlobFolder {
    /// Adds how much the blobs of the bucket hold. A file that cannot be inspected is left out.
    pub(crate) fn add_sizes(&self, sizes: &mut Sizes) {
        // There may be no folder.
        let blobs = self.content().map_or_else(|_| vec![], |content| content.blobs);
        for file in blobs.into_iter().map(|id| self.file(id)) {
            if let Ok(Some(stat)) = self.fs.stat(&file) {
                sizes.blobs += 1;
                sizes.blob_bytes += stat.len;
            }
        }
    }
}

/// What is known of the blobs of a store.
#[derive(Default)]
pub(crate) struct BlobStatus {
    references: Mutex<HashMap<Bucket, References>>,
    /// What is wrong with them.
    inspected: Inspected<Option<String>>,
}

impl BlobStatus {
    /// Adds the problems of the blobs of a bucket. Returns the error of the last write for which there was no room.
    ///
    /// # Errors
    /// If nothing is known because no file can be opened.
    pub(crate) fn status(
        &self,
        folder: &BlobFolder,
        bucket: Option<&BucketStore>,
        report: &mut Report,
    ) -> Result<Option<Error>> {
        let fs = &*folder.fs;
        let mut full = None;
        for error in folder.failures.below(fs, &folder.path) {
            add_error(error, report, &mut full);
        }
        if fs.stat(&folder.path).is_ok_and(|stat| stat.is_some())
            && let Err(e) = fs.may_write(&folder.path)
        {
            add_error(failed("write to", &folder.path, e), report, &mut full);
        }
        let Some(bucket) = bucket else { return Ok(full) };
        let Some((data, references)) = self.references(folder, bucket) else { return Ok(full) };
        let inspect = |file: &Path| inspect(folder, file, references.get(file).copied().unwrap_or(0));
        let files = references.keys().cloned();
        let inspected = self.inspected.inspect(fs, &bucket.paths.bucket, files, inspect)?;
        // Otherwise a blob may have been removed with its last entry.
        if fs.stat(&bucket.paths.data).is_ok_and(|now| now == Some(data)) {
            let settled = inspected.into_iter().filter(|file| file.is_settled);
            report.findings.extend(settled.filter_map(|InspectedFile { path, found, .. }| {
                Some(Finding { file: Some(path), ..Finding::new(Severity::Damage, found?) })
            }));
        }
        Ok(full)
    }

    /// The blobs to which the entries refer, if there are any and the state in memory is that of the file.
    fn references(&self, folder: &BlobFolder, bucket: &BucketStore) -> Option<References> {
        let state = bucket.state.read();
        let stat = state.stat.filter(|_| state.damage.is_none())?;
        let mut known = self.references.lock();
        if let Some(found) = known.get(&bucket.paths.bucket).filter(|(then, _)| *then == stat) {
            return Some(found.clone()).filter(|(_, blobs)| !blobs.is_empty());
        }
        let blobs = state.entries.iter().filter_map(|view| view.blob());
        let blobs: HashMap<_, _> = blobs.map(|blob| (folder.file(blob.id), blob.bytes)).collect();
        let found = (stat, Arc::new(blobs));
        known.insert(bucket.paths.bucket.clone(), found.clone());
        Some(found).filter(|(_, blobs)| !blobs.is_empty())
    }
}

/// What prevents reads of a blob of this length.
fn inspect(folder: &BlobFolder, file: &Path, bytes: u64) -> Result<Option<String>> {
    const ADVICE: &str = "restore it from a backup, or store the value again";
    let length = folder.fs.open(file, OpenMode::Read).and_then(|file| file.stat());
    match length {
        Ok(stat) if stat.len == bytes => Ok(None),
        Ok(stat) => Ok(Some(format!("this blob has {} bytes instead of {bytes}; {ADVICE}", stat.len))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(format!("this blob is missing; {ADVICE}"))),
        Err(e) if is_too_many_open_files(&e) => Err(failed("open", file, e)),
        Err(e) => Ok(Some(failed("read", file, e).to_string())),
    }
}
