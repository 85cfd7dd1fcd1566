//! The data file of a bucket and its lock file: finding, opening and locking them.
//!
//! There is one caller at a time in a process. It holds the lock of the bucket where a function says so.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::errors::is_missing_or_forbidden;
use super::known_file::{AppendState, KnownFile};
use super::last_copy_file::LastCopyFile;
use super::lock::{FileLocks, FilesLock};
use super::paths::BucketPaths;
use crate::model::{Error, ErrorKind, Result};
use crate::store::Measurements;
use crate::yaml::fs::{File, FileSystem, LockMode, OpenMode, Stat};

/// The disk space that is reserved for deletions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReserveState {
    Unknown,
    /// It was reserved, or could not be.
    Tried,
    /// It was released, and the file has not been rewritten since.
    Released,
}

/// The data file and the lock file of a bucket.
pub(crate) struct DataFile {
    /// The real paths, if the data file is a symbolic link.
    pub(crate) paths: BucketPaths,
    /// The paths by the name of the bucket.
    pub(crate) named: BucketPaths,
    pub(crate) known: KnownFile,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) file: Option<Arc<dyn File>>,
    /// The data file could be opened only for reading.
    pub(crate) read_only: bool,
    pub(crate) lock: Option<Arc<dyn File>>,
    /// The lock file could be opened only for reading.
    pub(crate) lock_read_only: bool,
    pub(crate) locks: Arc<Mutex<FileLocks>>,
    pub(crate) reserve: ReserveState,
    pub(crate) copy: LastCopyFile,
    /// The error of the last append, if it failed.
    pub(crate) last_append_error: Option<Error>,
    /// The error of the last rewrite, if it failed.
    pub(crate) last_rewrite_error: Option<Error>,
    pub(super) measurements: Arc<Measurements>,
}

impl DataFile {
    pub(crate) fn new(
        paths: BucketPaths,
        fs: Arc<dyn FileSystem>,
        copy_up_to: u64,
        measurements: Arc<Measurements>,
    ) -> Self {
        Self {
            named: paths.clone(),
            paths,
            known: KnownFile::default(),
            fs,
            file: None,
            read_only: false,
            lock: None,
            lock_read_only: false,
            locks: Arc::default(),
            reserve: ReserveState::Unknown,
            copy: LastCopyFile::new(copy_up_to),
            last_append_error: None,
            last_rewrite_error: None,
            measurements,
        }
    }

    /// Locks the bucket if it is free; `None` if others hold it. A reader that may not create the lock file reads
    /// without a lock, since there can be no writer with the same rights.
    ///
    /// Both the lock file and the data file are locked. If a person removes one of them, the next process creates a new
    /// one; so a locked file must still have its name.
    pub(crate) fn lock(&mut self, mode: LockMode) -> Result<Option<FilesLock>> {
        if self.file.is_none() || self.paths.data != self.named.data {
            self.resolve_link()?;
        }
        let guard = FilesLock::begin(&self.locks, mode);
        Ok((self.lock_lock_file(mode)? && self.lock_data_file()?).then_some(guard))
    }

    /// If the data file is a symbolic link, uses the files at its target.
    fn resolve_link(&mut self) -> Result<()> {
        let paths = self.named.resolved(&*self.fs).map_err(|e| self.named.failed("open", e))?;
        if paths.data != self.paths.data {
            self.paths = paths;
            self.known = KnownFile::default();
            (self.file, self.lock) = (None, None);
        }
        Ok(())
    }

    fn lock_lock_file(&mut self, mode: LockMode) -> Result<bool> {
        let is_usable = mode == LockMode::Shared || !self.lock_read_only;
        let lock = match self.lock.take().filter(|_| is_usable) {
            Some(lock) => lock,
            None => match self.open_lock(mode) {
                Ok(file) => file.into(),
                Err(e) if mode == LockMode::Shared && is_missing_or_forbidden(&e) => return Ok(true),
                Err(_) if self.is_missing() => return Err(self.missing_files_error()),
                Err(e) => return Err(self.paths.lock_failed(e)),
            },
        };
        if !self.locks.lock().add(&lock).map_err(|e| self.paths.lock_failed(e))? {
            self.lock = Some(lock);
            return Ok(false);
        }
        let named = self.fs.stat(&self.paths.lock).map_err(|e| self.paths.lock_failed(e))?;
        let own = lock.id().map_err(|e| self.paths.lock_failed(e))?;
        let is_named = named.is_some_and(|named| named.id() == own);
        self.lock = is_named.then_some(lock);
        Ok(is_named)
    }

    /// Closes both files. What is known of them stays.
    pub(crate) fn close(&mut self) {
        self.file = None;
        self.lock = None;
        self.copy.close();
    }

