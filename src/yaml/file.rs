//! The data file of a bucket and its lock file, as one process knows them: locking and appending. Setting a torn tail aside
//! and writing anew is `file/beside.rs`, what hinders a write `file/room.rs`, catching up with what others did
//! `file/catch_up.rs`.
//!
//! Whoever calls holds the lock of the bucket, as each function says, and there is one caller at a time in a process.

mod beside;
mod catch_up;
mod copy;
mod room;

pub(super) use catch_up::{durable, loss, was_there};

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

pub(super) use beside::{Written, discard, own};
use copy::Copy;
use parking_lot::{Mutex, RwLock};
use room::Reserve;
pub(super) use room::ensure_one_name;

use super::disk::{Disk, File, Hold, Open, Stat};
use super::image::Image;
use super::load::Known;
use super::lock::{self, Held, Locks, Record};
use super::place::Place;
use crate::model::{Clock, Error, Kind, Result};

/// The two files.
pub(super) struct DataFile {
    /// Where they are: elsewhere than their name says if the data file is a symbolic link.
    pub(super) place: Place,
    named: Place,
    pub(super) known: Known,
    disk: Arc<dyn Disk>,
    file: Option<Arc<dyn File>>,
    /// The data file could be opened only to read.
    read_only: bool,
    lock: Option<Arc<dyn File>>,
    /// Likewise the lock file.
    lock_read_only: bool,
    locks: Arc<Mutex<Locks>>,
    reserve: Reserve,
    copy: Copy,
    /// Why the last write could not be done, if it could not be.
    refused: Option<Error>,
    /// Why the file could not be written anew when that was last tried.
    pub(super) not_replaced: Option<Error>,
}

impl DataFile {
    pub(super) fn new(place: Place, disk: Arc<dyn Disk>, copy_up_to: u64) -> Self {
        Self {
            named: place.clone(),
            place,
            known: Known::default(),
            disk,
            file: None,
            read_only: false,
            lock: None,
            lock_read_only: false,
            locks: Arc::default(),
            reserve: Reserve::Unknown,
            copy: Copy::new(copy_up_to),
            refused: None,
            not_replaced: None,
        }
    }

    /// Takes the lock if it is free; none: others have it. A reader who may not make the lock file reads without, as there can
    /// be no writer with the same rights.
    ///
    /// Locked are the lock file and the data file. If a person removed one of them, whoever comes next makes a new one; so
    /// what was locked must still have its name.
    pub(super) fn lock(&mut self, hold: Hold) -> Result<Option<Held>> {
        if self.file.is_none() || self.place.data != self.named.data {
            self.follow()?;
        }
        let held = Held::begin(&self.locks, hold);
        Ok((self.take_lock_file(hold)? && self.take_data_file()?).then_some(held))
    }

    /// Finds the files where a symbolic link leads, if there is one.
    fn follow(&mut self) -> Result<()> {
        let place = self.named.resolved(&*self.disk).map_err(|e| self.named.failed("open", e))?;
        if place.data != self.place.data {
            self.place = place;
            self.known = Known::default();
            (self.file, self.lock) = (None, None);
        }
        Ok(())
    }

    fn take_lock_file(&mut self, hold: Hold) -> Result<bool> {
        let fit = hold == Hold::Shared || !self.lock_read_only;
        let lock = match self.lock.take().filter(|_| fit) {
            Some(lock) => lock,
            None => match self.open_lock(hold) {
                Ok(file) => file.into(),
                Err(e) if hold == Hold::Shared && is_out_of_reach(&e) => return Ok(true),
                Err(_) if self.is_gone() => return Err(self.gone()),
                Err(e) => return Err(self.place.lock_failed(e)),
            },
        };
        if !self.locks.lock().add(&lock)? {
            self.lock = Some(lock);
            return Ok(false);
        }
        let named = self.disk.stat(&self.place.lock).map_err(|e| self.place.lock_failed(e))?;
        let own = lock.stat().map_err(|e| self.place.lock_failed(e))?;
        let is_named = named.is_some_and(|named| named.is_same_file(&own));
        self.lock = is_named.then_some(lock);
        Ok(is_named)
    }

    /// Closes both files. What is known of them stays.
    pub(super) fn close(&mut self) {
        self.file = None;
        self.lock = None;
        self.copy.close();
    }

