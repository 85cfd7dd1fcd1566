//! Files that are written beside the data file: what is set aside for a person, and those that take its place.
//!
//! They get the rights of the data file before their first byte, and are removed again if they cannot be finished.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::super::disk::{Disk, File, Hold, Open, Stat};
use super::super::image::Image;
use super::super::load::Known;
use super::super::rest::{self, Said};
use super::{DataFile, Reserve};
use crate::model::{Error, Kind, Result, Time};

/// Opens a file beside the data file as the only one who writes it, empty. None: another is writing it.
///
/// Another may have put it in place as the data file between our opening and our lock, so its name is looked up again.
pub(in crate::yaml) fn own(disk: &dyn Disk, path: &Path, how: Open) -> io::Result<Option<Arc<dyn File>>> {
    for _ in 0..10 {
        let file: Arc<dyn File> = disk.open(path, how)?.into();
        if !file.try_lock(Hold::Exclusive)? {
            return Ok(None);
        }
        if !is_named(disk, &*file, path)? {
            continue;
        }
        if file.stat()?.len == 0 {
            return Ok(Some(file));
        }
        // One that interrupted work left may belong to another user, so it is not used again.
        disk.remove(path)?;
    }
    Ok(None)
}

/// Whether this name stands for this file.
pub(in crate::yaml) fn is_named(disk: &dyn Disk, file: &dyn File, path: &Path) -> io::Result<bool> {
    let own = file.stat()?;
    Ok(disk.stat(path)?.is_some_and(|named| named.is_same_file(&own)))
}

/// Removes a file that could not be finished, if it still has its name.
pub(in crate::yaml) fn discard(disk: &dyn Disk, file: &dyn File, path: &Path) {
    if is_named(disk, file, path).unwrap_or(false) {
        // If it cannot be removed, whoever writes one next does it, and `kvs sweep`.
        let _ = disk.remove(path);
    }
}

/// A file that is to take the place of the data file.
pub(in crate::yaml) struct Written<'a> {
    /// Its name so far.
    pub(in crate::yaml) path: &'a Path,
    /// The length of its first document.
    pub(in crate::yaml) snapshot: u64,
    /// What is put before the next document.
    pub(in crate::yaml) mark: &'static [u8],
    /// Whether nothing was appended to that document.
    pub(in crate::yaml) is_tidy: bool,
    /// Whether it has only lines of kvs.
    pub(in crate::yaml) is_plain: bool,
}

