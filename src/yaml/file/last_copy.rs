//! Writing and reading the last copy of a bucket, and recording the edits of the data file by a person.
//!
//! If the copy cannot be written, writes still succeed: only less is known after the next edit.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::data_file::DataFile;
use super::errors::is_missing_or_forbidden;
use super::hand_edits::Overwritten;
use super::known_file::AppendState;
use super::last_copy_format::{Fingerprint, LastCopy};
use super::lock::Announcement;
use super::paths::BucketPaths;
use super::{last_copy_format, lock};
use crate::model::{Result, Time};
use crate::yaml::format::entry_at_rest;
use crate::yaml::fs::{File, FileBytes, FileSystem, OpenMode, Stat, UnusableFile};
use crate::yaml::state::BucketState;

/// The last copy, if it exists and is complete.
///
/// # Errors
/// If it cannot be read at present. Without it, an edit by a person would be taken for one of all entries, and what the
/// edit has overwritten would not be noticed.
pub(crate) fn read_last(fs: &dyn FileSystem, paths: &BucketPaths) -> Result<Option<LastCopy>> {
    let bytes = read_last_bytes(fs, paths).map_err(|e| paths.failed("read the copy (.last) of", e))?;
    Ok(bytes.and_then(|bytes| LastCopy::read(&bytes)))
}

/// The bytes of the last copy. `None` if it does not exist, or if this process may not use it.
pub(crate) fn read_last_bytes(fs: &dyn FileSystem, paths: &BucketPaths) -> io::Result<Option<FileBytes>> {
    let path = paths.last();
    let read = || {
        let Some(stat) = fs.stat(&path)? else { return Ok(None) };
        fs.open(&path, OpenMode::Read)?.read(0, stat.len).map(Some)
    };
    match read() {
        Err(e) if is_no_copy(&e) => Ok(None),
        read => read,
    }
}

/// Whether there is no copy that this process may use.
fn is_no_copy(error: &io::Error) -> bool {
    is_missing_or_forbidden(error) || UnusableFile::caused(error)
}

/// Makes the last copy durable, so that a power cut does not undo what only it has: the revisions of a file that a
/// person has replaced.
pub(crate) fn sync_last(fs: &dyn FileSystem, paths: &BucketPaths) -> Result<()> {
    match fs.open(&paths.last(), OpenMode::Read).and_then(|copy| copy.sync()) {
        Err(e) if is_no_copy(&e) => Ok(()),
        synced => synced.map_err(|e| paths.failed("sync the copy (.last) of", e)),
    }
}

impl DataFile {
    /// Records an edit of the file by a person: sets aside the overwritten entries, and renews the copy, so that all
    /// processes compute the same revisions. Under the exclusive lock, after [`refresh`](Self::refresh).
    ///
    /// If the copy cannot be written, the edit is not recorded, and the last copy stays: only from it can other processes
    /// see which entries were changed. It is tried again later.
    ///
    /// # Errors
    /// If the overwritten entries cannot be set aside. It is tried again later.
    pub(crate) fn record_edit(&mut self, state: &RwLock<BucketState>) -> Result<()> {
        let (Some(of), Some(stat)) = (self.known.edited.clone(), self.known.stat) else { return Ok(()) };
        self.set_overwritten_aside(Time::from_nanos(stat.modified))?;
        if self.copy.is_for(stat.len) {
            // Only the copy has the revision of the bucket after the edit.
            if !self.write_copy(&state.read(), &of, true) {
                return Ok(());
            }
            if self.known.committed > 0 {
                self.known.no_rewrite_needed();
            }
        }
        self.known.edited = None;
        if self.known.append_state == AppendState::Suspect {
            // The record must still say that the last bytes do not count.
            return Ok(());
        }
        let remembered = self.remembered_changes(self.known.epoch);
        self.known.epoch = None;
        // A torn tail was never durable.
        self.write_record(Stat { len: self.known.committed, ..stat });
        self.known.stat = Some(stat);
        self.remember_changes(&state.read(), remembered, true);
        // So that after a power cut the file is not taken for another edit.
        let announcement = Announcement { next: of, before: self.known.announced.take() };
        let announced = self.lock.as_ref().map(|lock| lock::announce(&**lock, &announcement));
        if announced.is_some_and(|announced| announced.is_ok()) {
            self.known.announced = Some(announcement.next);
        }
        Ok(())
    }

