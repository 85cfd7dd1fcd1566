//! The status of a bucket: the problems that a person must fix, found quickly and without a lock.
//!
//! A file that has not changed is not read again. Only its first error is kept.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket_store::BucketStore;
use crate::model::{Bucket, Error, ErrorKind, Result};
use crate::store::{Finding, Report, Severity};
use crate::yaml::state::BucketState;

use crate::yaml::file::errors::{io_error_with_advice, is_too_many_open_files};
use crate::yaml::file::lock;
use crate::yaml::file::lock::LockRecord;
use crate::yaml::file::paths::BucketPaths;
use crate::yaml::file::record_match::durable;
use crate::yaml::file::refresh::{had_data, missing_file_error};
use crate::yaml::file::writability::check_hard_links;
use crate::yaml::format::parse_error::ParseError;
use crate::yaml::format::whole_file;
use crate::yaml::fs::{LockMode, OpenMode, Stat};
use crate::yaml::options::YamlOptions;

/// The finding for a file of overwritten entries.
pub(crate) const OVERWRITTEN: &str =
    "entries that were overwritten when the file was saved; restore them with `kvs import`, or remove this file";

/// The folder is listed at most once in this time for all its buckets.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of attempts to read a file that is being changed.
const MAX_READ_ATTEMPTS: usize = 3;

/// A state of a data file, and the first error in it.
type Inspected = (Stat, Option<ParseError>);

/// The files of overwritten entries, and when the folder was listed.
struct OverwrittenFiles {
    listed: Instant,
    names: BTreeSet<String>,
}

/// Reports the problems that a person must fix in the buckets of a folder.
pub(crate) struct StatusReader {
    folder: Arc<PathBuf>,
    options: YamlOptions,
    inspected: Mutex<HashMap<Bucket, Inspected>>,
    overwritten: Mutex<Option<OverwrittenFiles>>,
}

impl StatusReader {
    pub(crate) fn new(folder: Arc<PathBuf>, options: YamlOptions) -> Self {
        Self { folder, options, inspected: Mutex::default(), overwritten: Mutex::default() }
    }

    /// Adds the problems of a bucket that are known without waiting for a lock. Returns the error of a full disk.
    ///
    /// # Errors
    /// If nothing is known because no file can be opened.
    pub(crate) fn status(
        &self,
        bucket: &Bucket,
        known: Option<&BucketStore>,
        report: &mut Report,
    ) -> Result<Option<Error>> {
        let paths = BucketPaths::new(&self.folder, bucket);
        report.findings.extend(self.overwritten(&paths)?);
        let mut found = |line: Option<u64>, text: String| {
            let file = Some(paths.data.clone());
            report.findings.push(Finding { file, line, text, severity: Severity::Damage });
        };
        let inspected = self.inspect(&paths, known);
        let can_be_read = inspected.is_ok();
        match inspected {
            Ok(None) => {}
            Ok(Some(error)) => {
                found(Some(error.line), format!("{}. Writes are refused until the file is fixed", error.text));
            }
            Err(InspectError::Unable(error)) => return Err(error),
            Err(InspectError::Unreadable(text)) => found(None, text),
        }
        let mut full = None;
        match self.last_failure(&paths, known) {
            Some(error) if error.kind() == ErrorKind::StorageFull => full = Some(error),
            Some(error) if can_be_read => found(None, error.to_string()),
            _ => {}
        }
        if known.is_some_and(BucketStore::is_locked_by_others) {
            let wait = self.options.lock_timeout.as_secs_f32();
            let text = format!("others have held its lock for more than {wait} s; `lslocks` shows which program it is");
            found(None, text);
        }
        Ok(full)
    }

    /// The files of entries that somebody overwrote.
    fn overwritten(&self, paths: &BucketPaths) -> Result<Vec<Finding>> {
        let mut listed = self.overwritten.lock();
        if listed.as_ref().is_none_or(|files| files.listed.elapsed() >= LIST_INTERVAL) {
            let names =
                self.options.file_system.list(&self.folder).map_err(|e| paths.failed("list the files next to", e))?;
            let names = names.into_iter().filter(|name| name.contains(".yaml.overwritten-")).collect();
            *listed = Some(OverwrittenFiles { listed: Instant::now(), names });
        }
        let prefix = format!("{}.yaml.overwritten-", paths.bucket);
        let names = listed.iter().flat_map(|files| files.names.range(prefix.clone()..));
        let found = names.take_while(|name| name.starts_with(&prefix)).map(|name| Finding {
            file: Some(self.folder.join(name)),
            line: None,
            text: OVERWRITTEN.into(),
            severity: Severity::Note,
        });
        Ok(found.collect())
    }

