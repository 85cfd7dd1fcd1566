//! The logs of a store.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::log_path;
use super::log_path::{LogPath, NamedKey};
use super::log_store::LogStore;
use crate::model::{AppendOutcome, Bucket, Key, LogAppend, LogKeysQuery, LogPage, LogQuery, Result};
use crate::store::{Finding, Logs, Report, Severity, Task};
use crate::yaml::bucket::bucket_store::blocking;
use crate::yaml::file::errors::io_error_with_advice;
use crate::yaml::format::log_header;
use crate::yaml::fs::OpenMode;
use crate::yaml::store::YamlStore;

/// The logs that this process uses.
#[derive(Default)]
pub(crate) struct UsedLogs(Mutex<HashMap<(Bucket, Key), Arc<LogStore>>>);

impl UsedLogs {
    /// A log. Nothing is created before the first append.
    fn log(&self, store: &YamlStore, bucket: &Bucket, key: &Key) -> Arc<LogStore> {
        let mut used = self.0.lock();
        if let Some(log) = used.get(&(bucket.clone(), key.clone())) {
            return Arc::clone(log);
        }
        if used.len() == used.capacity() {
            // Before the map grows: what is known of a log can be read again.
            used.retain(|_, log| Arc::strong_count(log) > 1);
        }
        let path = LogPath::new(store.folder(), bucket, key);
        let log = Arc::new(LogStore::new(path, store.options().clone(), store.shared()));
        used.insert((bucket.clone(), key.clone()), Arc::clone(&log));
        log
    }
}

#[async_trait]
impl Logs for YamlStore {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        self.used_logs().log(self, bucket, key).append(append).await
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        self.used_logs().log(self, bucket, key).read(&query)
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        self.used_logs().log(self, bucket, key).remove(before)
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        self.used_logs().log(self, bucket, key).next_changed(next).await
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        blocking(|| keys(self, bucket, &query))
    }
}

/// The buckets that have logs, given the names in the data folder.
pub(crate) fn buckets_with_logs(store: &YamlStore, names: &[String]) -> Result<Vec<Bucket>> {
    let first = LogKeysQuery { limit: 1, ..LogKeysQuery::default() };
    let mut found = vec![];
    for bucket in names.iter().filter_map(|name| log_path::bucket_of(name)) {
        if !keys(store, &bucket, &first)?.is_empty() {
            found.push(bucket);
        }
    }
    Ok(found)
}

/// Runs a maintenance task on the logs of a bucket.
pub(crate) fn maintain(store: &YamlStore, bucket: &Bucket, task: Task, report: &mut Report) -> Result<()> {
    for key in keys(store, bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() })? {
        let log = store.used_logs().log(store, bucket, &key);
        match task {
            Task::Compact | Task::RemoveExpired => report.removed += log.trim()?,
            Task::RemoveLeftovers => report.removed += u64::from(log.remove_unfinished()?),
            Task::Check => {
                let damage = log.check().err().map(|error| Finding::new(Severity::Damage, error.to_string()));
                report.findings.extend(damage);
            }
            Task::Status => {}
        }
    }
    Ok(())
}

fn list(store: &YamlStore, folder: &std::path::Path) -> Result<Vec<String>> {
    let names = store.options().file_system.list(folder);
    names.map_err(|e| io_error_with_advice(format!("cannot list {}", folder.display()), e))
}

fn keys(store: &YamlStore, bucket: &Bucket, query: &LogKeysQuery) -> Result<Vec<Key>> {
    let folder = log_path::folder(store.folder(), bucket);
    let fs = &store.options().file_system;
    let mut keys = BTreeSet::new();
    for name in list(store, &folder)? {
        let path = folder.join(&name);
        let key = match log_path::key_of(&name) {
            Some(NamedKey::Key(key)) => Some(key),
            Some(NamedKey::InFile) => {
                let head = fs.open(&path, OpenMode::Read).and_then(|file| file.read(0, log_header::MAX_HEADER_BYTES));
                head.ok().and_then(|head| log_header::read(&head)).map(|(header, _)| header.key)
            }
            None => None,
        };
        // A file is empty for a moment before the first append.
        let is_log =
            |key: &Key| query.includes(key) && fs.stat(&path).is_ok_and(|stat| stat.is_some_and(|stat| stat.len > 0));
        keys.extend(key.filter(is_log));
    }
    Ok(keys.into_iter().take(query.limit).collect())
}
