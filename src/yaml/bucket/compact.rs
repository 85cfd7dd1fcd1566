//! Compaction: folding the log of a file into its snapshot, while readers and writers continue.
//!
//! The new snapshot is written from memory, a part at a time, to a file next to the data file. So it may contain writes
//! that came after the start. The log since the start is then copied after the snapshot: replaying it leads to the same
//! state, since each line holds its whole entry. Writers wait only while the last bytes of the log are copied and the
//! file is renamed.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bucket_store::BucketStore;
use crate::model::{Error, ErrorKind, Key, Result, Time};
use crate::store::Report;
use crate::yaml::file::errors::is_of_open_files;
use crate::yaml::file::rewrite::{Replacement, create_locked, discard};
use crate::yaml::format::at_rest::FileContents;
use crate::yaml::format::document::header;
use crate::yaml::format::{at_rest, entry_at_rest};
use crate::yaml::fs::{File, LockMode, OpenMode};

/// The pause between two attempts while another compaction runs.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// This many entries are written during one lock of the state.
const ENTRIES_PER_CHUNK: usize = 2048;

/// The data file at the start of the compaction.
#[derive(Clone)]
struct CompactionStart {
    data: PathBuf,
    new_file: PathBuf,
    /// The length of what was committed.
    committed: u64,
    /// The end mark that the next append writes first.
    mark: &'static [u8],
    is_plain: bool,
    epoch: u64,
}

/// A written snapshot of the state.
struct WrittenSnapshot {
    /// The end mark that must be written before the next document.
    mark: &'static [u8],
    entries: u64,
    /// Expired entries, which were left out.
    removed: u64,
    /// The time at which they had expired.
    now: Time,
}

/// The file that is being written.
struct NewFile {
    file: Arc<dyn File>,
    len: u64,
}

impl NewFile {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(self.len, bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Copies the bytes between two offsets of a log.
    fn copy(&mut self, log: &dyn File, from: u64, to: u64) -> io::Result<()> {
        self.push(&log.read(from, to.saturating_sub(from))?)
    }

    /// Copies what was appended from the start of the compaction up to an offset.
    fn copy_log(&mut self, log: &dyn File, start: &CompactionStart, mark: &[u8], to: u64) -> io::Result<()> {
        if to > start.committed {
            self.push(mark)?;
            self.copy(log, start.committed + start.mark.len() as u64, to)?;
        }
        Ok(())
    }
}

/// The order of the entries in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EntryOrder {
    /// As they are; new ones at the end.
    Kept,
    /// In the order of the keys.
    Sorted,
}

impl BucketStore {
    /// Compacts the file: folds the log into the snapshot, and leaves out expired entries.
    ///
    /// # Errors
    /// `Busy` if another process compacts or a person edits the file; `Corrupt`. The bucket is unchanged then.
    pub(crate) fn compact(&self) -> Result<Report> {
        self.compact_in(EntryOrder::Kept)
    }

    /// Compacts with the entries in this order.
    ///
    /// # Errors
    /// As for [`compact`](Self::compact).
    fn compact_in(&self, order: EntryOrder) -> Result<Report> {
        let busy = || self.busy("another process is compacting it; nothing was done, try again");
        self.compact_exclusively(order).and_then(|done| done.ok_or_else(busy))
    }

    /// Compacts. `None` if another process is compacting.
    fn compact_exclusively(&self, order: EntryOrder) -> Result<Option<Report>> {
        let _compacting = self.compacting.lock();
        let done = match self.try_compact(order) {
            // A rewritten file frees space, so the reserve can be taken again later.
            Err(error) if error.kind() == ErrorKind::StorageFull && self.files.lock().release() => {
                self.try_compact(order)
            }
            other => other,
        };
        if let Err(error) = &done
            && error.kind() != ErrorKind::Busy
            && !is_of_open_files(error)
        {
            self.files.lock().last_rewrite_error = Some(error.duplicate());
        }
        done
    }