    fn set_overwritten_aside(&mut self, saved: Time) -> Result<()> {
        if self.copy.overwritten.is_empty() {
            return Ok(());
        }
        let failed = |e| self.paths.failed("set aside what was overwritten in", e);
        let path = self.paths.overwritten(&*self.fs, saved).map_err(failed)?;
        let text = overwritten_text(&self.paths, &self.copy.overwritten, saved);
        self.write_side_file(&path, &text).map_err(failed)?;
        self.fs.sync_folder(&self.paths.folder).map_err(failed)?;
        let overwritten = std::mem::take(&mut self.copy.overwritten);
        tracing::warn!(
            "{} was saved at {saved} by an editor that had read it before {} of its entries were written; they are \
             kept in {}; `kvs import` restores them",
            self.paths.data.display(),
            overwritten.entries.len() + overwritten.returned.len(),
            path.display()
        );
        Ok(())
    }

    /// Records durably which file is about to replace the data file, and returns what identifies it.
    pub(crate) fn announce(&self, next: &dyn File) -> io::Result<Option<Fingerprint>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        let stat = next.stat()?;
        let bytes = if self.copy.can_grow_to(stat.len) { Some(next.read(0, stat.len)?) } else { None };
        let next = Fingerprint::of_file(bytes.as_deref(), &stat);
        let before = self.known.announced.clone();
        lock::announce(&**lock, &Announcement { next: next.clone(), before })?;
        Ok(Some(next))
    }

    /// The announced file with which the file with these bytes begins.
    pub(crate) fn begins_with(&self, announcement: Announcement, bytes: &[u8], stat: &Stat) -> Option<Fingerprint> {
        let is_it = |announced: &Fingerprint| {
            let before = usize::try_from(announced.len).ok().and_then(|len| bytes.get(..len));
            let stat = Stat { len: announced.len, ..*stat };
            let used = before.filter(|_| self.copy.can_grow_to(stat.len));
            before.is_some() && Fingerprint::of_file(used, &stat) == *announced
        };
        [Some(announcement.next), announcement.before].into_iter().flatten().find(is_it)
    }

    /// Whether the file will have a copy after it has been written.
    pub(crate) fn can_have_copy(&self) -> bool {
        self.copy.is_for(self.known.committed) && !self.copy.failed
    }

    /// Writes the copy unless it matches the file. Under the exclusive lock.
    pub(crate) fn ensure_copy(&mut self, state: &RwLock<BucketState>) {
        if !self.copy.matches_file && self.can_have_copy() {
            // If it fails, the old copy stays: perhaps only it has the revisions of what a person wrote.
            self.try_renew_copy(&state.read());
        }
    }

    /// Writes a new copy of a file that has just been written. The file holds this state.
    pub(crate) fn renew_copy(&mut self, state: &BucketState) {
        if !self.try_renew_copy(state) {
            self.drop_copy();
        }
    }

    fn try_renew_copy(&mut self, state: &BucketState) -> bool {
        (self.copy.file, self.copy.matches_file) = (None, false);
        if !self.copy.is_for(self.known.committed) {
            return false;
        }
        let bytes = self.data_io().and_then(|file| file.read(0, self.known.committed));
        // Only the copy has the revisions of entries that a person wrote.
        let durably = !state.by_hand.is_empty();
        bytes.is_ok_and(|bytes| self.write_copy(state, &Fingerprint::of(&bytes), durably))
    }

    /// Returns whether the copy could be written.
    fn write_copy(&mut self, state: &BucketState, of: &Fingerprint, durably: bool) -> bool {
        let written = self.try_write_copy(&last_copy_format::write(&self.paths.bucket, state, of), durably);
        self.copy.matches_file = written.is_ok();
        match written {
            Ok(file) => self.copy.file = Some(file),
            Err(e) => {
                tracing::debug!("cannot write the copy of {}: {e}", self.paths.data.display());
                (self.copy.file, self.copy.failed) = (None, true);
            }
        }
        self.copy.matches_file
    }

    /// Writes it to another name and renames it, so that it is complete if the process is killed.
    fn try_write_copy(&self, text: &[u8], durably: bool) -> io::Result<Arc<dyn File>> {
        let path = self.paths.side_path("last.new");
        if self.fs.stat(&path)?.is_some() {
            self.fs.remove(&path)?;
        }
        let file = self.fs.open(&path, OpenMode::Private)?;
        let rights = self.file.as_ref().map_or(Ok(()), |data| file.resemble(&**data));
        let written = rights.and_then(|()| file.write(0, text));
        let written = written.and_then(|()| if durably { file.sync() } else { Ok(()) });
        let written = written.and_then(|()| self.fs.rename(&path, &self.paths.last()));
        let written = written.and_then(|()| if durably { self.fs.sync_folder(&self.paths.folder) } else { Ok(()) });
        if let Err(e) = written {
            let _ = self.fs.remove(&path);
            return Err(e);
        }
        Ok(file.into())
    }

    /// Appends to the copy what was appended to the file.
    pub(crate) fn append_to_copy(&mut self, text: &[u8]) {
        if !self.copy.matches_file {
            return;
        }
        if !self.copy.can_grow_to(self.known.committed) {
            return self.drop_copy();
        }
        if self.try_append_to_copy(text).is_err() {
            // The copy stays: what it says about earlier writes is true.
            (self.copy.file, self.copy.matches_file, self.copy.failed) = (None, false, true);
        }
    }

    fn try_append_to_copy(&mut self, text: &[u8]) -> io::Result<()> {
        let file = match self.copy.file.take() {
            Some(file) => file,
            None => self.fs.open(&self.paths.last(), OpenMode::Append)?.into(),
        };
        // Another process may have replaced it.
        let (named, own) = (self.fs.stat(&self.paths.last())?, file.id()?);
        let (file, len) = match named {
            Some(named) if named.id() == own => (file, named.len),
            _ => {
                let file: Arc<dyn File> = self.fs.open(&self.paths.last(), OpenMode::Append)?.into();
                let len = file.stat()?.len;
                (file, len)
            }
        };
        file.write(len, text)?;
        self.copy.file = Some(file);
        Ok(())
    }

    /// Removes a copy that no longer matches the file.
    fn drop_copy(&mut self) {
        (self.copy.file, self.copy.matches_file, self.copy.failed) = (None, false, true);
        if let Ok(Some(_)) = self.fs.stat(&self.paths.last()) {
            // If it stays, its fingerprint shows that it does not match.
            let _ = self.fs.remove(&self.paths.last());
        }
    }
}

/// The text of a file with the entries that a person overwrote, which can be imported.
fn overwritten_text(paths: &BucketPaths, overwritten: &Overwritten, saved: Time) -> Vec<u8> {
    let name = paths.data.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# kvs bucket: {}\n# These entries were stored, and then overwritten when {name} was saved at {saved}.\n\
         # Restore them with `kvs import`, or remove this file.\n",
        paths.bucket
    );
    for key in &overwritten.returned {
        text += &format!("# The key {key:?} had been deleted, and is there again.\n");
    }
    let mut text = text.into_bytes();
    for (key, entry) in &overwritten.entries {
        entry_at_rest::write(&mut text, key, entry);
    }
    if overwritten.entries.is_empty() {
        text.extend_from_slice(b"{}\n");
    }
    text
}
