//! The status of the logs of a bucket: the problems that a person must fix, found without waiting for a lock.
//!
//! Of each log only the beginning and the end are read, and only if the file has changed. `Task::Check` reads all lines.

use std::io;
use std::path::Path;

use super::log_file::read_state;
use super::log_path;
use super::log_path::LogPath;
use super::used_logs::{InspectedLog, UsedLogs};
use crate::model::{Bucket, Error, LogKeysQuery, Result};
use crate::store::{Finding, Report, Severity, Sizes};
use crate::yaml::file::errors::{io_error_with_advice, is_too_many_open_files};
use crate::yaml::fs::OpenMode;
use crate::yaml::inspected::InspectedFile;
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
        let settled = self.inspected(bucket)?.into_iter().filter(|log| log.is_settled);
        let problems = settled.filter_map(|log| log.found.problem);
        report.findings.extend(problems.map(|text| Finding::new(Severity::Damage, text)));
        Ok(full)
    }

    /// Adds how much the logs of these buckets hold. A damaged log has bytes, but no entries.
    pub(crate) fn add_sizes(&self, buckets: &[Bucket], sizes: &mut Sizes) {
        // If they cannot be inspected, that is one of the problems of the bucket.
        let logs = buckets.iter().flat_map(|bucket| self.inspected(bucket).unwrap_or_default());
        for InspectedFile { stat, found, .. } in logs {
            let Some(stat) = stat else { continue };
            sizes.logs += 1;
            sizes.log_bytes += stat.len;
            sizes.log_entries += found.entries;
        }
    }

    /// The logs of a bucket. One that has not changed is not read again.
    fn inspected(&self, bucket: &Bucket) -> Result<Vec<InspectedFile<InspectedLog>>> {
        let keys = self.keys(bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() })?;
        let logs: Vec<LogPath> = keys.iter().map(|key| LogPath::new(&self.data_folder, bucket, key)).collect();
        let mut rest = logs.iter();
        let inspect = |file: &Path| {
            let log = rest.by_ref().find(|log| log.file == file);
            log.map_or(Ok(InspectedLog::default()), |log| self.inspect(log))
        };
        let files = logs.iter().map(|log| log.file.clone());
        self.inspected.inspect(&*self.options.file_system, bucket, files, inspect)
    }

    fn inspect(&self, log: &LogPath) -> Result<InspectedLog> {
        let failed = |error: Error| InspectedLog { problem: Some(error.to_string()), entries: 0 };
        match self.options.file_system.open(&log.file, OpenMode::Append) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(InspectedLog::default()),
            Err(e) if is_too_many_open_files(&e) => Err(log.failed("open", e)),
            Err(e) => Ok(failed(log.failed("append to", e))),
            Ok(file) => Ok(read_state(&*file, log).map_or_else(failed, |known| {
                let entries = known.map_or(0, |known| known.bounds.next - known.bounds.first);
                InspectedLog { problem: None, entries }
            })),
        }
    }
}