    /// Compacts because a caller requested it: waits for another compaction for as long as for a lock.
    ///
    /// # Errors
    /// As for [`compact`](Self::compact).
    pub(crate) fn compact_when_free(&self, order: EntryOrder) -> Result<Report> {
        let deadline = self.deadline();
        while Instant::now() < deadline {
            match self.compact_exclusively(order)? {
                Some(report) => return Ok(report),
                None => std::thread::sleep(RETRY_INTERVAL),
            }
        }
        self.compact_in(order)
    }

    fn try_compact(&self, order: EntryOrder) -> Result<Option<Report>> {
        let Some(start) = self.begin_compaction()? else { return Ok(Some(Report::default())) };
        let Some(file) = self.create_new_file(&start.new_file)? else { return Ok(None) };
        let mut new_file = NewFile { file, len: 0 };
        let done = self.write_and_replace(&start, &mut new_file, order);
        if done.is_err() {
            discard(&*self.options.file_system, &*new_file.file, &start.new_file);
        }
        done.map(Some)
    }

    /// Compacts if an entry has expired; otherwise leaves the file alone.
    ///
    /// # Errors
    /// As for [`compact`](Self::compact).
    pub(crate) fn remove_expired(&self) -> Result<Report> {
        let state = self.current_now()?;
        let now = self.options.clock.now();
        let entries = state.entries.iter().filter(|view| view.is_live(now)).count();
        if entries < state.entries.len() || state.damage.is_some() {
            drop(state);
            self.lock_files(LockMode::Exclusive)?.ensure_no_hard_links()?;
            return self.compact_when_free(EntryOrder::Kept);
        }
        let bytes = state.stat.map_or(0, |stat| stat.len);
        Ok(Report { entries: entries as u64, bytes_before: bytes, bytes_after: bytes, ..Report::default() })
    }

    /// Writes the new file and renames it to the data file.
    fn write_and_replace(&self, start: &CompactionStart, new_file: &mut NewFile, order: EntryOrder) -> Result<Report> {
        let failed = |e| self.paths.failed("compact", e);
        let mut report = Report { bytes_before: start.committed, ..Report::default() };
        let log = self.options.file_system.open(&start.data, OpenMode::Read).map_err(failed)?;
        new_file.file.resemble(&*log).map_err(failed)?;
        let is_small = start.committed <= self.options.tidy_up_to;
        let WrittenSnapshot { mark, entries, removed, now } =
            if start.is_plain && !is_small && order == EntryOrder::Kept {
                self.write_plain(new_file).map_err(failed)?
            } else {
                self.write_tidied(new_file, &*log, start, order)?
            };
        (report.entries, report.removed) = (entries, removed);
        let snapshot = new_file.len;
        // Most of what was appended meanwhile is copied and synced before the lock is taken, so that little is left to
        // do under the lock.
        let known = self.files.lock().known.clone();
        let copied = if known.epoch == Some(start.epoch) { known.committed } else { start.committed };
        new_file.copy_log(&*log, start, mark, copied).map_err(failed)?;
        new_file.file.sync().map_err(failed)?;

        let mut file = self.lock_files(LockMode::Exclusive)?;
        file.refresh(&self.state)?;
        if file.known.epoch != Some(start.epoch) {
            return Err(self.busy("another process has rewritten its data file; nothing was done, try again"));
        }
        let end = file.known.committed;
        if end > copied {
            if copied > start.committed {
                new_file.copy(&*log, copied, end).map_err(failed)?;
            } else {
                new_file.copy_log(&*log, start, mark, end).map_err(failed)?;
            }
            new_file.file.sync().map_err(failed)?;
        }
        report.bytes_after = new_file.len;
        let is_tidy = end == start.committed;
        let mark = if is_tidy { mark } else { b"" };
        let written = Replacement { path: &start.new_file, snapshot, mark, is_tidy, is_plain: start.is_plain };
        file.replace(&new_file.file, &written, Some(&self.state))?;
        self.measurements.compacted();
        let mut state = self.state.write();
        state.stat = file.known.stat;
        if report.removed > 0 {
            // The file no longer has these entries, so they need not stay in memory.
            state.entries.retain(|view| view.is_live(now));
        }
        Ok(report)
    }

