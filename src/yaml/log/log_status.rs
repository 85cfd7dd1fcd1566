//! The status of the logs of a bucket: the problems that a person must fix, found without waiting for a lock.
//!
//! Of each log only the beginning and the end are read, and only if the file has changed. `Task::Check` reads all lines.

use std::io;
use std::path::Path;

use super::log_file::read_state;
use super::log_path;
use super::log_path::LogPath;
use super::used_logs::UsedLogs;
use crate::model::{Bucket, Error, LogKeysQuery, Result};
use crate::store::{Finding, Report, Severity, Sizes};
use crate::yaml::file::errors::{io_error_with_advice, is_too_many_open_files};
use crate::yaml::fs::OpenMode;
use crate::yaml::last_failures::add_error;

impl UsedLogs {
    /// Adds the problems of the logs of a bucket. Returns the error of the last append for which there was no room.
    ///
    /// # Errors
    /// If nothing is known because no file can be opened.
    pub(crate) fn status(&self, bucket: &Bucket, report: &mut Report) -> Result<Option<Error>> {
        let folder = log_path::folder(&self.data_folder, bucket);
        let fs = &*self.options.file_system;
        let mut full = None;
        for error in self.shared.failures.below(fs, &folder) {
            add_error(error, report, &mut full);
        }
        let failed = |doing: &str, e| io_error_with_advice(format!("cannot {doing} {}", folder.display()), e);
        let is_empty = match fs.list(&folder) {
            Ok(names) => names.is_empty(),
            Err(e) if is_too_many_open_files(&e) => return Err(failed("list", e)),
            Err(e) => {
                add_error(failed("list", e), report, &mut full);
                true
            }
        };
        if is_empty {
            return Ok(full);
        }
        if let Err(e) = fs.may_write(&folder) {
            add_error(failed("write to", e), report, &mut full);
        }
        let keys = self.keys(bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() })?;
        let logs: Vec<LogPath> = keys.iter().map(|key| LogPath::new(&self.data_folder, bucket, key)).collect();
        let mut inspected = logs.iter();
        let inspect = |file: &Path| {
            let log = inspected.by_ref().find(|log| log.file == file);
            log.map_or(Ok(None), |log| self.inspect(log))
        };
        let files = logs.iter().map(|log| log.file.clone());
        for (_, text) in self.inspected.problems(fs, bucket, files, inspect)? {
            report.findings.push(Finding::new(Severity::Damage, text));
        }
        Ok(full)
    }

    /// Adds how much the logs of these buckets hold. A damaged log has bytes, but no entries. A log that has not changed
    /// is not read again.
    pub(crate) fn add_sizes(&self, buckets: &[Bucket], sizes: &mut Sizes) {
        let mut counted = self.counted.lock();
        let known = std::mem::take(&mut *counted);
        for bucket in buckets {
            // A folder that cannot be listed is one of the problems of the bucket.
            let keys = self.keys(bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() });
            for path in keys.unwrap_or_default().iter().map(|key| LogPath::new(&self.data_folder, bucket, key)) {
                let Ok(Some(stat)) = self.options.file_system.stat(&path.file) else { continue };
                let entries = match known.get(&path.file) {
                    Some((then, entries)) if *then == stat => *entries,
                    _ => self.entries_of(&path),
                };
                sizes.logs += 1;
                sizes.log_bytes += stat.len;
                sizes.log_entries += entries;
                counted.insert(path.file, (stat, entries));
            }
        }
    }

    fn entries_of(&self, path: &LogPath) -> u64 {
        let file = self.options.file_system.open(&path.file, OpenMode::Read);
        let known = file.ok().and_then(|file| read_state(&*file, path).ok().flatten());
        known.map_or(0, |known| known.bounds.next - known.bounds.first)
    }

    /// What prevents reads or appends.
    fn inspect(&self, log: &LogPath) -> Result<Option<String>> {
        match self.options.file_system.open(&log.file, OpenMode::Append) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if is_too_many_open_files(&e) => Err(log.failed("open", e)),
            Err(e) => Ok(Some(log.failed("append to", e).to_string())),
            Ok(file) => Ok(read_state(&*file, log).err().map(|error| error.to_string())),
        }
    }
}
