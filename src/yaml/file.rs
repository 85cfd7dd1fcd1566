//! The data file of a bucket and its lock file, as one process knows them: locking, appending, setting a torn tail aside,
//! writing anew. Catching up with what others did is `file/catch_up.rs`.
//!
//! Whoever calls holds the lock of the bucket, as each function says, and there is one caller at a time in a process.

mod catch_up;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::disk::{Disk, File, Hold, Open, Stat};
use super::document::{finish, head};
use super::image::Image;
use super::line;
use super::load::Known;
use super::lock::{self, Held, Record};
use super::place::Place;
use crate::model::{Clock, Error, Kind, Result, Time};

/// The two files.
pub(super) struct DataFile {
    pub(super) place: Place,
    pub(super) known: Known,
    disk: Arc<dyn Disk>,
    file: Option<Box<dyn File>>,
    /// The data file could be opened only to read.
    read_only: bool,
    lock: Option<Arc<dyn File>>,
    /// Likewise the lock file.
    lock_read_only: bool,
}

impl DataFile {
    pub(super) fn new(place: Place, disk: Arc<dyn Disk>) -> Self {
        Self { place, disk, known: Known::default(), file: None, read_only: false, lock: None, lock_read_only: false }
    }

    /// Takes the lock if it is free; none: others have it. A reader who may not make the lock file reads without, as there can
    /// be no writer with the same rights.
    ///
    /// If a person removed the lock file, whoever comes next makes a new one; so what was locked must still have its name.
    pub(super) fn lock(&mut self, hold: Hold) -> Result<Option<Held>> {
        let fit = hold == Hold::Shared || !self.lock_read_only;
        let lock = match self.lock.take().filter(|_| fit) {
            Some(lock) => lock,
            None => match self.open_lock(hold) {
                Ok(file) => file.into(),
                Err(e) if hold == Hold::Shared && !is_want_of_files(&e) => return Ok(Some(Held::nothing())),
                Err(e) => return Err(self.lock_failed(e)),
            },
        };
        let taken = lock::take(&lock, hold)?;
        if taken.is_some() {
            let named = self.disk.stat(&self.place.lock).map_err(|e| self.lock_failed(e))?;
            let own = lock.stat().map_err(|e| self.lock_failed(e))?;
            if named.is_none_or(|named| (named.device, named.inode) != (own.device, own.inode)) {
                return Ok(None);
            }
        }
        self.lock = Some(lock);
        Ok(taken)
    }

    /// Closes both files. What is known of them stays.
    pub(super) fn close(&mut self) {
        self.file = None;
        self.lock = None;
    }

    fn lock_failed(&self, e: io::Error) -> Error {
        Error::io(format!("cannot open the lock file {}", self.place.lock.display()), e)
    }

    fn open_lock(&mut self, hold: Hold) -> io::Result<Box<dyn File>> {
        let path = &self.place.lock;
        if hold == Hold::Exclusive {
            self.disk.make_folder(&self.place.folder)?;
        }
        let file = self.disk.open(path, Open::Create);
        self.lock_read_only = file.is_err();
        if hold == Hold::Shared { file.or_else(|_| self.disk.open(path, Open::Read)) } else { file }
    }

    fn open(&mut self, stat: &Stat) -> Result<()> {
        let same = |other: &Stat| (other.device, other.inode) == (stat.device, stat.inode);
        let is_known = self.known.stat.as_ref().is_some_and(same);
        if self.file.is_some() && is_known {
            return Ok(());
        }
        self.file = None;
        let data = &self.place.data;
        let file = self.disk.open(data, Open::Append);
        self.read_only = file.is_err();
        let file = file.or_else(|_| self.disk.open(data, Open::Read));
        let file = file.map_err(|e| self.place.failed("open", e))?;
        // What was closed is opened as it is known, unless it has been replaced since it was looked at.
        if !is_known || !same(&file.stat().map_err(|e| self.place.failed("look at", e))?) {
            self.known = Known::default();
        }
        self.file = Some(file);
        Ok(())
    }