impl DataFile {
    /// Writes a file beside the data file, and syncs it. Under the exclusive lock.
    pub(in crate::yaml) fn write_beside(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        let how = if self.file.is_some() { Open::Private } else { Open::Create };
        let owned = match own(&*self.disk, path, how) {
            // Another user left it; nobody writes it, since we have the lock.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.disk.remove(path)?;
                own(&*self.disk, path, how)
            }
            other => other,
        };
        let file = owned?.ok_or(io::ErrorKind::WouldBlock)?;
        let rights = self.file.as_ref().map_or(Ok(()), |data| file.resemble(&**data));
        if let Err(e) = rights.and_then(|()| file.write(0, bytes)).and_then(|()| file.sync()) {
            discard(&*self.disk, &*file, path);
            return Err(e);
        }
        Ok(file)
    }

    /// Keeps what a file holds from an offset on in a file of its own, durably. Returns its name and length.
    pub(in crate::yaml) fn keep(&self, file: &dyn File, from: u64, now: Time) -> io::Result<(PathBuf, usize)> {
        let bytes = file.read(from, file.stat()?.len.saturating_sub(from))?;
        let path = self.place.torn(&*self.disk, now)?;
        let kept = self.write_beside(&path, &bytes)?;
        if let Err(e) = self.disk.sync_folder(&self.place.folder) {
            discard(&*self.disk, &*kept, &path);
            return Err(e);
        }
        Ok((path, bytes.len()))
    }

    /// Keeps the torn tail in a file of its own and cuts it off.
    pub(super) fn set_aside(&mut self, torn: u64, now: Time) -> Result<()> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        let file = self.opened()?;
        let (path, len) = self.keep(file, torn, now).map_err(|e| failed("set aside the torn tail of", e))?;
        if let Err(e) = file.truncate(torn) {
            // It is there still, and is kept again by whoever cuts it off.
            let _ = self.disk.remove(&path);
            return Err(failed("cut the torn tail of", e));
        }
        file.sync().map_err(|e| failed("cut the torn tail of", e))?;
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

    /// Writes the file anew from its lines and the image, and puts it in place. Under the exclusive lock.
    pub(super) fn rewrite(&mut self, image: &RwLock<Image>) -> Result<()> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        let text = self.text_at_rest(&image.read())?;
        self.disk.make_folder(&self.place.folder).map_err(|e| failed("make the folder of", e))?;
        let path = self.place.beside("new");
        let file = self.write_beside(&path, &text).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::new(Kind::Busy, "another process writes the data file anew; try again"),
            _ => failed("write anew", e),
        })?;
        let is_plain = self.known.is_plain || self.known.committed == 0;
        let snapshot = text.len() as u64;
        let written = Written { path: &path, snapshot, mark: rest::mark(&text), is_tidy: true, is_plain };
        self.replace(&file, &written, Some(image))?;
        image.write().stat = self.known.stat;
        Ok(())
    }

    /// The text of the file at rest, with all that the image holds.
    fn text_at_rest(&self, image: &Image) -> Result<Vec<u8>> {
        let (bucket, now) = (&self.place.bucket, Time::from_nanos(i64::MIN));
        let has_copy = self.can_have_copy();
        let said = Said { bucket, entries: &image.entries, revision: image.revision, now, has_copy };
        if self.file.is_none() || self.known.stat.is_none() || self.known.committed == 0 {
            return Ok(rest::fresh(&said));
        }
        let bytes = self.opened()?.read(0, self.known.committed).map_err(|e| self.place.failed("read", e))?;
        // Bytes that could not be synced are not taken over unless they can be read.
        Ok(rest::tidied(&bytes, &said).unwrap_or_else(|_| rest::fresh(&said)))
    }

    /// Puts a written and synced file in the place of the data file, if that is still the one that is known. Under the
    /// exclusive lock. After an error the file is removed.
    ///
    /// The file must be locked: another who opened it by its old name must not get it before the rename. `image` is what it
    /// says; without one it is as a person wrote it, and is read again.
    pub(in crate::yaml) fn replace(
        &mut self,
        file: &Arc<dyn File>,
        written: &Written<'_>,
        image: Option<&RwLock<Image>>,
    ) -> Result<()> {
        let replaced = self.try_replace(file, written, image);
        match &replaced {
            Ok(()) => {
                (self.not_replaced, self.reserve) = (None, Reserve::Unknown);
                if let Some(image) = image.filter(|image| !self.copy.is_true() && !image.read().by_hand.is_empty()) {
                    // Without a copy only the file can say when a person wrote what.
                    self.complete(image)?;
                }
            }
            Err(_) => discard(&*self.disk, &**file, written.path),
        }
        replaced
    }

    fn try_replace(
        &mut self,
        file: &Arc<dyn File>,
        written: &Written<'_>,
        image: Option<&RwLock<Image>>,
    ) -> Result<()> {
        let path = written.path;
        let place = self.place.clone();
        let failed = |doing: &str, e| place.failed(doing, e);
        if let Some(old) = &self.file {
            file.resemble(&**old).map_err(|e| failed("set the rights of", e))?;
        }
        let len = file.stat().map_err(|e| failed("look at", e))?.len;
        let before = self.disk.stat(&self.place.data).map_err(|e| failed("look at", e))?;
        // A person's editor does not take the lock, and a person may remove what is beside.
        if before != self.known.stat || !is_named(&*self.disk, &**file, path).map_err(|e| failed("look beside", e))? {
            return Err(Error::new(Kind::Busy, "the data file is being edited; try again"));
        }
        // It makes the present record durable as well, so that none of a file whose number this one may have got comes back
        // after a loss of power. What follows does not depend on it.
        if image.is_some() {
            self.announce(&**file).map_err(|e| failed("record the state of", e))?;
        }
        if let Err(e) = self.disk.rename(path, &self.place.data) {
            // Unless it is as it was, the old file is not to be written: it is open which of the two is in place.
            if !self.disk.stat(&self.place.data).is_ok_and(|after| after == before) {
                self.file = None;
                self.known = Known::default();
            }
            return Err(failed("replace", e));
        }
        // Who waits for the old file finds the new one locked.
        let stat = Stat { len, ..file.stat().map_err(|e| failed("look at", e))? };
        self.locks.lock().adopt(file, stat);
        let epoch = self.known.epoch.take();
        self.file = None;
        self.known = Known::default();
        self.disk.sync_folder(&self.place.folder).map_err(|e| failed("sync the folder of", e))?;
        let Some(image) = image else { return Ok(()) };
        self.open(&stat)?;
        self.known.committed = len;
        (self.known.snapshot, self.known.mark) = (written.snapshot, written.mark);
        (self.known.is_tidy, self.known.is_plain) = (written.is_tidy, written.is_plain);
        self.renew_copy(&image.read());
        self.known.epoch = epoch.map(|e| e.wrapping_add(1));
        self.leave(stat);
        Ok(())
    }
}