    fn open_lock(&mut self, hold: Hold) -> io::Result<Box<dyn File>> {
        let path = &self.place.lock;
        if self.is_gone() && self.disk.stat(path)?.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if hold == Hold::Exclusive {
            self.disk.make_folder(&self.place.folder)?;
        } else if self.disk.stat(&self.place.data)?.is_none() {
            // Reading what is not there leaves nothing behind.
            self.lock_read_only = true;
            return self.disk.open(path, Open::Read);
        }
        let file = self.disk.open(path, Open::Create);
        self.lock_read_only = file.is_err();
        match file {
            Err(e) if hold == Hold::Shared && is_out_of_reach(&e) => self.disk.open(path, Open::Read),
            other => other,
        }
    }

    /// Whether the data file was there and is missing. Then no lock file is made, as its disk may not be mounted.
    fn is_gone(&self) -> bool {
        let was_there = self.known.vanished || self.known.stat.is_some();
        was_there && self.disk.stat(&self.place.data).is_ok_and(|stat| stat.is_none())
    }

    fn gone(&self) -> Error {
        let text = format!(
            "{} and its lock file are missing, but the bucket had data in it; put the files back (is their disk mounted?), \
             or, to begin anew, start kvs again. Nothing was stored",
            self.place.data.display()
        );
        Error::new(Kind::Damaged, text)
    }

    fn take_data_file(&mut self) -> Result<bool> {
        if let Some(file) = &self.file {
            return self.locks.lock().add(file);
        }
        let stat = self.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
        stat.map_or(Ok(true), |stat| self.try_open(&stat))
    }

    /// Opens the data file, locked as the lock file is.
    fn open(&mut self, stat: &Stat) -> Result<()> {
        if self.try_open(stat)? {
            return Ok(());
        }
        Err(Error::new(Kind::Busy, "the data file is being replaced; nothing was done, try again"))
    }