    fn opened(&self) -> Result<&dyn File> {
        self.file.as_deref().ok_or_else(|| self.place.failed("use", io::ErrorKind::NotFound.into()))
    }

    /// Makes the file fit to be appended to: makes it, sets a torn tail aside, writes anew what a person wrote. Under the
    /// exclusive lock.
    pub(super) fn prepare(&mut self, image: &RwLock<Image>, clock: &dyn Clock) -> Result<()> {
        if self.file.is_some() && self.read_only {
            // Perhaps it may be written by now; if not, this tells why.
            let file = self.disk.open(&self.place.data, Open::Append);
            self.file = Some(file.map_err(|e| self.place.failed("write to", e))?);
            self.read_only = false;
        }
        if let Some(torn) = self.known.torn {
            self.set_aside(torn, clock.now())?;
        }
        if self.known.stat.is_none() || self.known.rewrite {
            self.rewrite(image)?;
        }
        Ok(())
    }

    /// Writes a file beside the data file, and syncs it.
    pub(super) fn write_beside(&self, path: &Path, bytes: &[u8]) -> io::Result<Box<dyn File>> {
        // One that interrupted work left may belong to another user, so it is not reused. Mostly there is none.
        let _ = self.disk.remove(path);
        let file = self.disk.open(path, Open::Create)?;
        file.write(0, bytes)?;
        file.sync()?;
        Ok(file)
    }

    /// Keeps what a file holds from an offset on in a file of its own, durably. Returns its name and length.
    pub(super) fn keep(&self, file: &dyn File, from: u64, now: Time) -> io::Result<(PathBuf, usize)> {
        let bytes = file.read(from, file.stat()?.len.saturating_sub(from))?;
        let path = self.place.torn(&*self.disk, now)?;
        self.write_beside(&path, &bytes)?;
        self.disk.sync_folder(&self.place.folder)?;
        Ok((path, bytes.len()))
    }

