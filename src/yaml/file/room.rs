//! What hinders a write: a full disk, a second name of the file, a lack of rights; and how a write is done all the same.

use std::io::ErrorKind;

use parking_lot::RwLock;

use super::super::disk::File;
use super::super::document::document;
use super::super::hand::Fault;
use super::super::image::{Image, Unstamped};
use super::super::place::Place;
use super::super::reader::read;
use super::super::stream;
use super::DataFile;
use crate::model::{Error, Kind, Result};

/// The room that is kept for deletions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    Unknown,
    /// It was looked for, and taken if there was any.
    Looked,
    /// It was given up, and the file has not been written anew since.
    Released,
}

/// That a data file has no other name.
///
/// # Errors
/// `Damaged`: a hard link to it may be a backup, which must not change, or the bucket of another folder, which must.
pub(in crate::yaml) fn ensure_one_name(place: &Place, file: &dyn File) -> Result<()> {
    let links = file.links().map_err(|e| place.failed("look at", e))?;
    if links <= 1 {
        return Ok(());
    }
    let text = format!(
        "{} has {links} names (hard links), and nobody knows whether the others are to change with it; nothing was stored; \
         `kvs compact --bucket {}` gives this folder a file of its own",
        place.data.display(),
        place.bucket
    );
    Err(Error::new(Kind::Damaged, text))
}

impl DataFile {
    /// That the file has no other name. Under the exclusive lock.
    ///
    /// # Errors
    /// As of [`ensure_one_name`].
    pub(in crate::yaml) fn ensure_own(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| ensure_one_name(&self.place, &**file))
    }

    /// Whether a write could be done, as far as can be told without one. Under the exclusive lock, after catching up.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::yaml) fn ensure_writable(&mut self) -> Result<()> {
        self.disk.may_write(&self.place.folder).map_err(|e| self.place.failed("write beside", e))?;
        self.reopen()?;
        self.ensure_own()?;
        self.hindrance().map_or(Ok(()), Err)
    }

    /// Why the last write, or the last try to write the file anew, was not done.
    pub(in crate::yaml) fn hindrance(&self) -> Option<Error> {
        self.refused.as_ref().or(self.not_replaced.as_ref()).map(Error::copied)
    }

    /// Whether the file can be appended to though it could not be written anew: it is as it was, and all of it is durable.
    pub(super) fn can_go_on_after(&self, error: &Error) -> bool {
        let stays = self.file.is_some() && self.known.stat.is_some() && !self.known.suspect;
        stays && matches!(error.kind(), Kind::Full | Kind::PermissionDenied)
    }

    /// Makes a file that cannot be written anew fit to be appended to as it is: adds what the image knows and the file does not
    /// say, as the revisions of what a person wrote.
    pub(super) fn complete(&mut self, image: &RwLock<Image>) -> Result<()> {
        let bytes = self.opened()?.read(0, self.known.committed).map_err(|e| self.place.failed("read", e))?;
        let (mut said, mut unstamped) = (Image::default(), Unstamped::default());
        for piece in &stream::cut(&bytes, true).pieces {
            let fault = |fault: Fault| Error::new(Kind::Damaged, fault.text);
            said.take(read(piece).map_err(fault)?.lines, &mut unstamped);
        }
        let entries = image.read().entries.clone();
        let unsaid = || entries.iter().filter(|(key, entry)| said.entries.get(*key) != Some(*entry));
        if unsaid().next().is_some() {
            let mut times = Vec::new();
            document(&mut times, unsaid().map(|(key, entry)| (key, Some(entry), None)));
            image.write().stat = Some(self.append(&times)?);
        }
        self.known.rewrite = false;
        Ok(())
    }

    /// Sees to it that there is room for deletions when the disk is full. It is looked for once, and again once the file
    /// has been written anew.
    pub(in crate::yaml) fn reserve(&mut self) {
        if self.reserve == Reserve::Unknown {
            self.reserve = Reserve::Looked;
            if let Err(e) = self.disk.reserve(&self.place.reserve()) {
                tracing::debug!("no room is kept for deletions in {}: {e}", self.place.folder.display());
            }
        }
    }

    /// Gives that room up for what makes the bucket smaller. False: there was none.
    pub(in crate::yaml) fn release(&mut self) -> bool {
        self.reserve = Reserve::Released;
        self.disk.release(&self.place.reserve()).unwrap_or(false)
    }

    /// Whether the disk was found full, and the file has not been written anew since.
    pub(in crate::yaml) fn is_lean(&self) -> bool {
        self.reserve == Reserve::Released
    }

    /// Whether there is room for more than deletions: what was given up for them is not for others.
    pub(in crate::yaml) fn has_room(&mut self) -> bool {
        if self.is_lean() {
            match self.disk.reserve(&self.place.reserve()) {
                Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {}
                // There is room, or none can be kept here.
                Ok(()) | Err(_) => self.reserve = Reserve::Looked,
            }
        }
        !self.is_lean()
    }
}