    /// The same; false: others have locked it.
    fn try_open(&mut self, stat: &Stat) -> Result<bool> {
        let is_known = self.known.stat.is_some_and(|known| known.is_same_file(stat));
        if self.file.is_some() && is_known {
            return Ok(true);
        }
        self.file = None;
        for _ in 0..10 {
            let file: Arc<dyn File> = self.open_data()?.into();
            if !self.locks.lock().add(&file)? {
                return Ok(false);
            }
            let named = self.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
            let own = file.stat().map_err(|e| self.place.failed("look at", e))?;
            if named.is_some_and(|named| named.is_same_file(&own)) {
                // What was closed is opened as it is known, unless it has been replaced since.
                if !(is_known && own.is_same_file(stat)) {
                    self.known = Known::default();
                }
                self.file = Some(file);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_data(&mut self) -> Result<Box<dyn File>> {
        let data = &self.place.data;
        let file = self.disk.open(data, Open::Append);
        self.read_only = file.is_err();
        match file {
            Ok(file) => return Ok(file),
            Err(_) if self.disk.resolve(data).is_ok_and(|leads| leads.is_some()) => {
                let text = "the data file has just become a symbolic link; nothing was done, try again";
                return Err(Error::new(Kind::Busy, text));
            }
            Err(e) if is_out_of_reach(&e) => self.disk.open(data, Open::Read),
            Err(e) => Err(e),
        }
        .map_err(|e| self.place.failed("open", e))
    }

    fn opened(&self) -> Result<&dyn File> {
        self.opened_io().map_err(|e| self.place.failed("use", e))
    }

    fn opened_io(&self) -> io::Result<&dyn File> {
        self.file.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens a file to write that could be opened only to read: perhaps it may be written by now. If not, this tells why.
    fn reopen(&mut self) -> Result<()> {
        if self.file.is_some() && self.read_only {
            let file = self.disk.open(&self.place.data, Open::Append).map_err(|e| self.place.failed("write to", e))?;
            let own = file.stat().map_err(|e| self.place.failed("look at", e))?;
            if !self.known.stat.is_some_and(|known| known.is_same_file(&own)) {
                return Err(Error::new(Kind::Busy, "the data file is being replaced; nothing was done, try again"));
            }
            self.file = Some(file.into());
            self.read_only = false;
        }
        Ok(())
    }

    /// Makes the file fit to be appended to: makes it, sets a torn tail aside, records what a person did. Under the exclusive
    /// lock.
    pub(super) fn prepare(&mut self, image: &RwLock<Image>, clock: &dyn Clock) -> Result<()> {
        self.reopen()?;
        if self.file.is_some() && self.ensure_own().is_err() {
            // A file with other names stays as it is; this one gets a file of its own.
            return self.rewrite(image);
        }
        if let Some(torn) = self.known.torn {
            self.set_aside(torn, clock.now())?;
        }
        if self.known.stat.is_none() {
            return self.rewrite(image);
        }
        self.record_edit(image)?;
        if !self.known.rewrite && !self.known.suspect {
            self.ensure_copy(image);
            return Ok(());
        }
        let written = self.rewrite(image);
        self.not_replaced = written.as_ref().err().filter(|error| error.kind() != Kind::Busy).map(Error::copied);
        match written {
            Err(error) if self.can_go_on_after(&error) => self.complete(image),
            other => other,
        }
    }

    /// Appends documents and syncs them. Under the exclusive lock, after [`prepare`](Self::prepare).
    ///
    /// Returns the state of the file as far as it is known: if a person added something meanwhile the file is longer, so
    /// that whoever looks at it next finds an edit, and reads all of it.
    ///
    /// After an error the file is cut back to where it was if that can be done, and otherwise, or if the sync failed, not
    /// trusted again until it has been written anew.
    pub(super) fn append(&mut self, text: &[u8]) -> Result<Stat> {
        let appended = self.try_append(text);
        self.refused = appended.as_ref().err().filter(|error| error.kind() != Kind::Busy).map(Error::copied);
        appended
    }

    fn try_append(&mut self, text: &[u8]) -> Result<Stat> {
        let at = self.known.committed;
        let marked =
            if self.known.mark.is_empty() { Cow::Borrowed(text) } else { [self.known.mark, text].concat().into() };
        let written = self.opened()?.write(at, &marked);
        let synced = if written.is_ok() { self.opened()?.sync() } else { Ok(()) };
        let untrusted = synced.is_err();
        let known = self.known.stat.unwrap_or_default();
        let error = match written.and(synced).and_then(|()| self.disk.stat(&self.place.data)) {
            Ok(Some(stat)) if stat.is_same_file(&known) => {
                self.known.committed = at + marked.len() as u64;
                (self.known.mark, self.known.is_tidy) = (b"", false);
                let stat = Stat { len: self.known.committed, ..stat };
                self.append_to_copy(text);
                self.leave(stat);
                return Ok(stat);
            }
            Ok(_) => Error::new(Kind::Busy, "a person replaced the data file meanwhile; nothing was stored, try again"),
            Err(e) => self.place.failed("append to", e),
        };
        let cut = self.opened()?.truncate(at).and_then(|()| self.opened_io()?.sync());
        // Told by one of the two that it does not count, nobody takes it for stored.
        let undone = if untrusted || cut.is_err() { self.distrust(known, at) } else { true };
        self.known.stat = None;
        Err(if undone { error } else { error.of_kind(Kind::Failed) })
    }

    /// Leaves word that what stands behind `len` is not known to be durable. Returns whether it could be left.
    fn distrust(&mut self, stat: Stat, len: u64) -> bool {
        let stat = Stat { len, ..stat };
        let has_copy = Some(self.copy.is_true());
        let record = Record { epoch: self.known.epoch.unwrap_or(0), stat, suspect: true, has_copy };
        self.known.epoch = None;
        let Some(lock) = &self.lock else { return false };
        let left = lock::write(&**lock, &record).and_then(|()| lock.sync());
        if let Err(e) = &left {
            tracing::error!("cannot write the lock file {}: {e}", self.place.lock.display());
        }
        left.is_ok()
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
        let record = Record { epoch, stat, suspect: false, has_copy: Some(self.copy.is_true()) };
        let left = lock::write(&**lock, &record).is_ok();
        self.known.epoch = left.then_some(epoch);
    }

    /// Sees to it that there is a record of the file, so that later changes of it can be told. Under the exclusive lock.
    pub(super) fn ensure_epoch(&mut self) {
        if let (None, Some(stat)) = (self.known.epoch, self.known.stat) {
            self.leave(stat);
        }
    }
}

/// Whether a file is not there, or there are no rights to it, so that less may do.
fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}

/// Whether no more files can be opened, in this process or on this machine.
pub(super) fn is_want_of_files(e: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(e);
    errno.is_some_and(|errno| errno == rustix::io::Errno::MFILE || errno == rustix::io::Errno::NFILE)
}