    /// The error with which a write would fail.
    fn last_failure(&self, paths: &BucketPaths, known: Option<&BucketStore>) -> Option<Error> {
        let fs = &*self.options.file_system;
        let paths = match paths.resolved(fs) {
            Ok(paths) => paths,
            Err(e) => return Some(paths.failed("open", e)),
        };
        if let Err(e) = fs.may_write(&paths.folder) {
            return Some(paths.failed("write next to", e));
        }
        match fs.open(&paths.lock, OpenMode::Append) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound && !is_too_many_open_files(&e) => {
                return Some(io_error_with_advice(format!("cannot write to {}", paths.lock.display()), e));
            }
            _ => {}
        }
        match fs.open(&paths.data, OpenMode::Append) {
            Ok(file) => {
                let last = || known.and_then(|bucket| bucket.files.try_lock()?.last_failure());
                check_hard_links(&paths, &*file).err().or_else(last)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || is_too_many_open_files(&e) => None,
            Err(e) => Some(paths.failed("write to", e)),
        }
    }

    /// The first error in the data file.
    fn inspect(&self, paths: &BucketPaths, known: Option<&BucketStore>) -> Result<Option<ParseError>, InspectError> {
        let fs = &self.options.file_system;
        for _ in 0..MAX_READ_ATTEMPTS {
            let stat = fs.stat(&paths.data).map_err(|e| InspectError::of(paths, e))?;
            let record = self.record(paths)?;
            let Some(stat) = stat.filter(|stat| stat.len > 0) else {
                self.inspected.lock().remove(&paths.bucket);
                // Tests whether files can be opened at all.
                fs.list(&self.folder).map_err(|e| InspectError::of(paths, e))?;
                let is_lost = known.map_or_else(
                    || had_data(&BucketState::default(), record),
                    |bucket| had_data(&bucket.state.read(), record),
                );
                return Ok(is_lost.then(|| missing_file_error(stat)));
            };
            let file = fs.open(&paths.data, OpenMode::Read).map_err(|e| InspectError::of(paths, e))?;
            if let Some(state) = known.map(|bucket| bucket.state.read()).filter(|state| state.stat == Some(stat)) {
                return Ok(state.damage.as_ref().and_then(|damage| damage.errors.first().cloned()));
            }
            if let Some((_, error)) = self.inspected.lock().get(&paths.bucket).filter(|(then, _)| *then == stat) {
                return Ok(error.clone());
            }
            let bytes = file.read(0, stat.len).map_err(|e| InspectError::of(paths, e))?;
            if bytes.len() as u64 != stat.len || file.stat().map_err(|e| InspectError::of(paths, e))? != stat {
                continue;
            }
            let error = whole_file::errors(&bytes, durable(record, &stat, &bytes)).into_iter().next();
            self.inspected.lock().insert(paths.bucket.clone(), (stat, error.clone()));
            return Ok(error);
        }
        // The file is written again and again, so the store works. The next check may find a quiet moment.
        Ok(None)
    }

    /// The record in the lock file. It is read before the data, so that it does not describe later writes.
    fn record(&self, paths: &BucketPaths) -> Result<Option<LockRecord>, InspectError> {
        let fs = &self.options.file_system;
        let failed = |e| InspectError::of_file(&paths.lock, e);
        if fs.stat(&paths.lock).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let file = fs.open(&paths.lock, OpenMode::Read).map_err(failed)?;
        lock::read(&*file).map_err(failed)
    }
}

/// Why a file could not be inspected.
enum InspectError {
    /// Too many files are open, so nothing is known.
    Unable(Error),
    /// This file cannot be read.
    Unreadable(String),
}

impl InspectError {
    fn of(paths: &BucketPaths, e: std::io::Error) -> Self {
        Self::of_file(&paths.data, e)
    }

    fn of_file(file: &Path, e: std::io::Error) -> Self {
        let is_unable = is_too_many_open_files(&e);
        let error = io_error_with_advice(format!("cannot read {}", file.display()), e);
        if is_unable { Self::Unable(error) } else { Self::Unreadable(error.to_string()) }
    }
}

impl BucketStore {
    /// Whether a request timed out because others held the lock, and they still hold it.
    fn is_locked_by_others(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        if self.lock_timed_out.load(Relaxed) && matches!(self.try_lock_files(LockMode::Shared), Ok(Some(_))) {
            self.lock_timed_out.store(false, Relaxed);
        }
        self.lock_timed_out.load(Relaxed)
    }
}