    fn open_lock(&mut self, mode: LockMode) -> io::Result<Box<dyn File>> {
        let path = &self.paths.lock;
        if self.is_missing() && self.fs.stat(path)?.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if mode == LockMode::Exclusive {
            // The folder of a file that was there is not made again, also if it is lost only now.
            if !self.had_data() {
                self.fs.make_folder(&self.paths.folder)?;
            }
        } else if self.fs.stat(&self.paths.data)?.is_none() {
            // Reading a missing bucket creates no files.
            self.lock_read_only = true;
            return self.fs.open(path, OpenMode::Read);
        }
        let file = self.fs.open(path, OpenMode::Create);
        self.lock_read_only = file.is_err();
        match file {
            Err(e) if mode == LockMode::Shared && is_missing_or_forbidden(&e) => self.fs.open(path, OpenMode::Read),
            other => other,
        }
    }

    /// Whether the data file had data when this process last used it, also if an append to it has failed since.
    fn had_data(&self) -> bool {
        let known = &self.known;
        known.append_state == AppendState::Vanished || known.stat.is_some() || known.committed > 0
    }

    /// Whether the data file was there and is missing. Then no lock file is created, because the disk may not be
    /// mounted.
    fn is_missing(&self) -> bool {
        self.had_data() && self.fs.stat(&self.paths.data).is_ok_and(|stat| stat.is_none())
    }

    pub(crate) fn missing_files_error(&self) -> Error {
        let text = format!(
            "{} and its lock file are missing, but the bucket had data in it; restore the files (is their disk \
             mounted?), or restart kvs to begin with an empty bucket. Nothing was stored",
            self.paths.data.display()
        );
        Error::new(ErrorKind::Corrupt, text)
    }

    fn being_replaced_error(&self) -> Error {
        self.paths.busy("its data file is being replaced; nothing was done, try again")
    }

    fn lock_data_file(&mut self) -> Result<bool> {
        if let Some(file) = &self.file {
            return self.locks.lock().add(file).map_err(|e| self.paths.failed("lock", e));
        }
        let stat = self.fs.stat(&self.paths.data).map_err(|e| self.paths.failed("inspect", e))?;
        stat.map_or(Ok(true), |stat| self.try_open(&stat))
    }

    /// Opens the data file, and locks it like the lock file.
    pub(crate) fn open(&mut self, stat: &Stat) -> Result<()> {
        if self.try_open(stat)? {
            return Ok(());
        }
        Err(self.being_replaced_error())
    }

    /// Like [`open`](Self::open). Returns false if others have locked it.
    fn try_open(&mut self, stat: &Stat) -> Result<bool> {
        let is_known = self.known.stat.is_some_and(|known| known.is_same_file(stat));
        if self.file.is_some() && is_known {
            return Ok(true);
        }
        self.file = None;
        for _ in 0..10 {
            let file: Arc<dyn File> = self.open_data()?.into();
            if !self.locks.lock().add(&file).map_err(|e| self.paths.failed("lock", e))? {
                return Ok(false);
            }
            let named = self.fs.stat(&self.paths.data).map_err(|e| self.paths.failed("inspect", e))?;
            let own = file.id().map_err(|e| self.paths.failed("inspect", e))?;
            if named.is_some_and(|named| named.id() == own) {
                // A file that is opened again is as it was known, unless it has been replaced.
                if !(is_known && own == stat.id()) {
                    self.known = KnownFile::default();
                }
                self.file = Some(file);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_data(&mut self) -> Result<Box<dyn File>> {
        let data = &self.paths.data;
        let file = self.fs.open(data, OpenMode::Append);
        self.read_only = file.is_err();
        match file {
            Ok(file) => return Ok(file),
            Err(_) if self.fs.resolve(data).is_ok_and(|target| target.is_some()) => {
                let text = "its data file has just become a symbolic link; nothing was done, try again";
                return Err(self.paths.busy(text));
            }
            Err(e) if is_missing_or_forbidden(&e) => self.fs.open(data, OpenMode::Read),
            Err(e) => Err(e),
        }
        .map_err(|e| self.paths.failed("open", e))
    }

    pub(crate) fn data(&self) -> Result<&dyn File> {
        self.data_io().map_err(|e| self.paths.failed("use", e))
    }

    pub(crate) fn data_io(&self) -> io::Result<&dyn File> {
        self.file.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens a file for writing that could be opened only for reading: its rights may have changed.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        if self.file.is_some() && self.read_only {
            let file =
                self.fs.open(&self.paths.data, OpenMode::Append).map_err(|e| self.paths.failed("write to", e))?;
            let own = file.id().map_err(|e| self.paths.failed("inspect", e))?;
            if !self.known.stat.is_some_and(|known| known.id() == own) {
                return Err(self.being_replaced_error());
            }
            self.file = Some(file.into());
            self.read_only = false;
        }
        Ok(())
    }
}