    /// Makes the file ready to be appended to. `None` if there is no file.
    fn begin_compaction(&self) -> Result<Option<CompactionStart>> {
        let stat = self.options.file_system.stat(&self.paths.data).map_err(|e| self.paths.failed("inspect", e))?;
        if stat.is_none() {
            return Ok(None);
        }
        let mut file = self.lock_files(LockMode::Exclusive)?;
        file.refresh(&self.state)?;
        if let Some(damage) = &self.state.read().damage {
            return Err(self.corrupt_error(damage));
        }
        file.prepare(&self.state, &*self.options.clock)?;
        file.ensure_epoch();
        self.state.write().stat = file.known.stat;
        let (data, new_file) = (file.paths.data.clone(), file.paths.side_path("compact"));
        let known = &file.known;
        let (committed, mark, is_plain) = (known.committed, known.mark, known.is_plain);
        Ok(known.epoch.map(|epoch| CompactionStart { data, new_file, committed, mark, is_plain, epoch }))
    }

    /// Opens the new file as its only writer. `None` if another process writes it.
    fn create_new_file(&self, path: &Path) -> Result<Option<Arc<dyn File>>> {
        let fs = &*self.options.file_system;
        let owned = match create_locked(fs, path, OpenMode::Private) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                // Another user left it, or is writing it. Such a writer replaces the data file only if its file still
                // has this name.
                let _lock = self.lock_files(LockMode::Exclusive)?;
                fs.remove(path).and_then(|()| create_locked(fs, path, OpenMode::Private))
            }
            other => other,
        };
        owned.map_err(|e| self.paths.failed("compact", e))
    }

    /// Writes the lines of the file, with the changed entries.
    fn write_tidied(
        &self,
        new_file: &mut NewFile,
        log: &dyn File,
        start: &CompactionStart,
        order: EntryOrder,
    ) -> Result<WrittenSnapshot> {
        let failed = |e| self.paths.failed("compact", e);
        let bytes = log.read(0, start.committed).map_err(failed)?;
        // Cloned, so that nobody waits for this.
        let (entries, revision) = {
            let state = self.state.read();
            (state.entries.clone(), state.revision)
        };
        let now = self.options.clock.now();
        let has_copy = start.committed <= self.options.tidy_up_to && self.files.lock().can_have_copy();
        let contents = FileContents { bucket: &self.paths.bucket, entries: &entries, revision, now, has_copy };
        let text = match order {
            EntryOrder::Kept => at_rest::tidied(&bytes, &contents),
            EntryOrder::Sorted => at_rest::sorted(&bytes, &contents),
        };
        let text = text.map_err(|error| Error::new(ErrorKind::Corrupt, error.of(self.paths.data.display())))?;
        let live = entries.iter().filter(|view| view.is_live(now)).count() as u64;
        new_file.push(&text).map_err(failed)?;
        Ok(WrittenSnapshot { mark: at_rest::mark(&text), entries: live, removed: entries.len() as u64 - live, now })
    }

    /// Writes the entries in the order of their keys, a part at a time.
    fn write_plain(&self, new_file: &mut NewFile) -> io::Result<WrittenSnapshot> {
        let now = self.options.clock.now();
        let mut written = WrittenSnapshot { mark: b"", entries: 0, removed: 0, now };
        let mut text = header(&self.paths.bucket, self.state.read().revision).into_bytes();
        let mut last: Option<Key> = None;
        loop {
            let mut seen = 0;
            let state = self.state.read();
            let after = last.take();
            let from = after.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_str()));
            for view in state.entries.range(from, Bound::Unbounded).take(ENTRIES_PER_CHUNK) {
                seen += 1;
                let key = view.to_key();
                if view.is_live(now) {
                    written.entries += 1;
                    entry_at_rest::write(&mut text, &key, &view.to_entry());
                } else {
                    written.removed += 1;
                }
                last = Some(key);
            }
            drop(state);
            new_file.push(&text)?;
            if seen < ENTRIES_PER_CHUNK {
                return Ok(WrittenSnapshot { mark: at_rest::mark(&text), ..written });
            }
            text.clear();
        }
    }
}
