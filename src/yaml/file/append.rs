//! Appending documents to the data file, and recording its state in the lock file.

use std::borrow::Cow;

use parking_lot::RwLock;

use super::data_file::DataFile;
use super::known_file::AppendState;
use super::lock;
use super::lock::LockRecord;
use crate::model::{Clock, Error, ErrorKind, Result};
use crate::yaml::fs::{File, Stat};
use crate::yaml::state::BucketState;

impl DataFile {
    /// Makes the file ready to be appended to: creates it, sets a torn tail aside, records the edits of a person. Under
    /// the exclusive lock.
    pub(crate) fn prepare(&mut self, state: &RwLock<BucketState>, clock: &dyn Clock) -> Result<()> {
        self.reopen()?;
        if self.file.is_some() && self.ensure_no_hard_links().is_err() {
            // The file with the other names stays as it is; this bucket gets a file of its own.
            return self.rewrite(state);
        }
        self.prepare_own(state, clock)
    }

    /// Like [`prepare`](Self::prepare), for a file that has no other name.
    pub(crate) fn prepare_own(&mut self, state: &RwLock<BucketState>, clock: &dyn Clock) -> Result<()> {
        self.reopen()?;
        if let Some(torn) = self.known.torn {
            self.set_torn_tail_aside(torn, clock.now())?;
        }
        if self.known.stat.is_none() {
            return self.rewrite(state);
        }
        self.record_edit(state)?;
        if matches!(self.known.append_state, AppendState::Ready | AppendState::Vanished) {
            self.ensure_copy(state);
            return Ok(());
        }
        let written = self.rewrite(state);
        self.last_rewrite_error =
            written.as_ref().err().filter(|error| error.kind() != ErrorKind::Busy).map(Error::duplicate);
        match written {
            Err(error) if self.can_go_on_after(&error) => self.append_missing(state),
            other => other,
        }
    }

    /// Appends documents and syncs them. Under the exclusive lock, after [`prepare`](Self::prepare).
    ///
    /// Returns the known state of the file. If a person added something meanwhile, the file is longer, so the next
    /// refresh finds an edit and reads the whole file.
    ///
    /// After an error the file is cut back to its old length. If that fails, or the sync failed, the file is not
    /// trusted until it has been rewritten.
    pub(crate) fn append(&mut self, text: &[u8]) -> Result<Stat> {
        let appended = self.try_append(text);
        self.last_append_error =
            appended.as_ref().err().filter(|error| error.kind() != ErrorKind::Busy).map(Error::duplicate);
        appended
    }

    fn try_append(&mut self, text: &[u8]) -> Result<Stat> {
        let at = self.known.committed;
        let marked =
            if self.known.mark.is_empty() { Cow::Borrowed(text) } else { [self.known.mark, text].concat().into() };
        let written = self.data()?.write(at, &marked);
        let file = self.data()?;
        let synced = if written.is_ok() { self.measurements.sync(|| file.sync()) } else { Ok(()) };
        let untrusted = synced.is_err();
        let known = self.known.stat.unwrap_or_default();
        let error = match written.and(synced).and_then(|()| self.fs.stat(&self.paths.data)) {
            Ok(Some(stat)) if stat.is_same_file(&known) => {
                self.known.committed = at + marked.len() as u64;
                (self.known.mark, self.known.is_tidy) = (b"", false);
                let stat = Stat { len: self.known.committed, ..stat };
                self.append_to_copy(text);
                self.write_record(stat);
                return Ok(stat);
            }
            Ok(_) => self.paths.busy("an editor has replaced its data file; nothing was stored, try again"),
            Err(e) => self.paths.failed("append to", e),
        };
        let cut = self.data()?.truncate(at).and_then(|()| self.data_io()?.sync());
        // If either the cut or this record says that the bytes do not count, nobody takes them for stored.
        let undone = if untrusted || cut.is_err() { self.mark_failed(at) } else { true };
        self.known.stat = None;
        Err(if undone { error } else { error.of_kind(ErrorKind::Unavailable) })
    }

    /// Like [`mark_suspect`](Self::mark_suspect), after this process has failed to write to the file. The record has the
    /// present times: only a person changes the file from now on, since the next writer replaces it.
    pub(crate) fn mark_failed(&mut self, len: u64) -> bool {
        let stat = self.data_io().and_then(File::stat).ok().or(self.known.stat);
        self.mark_suspect(stat.unwrap_or_default(), len)
    }

    /// Records that the bytes after `len` may not be durable. Returns whether the record could be written.
    pub(crate) fn mark_suspect(&mut self, stat: Stat, len: u64) -> bool {
        let stat = Stat { len, ..stat };
        // The next reader must notice an edit that could not be recorded.
        let stat = if self.known.edited.is_some() { LockRecord::without_times(stat) } else { stat };
        let has_copy = Some(self.copy.matches_file());
        let record = LockRecord { epoch: self.known.epoch.unwrap_or(0), stat, suspect: true, has_copy };
        self.known.epoch = None;
        let Some(lock) = &self.lock else { return false };
        let written = lock::write(&**lock, &record).and_then(|()| lock.sync());
        if let Err(e) = &written {
            tracing::error!("cannot write the lock file {}: {e}", self.paths.lock.display());
        }
        written.is_ok()
    }

    /// Records the state of the file.
    pub(crate) fn write_record(&mut self, stat: Stat) {
        self.known.stat = Some(stat);
        let Some(lock) = &self.lock else { return };
        let epoch = self.known.epoch.unwrap_or_else(|| {
            let last = lock::read(&**lock).ok().flatten().map_or(0, |r| r.epoch);
            // If the record is lost, the remembered changes may still be those of an earlier epoch.
            last.max(self.remembered_epoch()).wrapping_add(1)
        });
        // Without a record the next reader reads the whole file, which is slower but correct.
        let record = LockRecord { epoch, stat, suspect: false, has_copy: Some(self.copy.matches_file()) };
        let is_written = lock::write(&**lock, &record).is_ok();
        self.known.epoch = is_written.then_some(epoch);
    }

    /// Makes sure that there is a record of the file, so that later changes can be recognised. Under the exclusive
    /// lock. There is none while an edit could not be recorded: others must see it.
    pub(crate) fn ensure_epoch(&mut self) {
        if let (None, None, Some(stat)) = (self.known.epoch, &self.known.edited, self.known.stat) {
            self.write_record(stat);
        }
    }
}
