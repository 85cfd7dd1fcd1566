//! The logs of a store.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::log_path;
use super::log_path::{LogPath, NamedKey, UNFINISHED_ENDING};
use super::log_store::LogStore;
use crate::model::{Bucket, ErrorKind, Key, LogKeysQuery, Result};
use crate::store::{Finding, Report, Severity, Task};
use crate::yaml::bucket::bucket_store::SharedResources;
use crate::yaml::file::errors::io_error_with_advice;
use crate::yaml::format::log_header;
use crate::yaml::fs::{LockMode, OpenMode};
use crate::yaml::inspected::Inspected;
use crate::yaml::options::YamlOptions;

/// The number of logs of which the last state is kept in memory.
const MAX_KNOWN_LOGS: usize = 1_024;

/// The logs in a folder of buckets, and those that this process uses.
pub(crate) struct UsedLogs {
    pub(super) data_folder: Arc<PathBuf>,
    pub(super) options: YamlOptions,
    pub(super) shared: SharedResources,
    /// The files that were inspected for the status and for the sizes.
    pub(super) inspected: Inspected<InspectedLog>,
    used: Mutex<HashMap<(Bucket, Key), Arc<LogStore>>>,
}

/// What was found in the file of a log.
#[derive(Clone, Default)]
pub(super) struct InspectedLog {
    /// What prevents reads or appends.
    pub(super) problem: Option<String>,
    /// The number of entries; 0 if there is a problem.
    pub(super) entries: u64,
}

impl UsedLogs {
    pub(crate) fn new(data_folder: Arc<PathBuf>, options: YamlOptions, shared: SharedResources) -> Self {
        Self { data_folder, options, shared, inspected: Inspected::default(), used: Mutex::default() }
    }

    /// A log. Nothing is created before the first append.
    pub(crate) fn log(&self, bucket: &Bucket, key: &Key) -> Arc<LogStore> {
        let mut used = self.used.lock();
        if let Some(log) = used.get(&(bucket.clone(), key.clone())) {
            return Arc::clone(log);
        }
        if used.len() >= MAX_KNOWN_LOGS {
            // What is known of a log can be read again.
            used.retain(|_, log| Arc::strong_count(log) > 1);
        }
        let path = LogPath::new(&self.data_folder, bucket, key);
        let log = Arc::new(LogStore::new(path, self.options.clone(), &self.shared));
        used.insert((bucket.clone(), key.clone()), Arc::clone(&log));
        log
    }

    /// The buckets that have logs.
    pub(crate) fn buckets(&self) -> Result<Vec<Bucket>> {
        let first = LogKeysQuery { limit: 1, ..LogKeysQuery::default() };
        let mut found = BTreeSet::new();
        for bucket in self.list(&self.data_folder)?.iter().filter_map(|name| log_path::bucket_of(name)) {
            if !self.keys(&bucket, &first)?.is_empty() {
                found.insert(bucket);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Runs a maintenance task on the logs of a bucket.
    ///
    /// # Errors
    /// The first one. The task is done for the other logs all the same.
    pub(crate) fn maintain(&self, bucket: &Bucket, task: Task, report: &mut Report) -> Result<()> {
        if task == Task::RemoveLeftovers {
            return self.remove_unfinished(bucket, report);
        }
        let mut result = Ok(());
        for key in self.keys(bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() })? {
            let log = self.log(bucket, &key);
            let done = match task {
                Task::Compact | Task::RemoveExpired => log.trim().map(|removed| report.removed += removed),
                Task::Check => match log.check() {
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        report.findings.push(Finding::new(Severity::Damage, error.to_string()));
                        Ok(())
                    }
                    checked => checked,
                },
                Task::RemoveLeftovers | Task::Status => Ok(()),
            };
            result = result.and(done);
        }
        result
    }

    /// Removes new files that were never put in the place of a log. Whoever writes one holds its lock.
    fn remove_unfinished(&self, bucket: &Bucket, report: &mut Report) -> Result<()> {
        let folder = log_path::folder(&self.data_folder, bucket);
        let fs = &self.options.file_system;
        for name in self.list(&folder)?.iter().filter(|name| name.ends_with(UNFINISHED_ENDING)) {
            let path = folder.join(name);
            let removed = fs.open(&path, OpenMode::Read).and_then(|file| {
                let is_unused = file.try_lock(LockMode::Exclusive)?;
                if is_unused {
                    fs.remove(&path)?;
                }
                Ok(is_unused)
            });
            match removed {
                Ok(is_removed) => report.removed += u64::from(is_removed),
                // Its writer has finished meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(io_error_with_advice(format!("cannot remove {}", path.display()), e)),
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let names = self.options.file_system.list(folder);
        names.map_err(|e| io_error_with_advice(format!("cannot list {}", folder.display()), e))
    }

    /// The keys of the logs of a bucket.
    pub(crate) fn keys(&self, bucket: &Bucket, query: &LogKeysQuery) -> Result<Vec<Key>> {
        let folder = log_path::folder(&self.data_folder, bucket);
        let fs = &self.options.file_system;
        let mut keys = BTreeSet::new();
        for name in self.list(&folder)? {
            let path = folder.join(&name);
            let key = match log_path::key_of(&name) {
                Some(NamedKey::Key(key)) => Some(key),
                Some(NamedKey::InFile) => {
                    let head =
                        fs.open(&path, OpenMode::Read).and_then(|file| file.read(0, log_header::MAX_HEADER_BYTES));
                    head.ok().and_then(|head| log_header::read(&head)).map(|(header, _)| header.key)
                }
                None => None,
            };
            // A file is empty for a moment before the first append.
            let is_log = |key: &Key| {
                query.includes(key) && fs.stat(&path).is_ok_and(|stat| stat.is_some_and(|stat| stat.len > 0))
            };
            keys.extend(key.filter(is_log));
        }
        Ok(keys.into_iter().take(query.limit).collect())
    }
}