    /// Keeps the torn tail in a file of its own and cuts it off.
    fn set_aside(&mut self, torn: u64, now: Time) -> Result<()> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        let file = self.opened()?;
        let (path, len) = self.keep(file, torn, now).map_err(|e| failed("set aside the torn tail of", e))?;
        file.truncate(torn).and_then(|()| file.sync()).map_err(|e| failed("cut the torn tail of", e))?;
        tracing::warn!(
            "{}: cut off {len} bytes that an interrupted write left; kept in {}",
            self.place.data.display(),
            path.display()
        );
        let stat = file.stat().map_err(|e| failed("look at", e))?;
        self.known.torn = None;
        self.known.stat = Some(Stat { len: torn, ..stat });
        self.known.epoch = None;
        Ok(())
    }

    /// Appends documents behind the last commit mark and syncs them. Under the exclusive lock, after [`prepare`](Self::prepare).
    ///
    /// Returns the state of the file as far as it is known: if a person added something meanwhile the file is longer, so
    /// that whoever looks at it next finds an edit, and reads all of it.
    ///
    /// After an error the file is cut back to where it was if that can be done, and otherwise, or if the sync failed, not
    /// trusted again until it has been written anew.
    pub(super) fn append(&mut self, text: &[u8]) -> Result<Stat> {
        let at = self.known.committed;
        let written = self.opened()?.write(at, text);
        let synced = if written.is_ok() { self.opened()?.sync() } else { Ok(()) };
        let untrusted = synced.is_err();
        match written.and(synced).and_then(|()| self.opened_io()?.stat()) {
            Ok(stat) => {
                self.known.committed = at + text.len() as u64;
                let stat = Stat { len: self.known.committed, ..stat };
                self.leave(stat);
                Ok(stat)
            }
            Err(e) => {
                let cut = self.opened()?.truncate(at).and_then(|()| self.opened_io()?.sync());
                if untrusted || cut.is_err() {
                    self.distrust(self.known.stat.unwrap_or_default(), at);
                }
                self.known.stat = None;
                Err(self.place.failed("append to", e))
            }
        }
    }

    fn opened_io(&self) -> io::Result<&dyn File> {
        self.file.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Leaves word that what stands behind `len` is not known to be durable.
    fn distrust(&mut self, stat: Stat, len: u64) {
        let stat = Stat { len, ..stat };
        let record = Record { epoch: self.known.epoch.unwrap_or(0), stat, suspect: true };
        if let Some(lock) = &self.lock
            && let Err(e) = lock::write(&**lock, &record).and_then(|()| lock.sync())
        {
            tracing::error!("cannot write the lock file {}: {e}", self.place.lock.display());
        }
        self.known.epoch = None;
    }

    /// Leaves a record of the file as it now is.
    fn leave(&mut self, stat: Stat) {
        self.known.stat = Some(stat);
        let Some(lock) = &self.lock else { return };
        let epoch = self.known.epoch.unwrap_or_else(|| {
            let last = lock::read(&**lock).ok().flatten().map_or(0, |r| r.epoch);
            last.wrapping_add(1)
        });
        // Without a record the next reader reads all, which is slower and as right.
        let left = lock::write(&**lock, &Record { epoch, stat, suspect: false }).is_ok();
        self.known.epoch = left.then_some(epoch);
    }

    /// Sees to it that there is a record of the file, so that later changes of it can be told. Under the exclusive lock.
    pub(super) fn ensure_epoch(&mut self) {
        if let (None, Some(stat)) = (self.known.epoch, self.known.stat) {
            self.leave(stat);
        }
    }

    /// Writes the file anew from the image and puts it in place. Under the exclusive lock.
    fn rewrite(&mut self, image: &RwLock<Image>) -> Result<()> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        let mut text = head(&self.place.bucket, image.read().revision);
        for (key, entry) in &image.read().entries {
            line::write(&mut text, key, Some(entry), None);
        }
        finish(&mut text, image.read().entries.is_empty());
        self.disk.make_folder(&self.place.folder).map_err(|e| failed("make the folder of", e))?;
        let path = self.place.beside("new");
        let file = self.write_beside(&path, &text).map_err(|e| failed("write anew", e))?;
        self.replace(&*file, &path, text.len() as u64)?;
        image.write().stat = self.known.stat;
        Ok(())
    }

    /// Puts a written and synced file in the place of the data file, if that is still the one that is known. Under the
    /// exclusive lock.
    ///
    /// A lock on that file must be held on: another who opened it by its old name must not get it before the rename.
    pub(super) fn replace(&mut self, file: &dyn File, path: &Path, snapshot: u64) -> Result<()> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        if let Some(old) = &self.file {
            file.resemble(&**old).map_err(|e| failed("set the rights of", e))?;
        }
        let len = file.stat().map_err(|e| failed("look at", e))?.len;
        // A person's editor does not take the lock.
        if self.disk.stat(&self.place.data).map_err(|e| failed("look at", e))? != self.known.stat {
            return Err(Error::new(Kind::Busy, "the data file is being edited; try again"));
        }
        // From here on the old file is not to be written: a failure leaves open which of the two is in place.
        let epoch = self.known.epoch.take();
        self.file = None;
        self.known = Known::default();
        self.disk.rename(path, &self.place.data).map_err(|e| failed("replace", e))?;
        self.disk.sync_folder(&self.place.folder).map_err(|e| failed("sync the folder of", e))?;
        let stat = Stat { len, ..file.stat().map_err(|e| failed("look at", e))? };
        self.open(&stat)?;
        self.known.committed = len;
        self.known.snapshot = snapshot;
        self.known.epoch = epoch.map(|e| e.wrapping_add(1));
        self.leave(stat);
        Ok(())
    }
}

/// Whether no more files can be opened, in this process or on this machine.
pub(super) fn is_want_of_files(e: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(e);
    errno.is_some_and(|errno| errno == rustix::io::Errno::MFILE || errno == rustix::io::Errno::NFILE)
}
