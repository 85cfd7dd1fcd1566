//! The copy of the bucket as kvs last left it, and recording what a person did to the file.
//!
//! A copy that cannot be written hinders no write: it costs only what is known after an edit.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::super::disk::{Disk, File, Open, Stat};
use super::super::edited::Overwritten;
use super::super::image::Image;
use super::super::last::{self, Fingerprint, Last};
use super::super::place::Place;
use super::super::{line, lock};
use super::DataFile;
use crate::model::{Result, Time};

/// What this process knows of the copy.
pub(super) struct Copy {
    /// Longer files have none.
    up_to: u64,
    /// Open to append, once it was.
    file: Option<Arc<dyn File>>,
    /// Whether it says what the data file does.
    is_true: bool,
    /// It could not be written, and is not tried again before the file has been read anew.
    failed: bool,
    /// What people overwrote that has not been set aside yet.
    pub(super) overwritten: Overwritten,
}

impl Copy {
    pub(super) fn new(up_to: u64) -> Self {
        Self { up_to, file: None, is_true: false, failed: false, overwritten: Overwritten::default() }
    }

    pub(super) fn is_true(&self) -> bool {
        self.is_true
    }

    /// Whether a copy is made of files of this length.
    pub(super) fn is_for(&self, len: u64) -> bool {
        len <= self.up_to
    }

    /// Whether a copy is kept up when a file grows to this length before it is compacted.
    pub(super) fn goes_on(&self, len: u64) -> bool {
        len <= self.up_to.saturating_mul(16)
    }

    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Notes whether the copy was found to say what the data file does, which has just been read.
    pub(super) fn found(&mut self, is_true: bool) {
        (self.file, self.is_true, self.failed) = (None, is_true, false);
    }
}

/// The copy, if there is one that can be read.
pub(in crate::yaml) fn read_last(disk: &dyn Disk, place: &Place) -> Option<Last> {
    let path = place.last();
    let stat = disk.stat(&path).ok().flatten()?;
    let file = disk.open(&path, Open::Read).ok()?;
    Last::read(&file.read(0, stat.len).ok()?)
}

impl DataFile {
    /// Records what a person did to the file: sets aside what was overwritten, and renews the copy, so that every process
    /// comes to the same revisions. Under the exclusive lock, after catching up.
    ///
    /// # Errors
    /// If what was overwritten cannot be set aside. It is not forgotten.
    pub(in crate::yaml) fn record_edit(&mut self, image: &RwLock<Image>) -> Result<()> {
        let (Some(of), Some(stat)) = (self.known.edited.clone(), self.known.stat) else { return Ok(()) };
        self.set_overwritten_aside(Time::from_nanos(stat.modified))?;
        self.known.edited = None;
        if self.copy.is_for(stat.len) && self.write_copy(&image.read(), &of) {
            self.known.rewrite = self.known.committed == 0;
        }
        self.known.epoch = None;
        // A torn tail was never durable.
        self.leave(Stat { len: self.known.committed, ..stat });
        self.known.stat = Some(stat);
        // After a loss of power the file is then not taken for one that was changed again.
        let _ = self.lock.as_ref().map(|lock| lock::announce(&**lock, &of));
        Ok(())
    }

    fn set_overwritten_aside(&mut self, saved: Time) -> Result<()> {
        if self.copy.overwritten.is_empty() {
            return Ok(());
        }
        let failed = |e| self.place.failed("set aside what was overwritten in", e);
        let path = self.place.overwritten(&*self.disk, saved).map_err(failed)?;
        let text = overwritten_text(&self.place, &self.copy.overwritten, saved);
        self.write_beside(&path, &text).map_err(failed)?;
        self.disk.sync_folder(&self.place.folder).map_err(failed)?;
        let lost = std::mem::take(&mut self.copy.overwritten);
        tracing::warn!(
            "{} was saved at {saved} by somebody who had read it before {} of its entries were written; these are kept in \
             {}; `kvs import` takes them back",
            self.place.data.display(),
            lost.entries.len() + lost.returned.len(),
            path.display()
        );
        Ok(())
    }

