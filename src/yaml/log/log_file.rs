//! An open log file, and what is known about it.
//!
//! Writers hold the exclusive lock of the file, and readers of a state that they do not know the shared one. A file that
//! was replaced or removed meanwhile is opened again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::known_log::KnownLog;
use super::log_path::LogPath;
use super::page;
use super::tail;
use super::tail::Tail;
use crate::model::{Result, Time};
use crate::store::LogBounds;
use crate::yaml::bucket::locked_files::Backoff;
use crate::yaml::file::open_files::OpenFiles;
use crate::yaml::file::rewrite::create_owned;
use crate::yaml::format::log_header;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::fs::{File, FileSystem, LockMode, OpenMode};

/// An open log file.
pub(crate) type OpenLog = Arc<dyn File>;

/// Opens and locks files of logs. It waits for others until the deadline.
pub(crate) struct LogLocker<'a> {
    pub(crate) fs: &'a dyn FileSystem,
    pub(crate) path: &'a LogPath,
    pub(crate) open_files: &'a OpenFiles,
    pub(crate) deadline: Instant,
}

impl LogLocker<'_> {
    /// Opens the file and locks it; `None` if it does not exist.
    ///
    /// # Errors
    /// `Busy` after the deadline.
    pub(crate) fn lock(&self, mode: LockMode) -> Result<Option<OpenLog>> {
        let how = match mode {
            LockMode::Shared => OpenMode::Read,
            LockMode::Exclusive => OpenMode::Append,
        };
        let mut backoff = Backoff::new(self.open_files);
        loop {
            let file = match self.fs.open(&self.path.file, how) {
                Ok(file) => OpenLog::from(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(self.path.failed("open", e)),
            };
            let failed = |e| self.path.failed("lock", e);
            if file.try_lock(mode).map_err(failed)? {
                let named = self.fs.stat(&self.path.file).map_err(failed)?;
                if named.is_some_and(|named| file.stat().is_ok_and(|stat| stat.is_same_file(&named))) {
                    return Ok(Some(file));
                }
                // It was replaced or removed.
                continue;
            }
            drop(file);
            self.wait(&mut backoff, "locked by others")?;
        }
    }

    /// Creates the file that will replace the log, with its exclusive lock.
    ///
    /// # Errors
    /// `Busy` if another process still writes such a file after the deadline.
    pub(crate) fn create(&self, unfinished: &Path, how: OpenMode) -> Result<OpenLog> {
        let mut backoff = Backoff::new(self.open_files);
        loop {
            match create_owned(self.fs, unfinished, how) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(&mut backoff, "another process writes its new file")?;
                }
                created => return created.map_err(|e| self.path.failed("create the new file of", e)),
            }
        }
    }

    fn wait(&self, backoff: &mut Backoff<'_>, what_for: &str) -> Result<()> {
        if Instant::now() >= self.deadline {
            return Err(self.path.busy(what_for));
        }
        backoff.sleep();
        Ok(())
    }
}

/// Makes a file durable as it is, and reads what it is. `None` if it is empty, as a person may have made it. The caller
/// holds its lock.
pub(crate) fn inspect(file: &dyn File, path: &LogPath) -> Result<Option<KnownLog>> {
    // Its last writer may have been killed before the sync.
    file.sync().map_err(|e| path.failed("sync", e))?;
    read_state(file, path)
}

/// Reads what a file is. Without its lock and a sync before, what is found may change and may not be durable.
pub(super) fn read_state(file: &dyn File, path: &LogPath) -> Result<Option<KnownLog>> {
    let failed = |e| path.failed("read", e);
    let stat = file.stat().map_err(failed)?;
    let head = file.read(0, stat.len.min(log_header::MAX_HEADER_BYTES)).map_err(failed)?;
    let Some((header, begin)) = log_header::read(&head) else {
        // The first append renames a whole file, so a part of a header was not written by kvs.
        let text = "its first lines are not the header of a log (key and entries); restore them, or remove the file";
        return if head.is_empty() { Ok(None) } else { Err(path.corrupt(text)) };
    };
    if header.key != path.key {
        return Err(path.corrupt("the file is of another key; give it the name that belongs to its key"));
    }
    let mut tail = tail::find(file, path, begin, stat.len)?;
    if begin == stat.len {
        tail.is_ended = head.ends_with(b"\n");
    }
    let oldest = page::first_entry(file, path, begin, tail.end)?;
    if let (Some((oldest, _)), Some((last, _))) = (oldest, tail.last)
        && oldest > last
    {
        // Entries are found by their indices, so none would be found.
        let text =
            format!("its first entry has index {oldest}, but its last one {last}; correct the index that is wrong");
        return Err(path.corrupt(&text));
    }
    let bounds = bounds(&header, tail, oldest);
    Ok(Some(KnownLog { stat, begin, tail, oldest, bounds }))
}

fn bounds(header: &LogHeader, tail: Tail, oldest: Option<(u64, Time)>) -> LogBounds {
    let next = tail.last.map_or(0, |(index, _)| index.saturating_add(1)).max(header.first);
    let first = oldest.map_or(next, |(index, _)| index).max(header.first).min(next);
    let last_time = tail.last.map_or(Time::default(), |(_, time)| time);
    LogBounds { first, next, last_time, retention: header.retention }
}
