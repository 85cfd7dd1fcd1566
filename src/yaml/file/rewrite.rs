//! Writing files next to the data file: files that are kept for a person, and files that replace the data file.
//!
//! They get the rights of the data file before their first byte. An unfinished one is removed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::data_file::{DataFile, ReserveState};
use super::known_file::KnownFile;
use crate::model::{Result, Time};
use crate::yaml::blocking::blocking;
use crate::yaml::format::at_rest;
use crate::yaml::format::at_rest::FileContents;
use crate::yaml::fs::{File, FileSystem, LockMode, OpenMode, Stat};
use crate::yaml::state::BucketState;

/// Creates an empty file and locks it, as its only writer. `None` if another process is writing it.
///
/// Between opening and locking, another process may have renamed it to the data file, so its name is checked again.
pub(crate) fn create_locked(fs: &dyn FileSystem, path: &Path, how: OpenMode) -> io::Result<Option<Arc<dyn File>>> {
    for _ in 0..10 {
        let file: Arc<dyn File> = fs.open(path, how)?.into();
        if !file.try_lock(LockMode::Exclusive)? {
            return Ok(None);
        }
        if !is_named(fs, &*file, path)? {
            continue;
        }
        if file.stat()?.len == 0 {
            return Ok(Some(file));
        }
        // A leftover of interrupted work may belong to another user, so it is not reused.
        fs.remove(path)?;
    }
    Ok(None)
}

/// Like [`create_locked`], but removes a leftover of another user. Nobody writes it, since the caller has the lock of the
/// file next to it.
pub(crate) fn create_owned(fs: &dyn FileSystem, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
    let owned = match create_locked(fs, path, how) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            fs.remove(path)?;
            create_locked(fs, path, how)
        }
        other => other,
    };
    owned?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// Writes a file with the rights of another one and syncs it. The caller has the lock of the file next to it.
pub(crate) fn write_like(
    fs: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
    like: Option<&dyn File>,
) -> io::Result<Arc<dyn File>> {
    let file = create_owned(fs, path, if like.is_some() { OpenMode::Private } else { OpenMode::Create })?;
    let rights = like.map_or(Ok(()), |like| file.resemble(like));
    if let Err(e) = rights.and_then(|()| file.write(0, bytes)).and_then(|()| file.sync()) {
        discard(fs, &*file, path);
        return Err(e);
    }
    Ok(file)
}

/// Whether this path is a name of this file.
pub(crate) fn is_named(fs: &dyn FileSystem, file: &dyn File, path: &Path) -> io::Result<bool> {
    let own = file.id()?;
    Ok(fs.stat(path)?.is_some_and(|named| named.id() == own))
}

/// Removes an unfinished file, if it still has its name.
pub(crate) fn discard(fs: &dyn FileSystem, file: &dyn File, path: &Path) {
    if is_named(fs, file, path).unwrap_or(false) {
        // If it cannot be removed, the next writer or `kvs sweep` removes it.
        let _ = fs.remove(path);
    }
}

/// A file that is about to replace the data file.
pub(crate) struct Replacement<'a> {
    pub(crate) path: &'a Path,
    /// The length of its first document.
    pub(crate) snapshot: u64,
    /// The end mark that must be written before the next document.
    pub(crate) mark: &'static [u8],
    /// Whether it is only that document, and holds the whole state.
    pub(crate) is_tidy: bool,
    /// Whether kvs wrote all its lines.
    pub(crate) is_plain: bool,
}

impl DataFile {
    /// Writes a file next to the data file and syncs it. Under the exclusive lock.
    pub(crate) fn write_side_file(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        write_like(&*self.fs, path, bytes, self.file.as_deref())
    }

    /// Keeps the bytes of a file from an offset on in a separate file, durably. Returns the path and the length.
    pub(crate) fn keep_from(&self, file: &dyn File, from: u64, now: Time) -> io::Result<(PathBuf, usize)> {
        let bytes = file.read(from, file.stat()?.len.saturating_sub(from))?;
        let path = self.paths.torn(&*self.fs, now)?;
        let kept_file = self.write_side_file(&path, &bytes)?;
        if let Err(e) = self.fs.sync_folder(&self.paths.folder) {
            discard(&*self.fs, &*kept_file, &path);
            return Err(e);
        }
        Ok((path, bytes.len()))
    }

    /// Keeps the torn tail in a separate file and cuts it off.
    pub(crate) fn set_torn_tail_aside(&mut self, torn: u64, now: Time) -> Result<()> {
        let failed = |doing: &str, e| self.paths.failed(doing, e);
        let file = self.data()?;
        let (path, len) = self.keep_from(file, torn, now).map_err(|e| failed("set aside the torn tail of", e))?;
        if let Err(e) = file.truncate(torn) {
            // The tail is still in the data file, and is kept again by the next writer.
            let _ = self.fs.remove(&path);
            return Err(failed("cut the torn tail of", e));
        }
        if let Err(e) = file.sync() {
            let error = failed("cut the torn tail of", e);
            // After a power cut the tail may be back, beyond what is appended meanwhile. So nothing is appended to this
            // file any more.
            self.mark_failed(torn);
            self.known.stat = None;
            return Err(error);
        }
        tracing::warn!(
            "{}: cut off {len} bytes that an interrupted write left; kept in {}",
            self.paths.data.display(),
            path.display()
        );
        let stat = file.stat().map_err(|e| failed("inspect", e))?;
        self.known.torn = None;
        self.known.stat = Some(Stat { len: torn, ..stat });
        self.known.epoch = None;
        Ok(())
    }