    /// Says durably which file is about to take the place of the data file, or what it is now that a person has changed it.
    pub(super) fn announce(&self, next: &dyn File) -> io::Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let stat = next.stat()?;
        let bytes = if self.copy.goes_on(stat.len) { Some(next.read(0, stat.len)?) } else { None };
        lock::announce(&**lock, &Fingerprint::of_file(bytes.as_deref(), &stat))
    }

    /// Whether the file with these bytes is one that was announced, and how much of it.
    pub(super) fn announced(&self, bytes: &[u8], stat: &Stat) -> Option<usize> {
        let announced = lock::announced(&**self.lock.as_ref()?).ok().flatten()?;
        let before = bytes.get(..usize::try_from(announced.len).ok()?)?;
        let is_it = |stat: &Stat| {
            let bytes = if self.copy.goes_on(stat.len) { Some(before) } else { None };
            Fingerprint::of_file(bytes, stat) == announced
        };
        is_it(&Stat { len: announced.len, ..*stat }).then_some(before.len())
    }

    /// Whether a copy can be expected of the file as it is about to be.
    pub(in crate::yaml) fn can_have_copy(&self) -> bool {
        self.copy.is_for(self.known.committed) && !self.copy.failed
    }

    /// Writes the copy if there is to be one and it does not say what the file does. Under the exclusive lock.
    pub(in crate::yaml) fn ensure_copy(&mut self, image: &RwLock<Image>) {
        if !self.copy.is_true && self.can_have_copy() {
            self.renew_copy(&image.read());
        }
    }

    /// Writes the copy anew; the file holds what the image does.
    pub(super) fn renew_copy(&mut self, image: &Image) {
        (self.copy.file, self.copy.is_true) = (None, false);
        if !self.copy.is_for(self.known.committed) {
            return self.drop_copy();
        }
        match self.opened_io().and_then(|file| file.read(0, self.known.committed)) {
            Ok(bytes) => drop(self.write_copy(image, &Fingerprint::of(&bytes))),
            Err(_) => self.drop_copy(),
        }
    }

    /// Whether the copy could be written.
    fn write_copy(&mut self, image: &Image, of: &Fingerprint) -> bool {
        // Only the copy knows the revisions of what a person wrote.
        let durably = !image.by_hand.is_empty();
        let written = self.try_write_copy(&last::write(&self.place.bucket, image, of), durably);
        self.copy.is_true = written.is_ok();
        match written {
            Ok(file) => self.copy.file = Some(file),
            Err(e) => {
                tracing::debug!("there is no copy of {}: {e}", self.place.data.display());
                self.drop_copy();
            }
        }
        self.copy.is_true
    }

    /// Written beside and renamed, so that it is whole if the process ends meanwhile.
    fn try_write_copy(&self, text: &[u8], durably: bool) -> io::Result<Arc<dyn File>> {
        let path = self.place.beside("last.new");
        if self.disk.stat(&path)?.is_some() {
            self.disk.remove(&path)?;
        }
        let file = self.disk.open(&path, Open::Private)?;
        let rights = self.file.as_ref().map_or(Ok(()), |data| file.resemble(&**data));
        let written = rights.and_then(|()| file.write(0, text));
        let written = written.and_then(|()| if durably { file.sync() } else { Ok(()) });
        let written = written.and_then(|()| self.disk.rename(&path, &self.place.last()));
        let written = written.and_then(|()| if durably { self.disk.sync_folder(&self.place.folder) } else { Ok(()) });
        if let Err(e) = written {
            let _ = self.disk.remove(&path);
            return Err(e);
        }
        Ok(file.into())
    }

    /// Appends to the copy what was appended to the file.
    pub(super) fn append_to_copy(&mut self, text: &[u8]) {
        if !self.copy.is_true {
            return;
        }
        if !self.copy.goes_on(self.known.committed) {
            return self.drop_copy();
        }
        if self.try_append_to_copy(text).is_err() {
            // It stays: what it says of what was before is true.
            (self.copy.file, self.copy.is_true, self.copy.failed) = (None, false, true);
        }
    }

    fn try_append_to_copy(&mut self, text: &[u8]) -> io::Result<()> {
        let file = match self.copy.file.take() {
            Some(file) => file,
            None => self.disk.open(&self.place.last(), Open::Append)?.into(),
        };
        // Another process may have put another one in its place.
        let (named, own) = (self.disk.stat(&self.place.last())?, file.stat()?);
        let file = match named {
            Some(named) if named.is_same_file(&own) => file,
            _ => self.disk.open(&self.place.last(), Open::Append)?.into(),
        };
        file.write(file.stat()?.len, text)?;
        self.copy.file = Some(file);
        Ok(())
    }

    /// Takes a copy away that no longer says what the file does.
    fn drop_copy(&mut self) {
        (self.copy.file, self.copy.is_true, self.copy.failed) = (None, false, true);
        if let Ok(Some(_)) = self.disk.stat(&self.place.last()) {
            // One that stays is found out by its fingerprint.
            let _ = self.disk.remove(&self.place.last());
        }
    }
}

/// What a person overwrote, as a file that can be imported.
fn overwritten_text(place: &Place, lost: &Overwritten, saved: Time) -> Vec<u8> {
    let name = place.data.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# kvs bucket: {}\n# These entries were stored, and then overwritten when {name} was saved at {saved}.\n\
         # Take them back with `kvs import`, or remove this file.\n",
        place.bucket
    );
    for key in &lost.returned {
        text += &format!("# The key {key:?} had been deleted, and is there again.\n");
    }
    let mut text = text.into_bytes();
    for (key, entry) in &lost.entries {
        line::write_at_rest(&mut text, key, entry);
    }
    if lost.entries.is_empty() {
        text.extend_from_slice(b"{}\n");
    }
    text
}