    /// Rewrites the file from its lines and the state. Under the exclusive lock.
    pub(crate) fn rewrite(&mut self, state: &RwLock<BucketState>) -> Result<()> {
        blocking(|| self.rewrite_now(state))
    }

    fn rewrite_now(&mut self, state: &RwLock<BucketState>) -> Result<()> {
        let failed = |doing: &str, e| self.paths.failed(doing, e);
        let text = self.text_at_rest(&state.read())?;
        self.fs.make_folder(&self.paths.folder).map_err(|e| failed("make the folder of", e))?;
        let path = self.paths.side_path("new");
        let file = self.write_side_file(&path, &text).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => {
                self.paths.busy("another process is rewriting its data file; nothing was stored, try again")
            }
            _ => failed("rewrite", e),
        })?;
        let is_plain = self.known.is_plain || self.known.committed == 0;
        let snapshot = text.len() as u64;
        let written = Replacement { path: &path, snapshot, mark: at_rest::mark(&text), is_tidy: true, is_plain };
        self.replace(&file, &written, Some(state))?;
        state.write().stat = self.known.stat;
        Ok(())
    }

    /// The text of the file at rest, with the whole state.
    fn text_at_rest(&self, state: &BucketState) -> Result<Vec<u8>> {
        let (bucket, now) = (&self.paths.bucket, Time::from_nanos(i64::MIN));
        let has_copy = self.can_have_copy();
        let contents = FileContents { bucket, entries: &state.entries, revision: state.revision, now, has_copy };
        if self.file.is_none() || self.known.stat.is_none() || self.known.committed == 0 {
            return Ok(at_rest::fresh(&contents));
        }
        let bytes = self.data()?.read(0, self.known.committed).map_err(|e| self.paths.failed("read", e))?;
        // Bytes that could not be synced are used only if they can be read.
        Ok(at_rest::tidied(&bytes, &contents).unwrap_or_else(|_| at_rest::fresh(&contents)))
    }

    /// Replaces the data file with a written and synced file, if it is still the known one. Under the exclusive lock.
    /// The new file is removed after an error.
    ///
    /// The new file must be locked: a process that opened it under its old name must not get the lock before the
    /// rename. `state` is the state in it; without it, the file is as a person wrote it and is read again.
    pub(crate) fn replace(
        &mut self,
        file: &Arc<dyn File>,
        written: &Replacement<'_>,
        state: Option<&RwLock<BucketState>>,
    ) -> Result<()> {
        let replaced = self.try_replace(file, written, state);
        match &replaced {
            Ok(()) => {
                (self.last_rewrite_error, self.reserve) = (None, ReserveState::Unknown);
                if let Some(state) = state.filter(|state| !self.copy.matches_file() && !state.read().by_hand.is_empty())
                {
                    // Without a copy only the file can record when a person wrote an entry.
                    self.append_missing(state)?;
                }
            }
            Err(_) => discard(&*self.fs, &**file, written.path),
        }
        replaced
    }

    fn try_replace(
        &mut self,
        file: &Arc<dyn File>,
        written: &Replacement<'_>,
        state: Option<&RwLock<BucketState>>,
    ) -> Result<()> {
        let path = written.path;
        let paths = self.paths.clone();
        let failed = |doing: &str, e| paths.failed(doing, e);
        if let Some(old) = &self.file {
            file.resemble(&**old).map_err(|e| failed("set the rights of", e))?;
        }
        let len = file.stat().map_err(|e| failed("inspect", e))?.len;
        let inspect = || self.fs.stat(&self.paths.data).map_err(|e| failed("inspect", e));
        let busy = || self.paths.busy("its data file is being edited; try again");
        let before = inspect()?;
        // An editor does not take the lock, and a person may remove the new file.
        if before != self.known.stat
            || !is_named(&*self.fs, &**file, path).map_err(|e| failed("list the files next to", e))?
        {
            return Err(busy());
        }
        // This also makes the present record durable, so that after a power cut no old record remains of a file whose
        // inode this one may have got. Nothing else depends on it.
        let announced = match state {
            Some(_) => self.announce(&**file).map_err(|e| failed("record the state of", e))?,
            None => None,
        };
        // That took its time, and a person may have saved the file meanwhile, or set its rights.
        if inspect()? != before {
            return Err(busy());
        }
        if let Err(e) = self.fs.rename(path, &self.paths.data) {
            // Unless the file is unchanged, the old one must not be written: either may be in place.
            if !self.fs.stat(&self.paths.data).is_ok_and(|after| after == before) {
                self.file = None;
                self.known = KnownFile::default();
            }
            return Err(failed("replace", e));
        }
        let remembered = self.remembered_changes(self.known.epoch);
        // A process that waits for the old file finds the new one locked.
        let stat = Stat { len, ..file.stat().map_err(|e| failed("inspect", e))? };
        self.locks.lock().adopt(file);
        let epoch = self.known.epoch.take();
        self.file = None;
        self.known = KnownFile::default();
        self.fs.sync_folder(&self.paths.folder).map_err(|e| failed("sync the folder of", e))?;
        let Some(state) = state else { return Ok(()) };
        self.open(&stat)?;
        (self.known.committed, self.known.announced) = (len, announced);
        (self.known.snapshot, self.known.mark) = (written.snapshot, written.mark);
        (self.known.is_tidy, self.known.is_plain) = (written.is_tidy, written.is_plain);
        self.renew_copy(&state.read());
        self.known.epoch = epoch.map(|e| e.wrapping_add(1));
        self.write_record(stat);
        self.remember_changes(&state.read(), remembered, false);
        Ok(())
    }
}
