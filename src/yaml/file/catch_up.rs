//! Catching up with what others did to the data file: taking in what was added, else reading all of it.
//!
//! What the image shows afterwards is durable. It writes nothing to the data file.

use std::time::Duration;

use parking_lot::RwLock;

use super::super::disk::Stat;
use super::super::image::{Image, Unstamped};
use super::super::load::{Known, read_all};
use super::super::lock::{self, Record};
use super::super::stream;
use super::DataFile;
use crate::model::{Error, Kind, Result, Revision};

/// What the last writer said of the data file as it now is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// This is how it was left, and all of it is durable.
    Durable(Record),
    /// What stands behind the length in the record is not known to be durable, since a sync failed.
    Suspect(Record),
    /// It is the same file, but somebody has changed it since: a person, or a writer who died before the end.
    Outdated(Record),
    /// Nothing: there is no record, or it is that of another file.
    Nothing,
}

impl Word {
    fn of(record: Option<Record>, stat: &Stat) -> Self {
        match record {
            Some(record) if record.stat == *stat && !record.suspect => Self::Durable(record),
            Some(record) if record.stat.inode != stat.inode => Self::Nothing,
            Some(record) if record.suspect => Self::Suspect(record),
            Some(record) => Self::Outdated(record),
            None => Self::Nothing,
        }
    }

    /// The epoch that goes on.
    fn epoch(&self) -> Option<u64> {
        if let Self::Durable(record) = self { Some(record.epoch) } else { None }
    }

    /// Up to which length the file is durable, if that is known.
    fn synced(&self) -> Option<u64> {
        match self {
            Self::Durable(record) | Self::Suspect(record) | Self::Outdated(record) => Some(record.stat.len),
            Self::Nothing => None,
        }
    }
}

impl DataFile {
    /// Brings the image up to what the file holds and makes sure that all of it is durable. Under the lock, however held.
    pub(in crate::yaml) fn catch_up(&mut self, image: &RwLock<Image>) -> Result<()> {
        // A person's editor does not take the lock, so the file may change while it is read.
        for _ in 0..20 {
            let stat = self.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
            let Some(stat) = stat else {
                self.forget(image);
                return Ok(());
            };
            self.open(&stat)?;
            if self.known.stat == Some(stat) && image.read().stat == Some(stat) {
                return Ok(());
            }
            let word = self.word(&stat)?;
            let appended = matches!(word, Word::Durable(record) if self.is_appended(&record));
            let taken = if appended { self.take_tail(image, &stat)? } else { false };
            if taken || self.load(image, &stat, word)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(Kind::Busy, "the data file is being edited; try again"))
    }

    fn is_appended(&self, record: &Record) -> bool {
        let known = &self.known;
        known.epoch == Some(record.epoch)
            && known.torn.is_none()
            && known.stat.is_some_and(|s| s.inode == record.stat.inode)
            && record.stat.len >= known.committed
    }

    /// The file is gone: a person removed it, or it has never been.
    fn forget(&mut self, image: &RwLock<Image>) {
        self.known = Known::default();
        self.file = None;
        let mut image = image.write();
        // That the entries are gone is a change as well.
        let gone = u64::from(!image.entries.is_empty());
        let revision = Revision::new(image.revision.number().saturating_add(gone));
        *image = Image { revision, ..Image::default() };
    }

    /// Takes in what was added since, which the record says is durable. False: read all of it instead.
    fn take_tail(&mut self, image: &RwLock<Image>, stat: &Stat) -> Result<bool> {
        let from = self.known.committed;
        let len = stat.len.saturating_sub(from);
        let bytes = self.opened()?.read(from, len).map_err(|e| self.place.failed("read", e))?;
        let cut = stream::cut(&bytes, false);
        if cut.torn.is_some() || bytes.len() as u64 != len {
            return Ok(false);
        }
        let mut documents = Vec::new();
        for piece in &cut.pieces {
            match stream::read(piece) {
                Ok(document) if piece.ended && !document.by_hand => documents.push(document),
                _ => return Ok(false),
            }
        }
        let mut image = image.write();
        for document in documents {
            image.take(document.lines, &mut Unstamped::default());
        }
        image.stat = Some(*stat);
        self.known.stat = Some(*stat);
        self.known.committed = stat.len;
        Ok(true)
    }

    /// What the last writer said of the file as it now is.
    fn word(&self, stat: &Stat) -> Result<Word> {
        let Some(lock) = &self.lock else { return Ok(Word::Nothing) };
        let record = lock::read(&**lock).map_err(|e| self.place.failed("read the lock file of", e))?;
        Ok(Word::of(record, stat))
    }

    /// Reads the whole file. False: it changed meanwhile.
    fn load(&mut self, image: &RwLock<Image>, stat: &Stat, word: Word) -> Result<bool> {
        let failed = |doing: &str, e| self.place.failed(doing, e);
        let file = self.opened()?;
        if !matches!(word, Word::Durable(_)) {
            // Whoever wrote it may have died before the sync, or between the rename and the sync of the folder.
            if let Err(e) = file.sync() {
                // What was not synced before stays unknown, even if the next sync works.
                let error = failed("sync", e);
                self.distrust(*stat, word.synced().map_or(stat.len, |len| len.min(stat.len)));
                return Err(error);
            }
            self.disk.sync_folder(&self.place.folder).map_err(|e| failed("sync the folder of", e))?;
        }
        let mut bytes = file.read(0, stat.len).map_err(|e| failed("read", e))?;
        if file.stat().map_err(|e| failed("look at", e))? != *stat || bytes.len() as u64 != stat.len {
            return Ok(false);
        }
        let mut known = Known { stat: Some(*stat), epoch: word.epoch(), ..Known::default() };
        let suspect = if let Word::Suspect(record) = word { Some(record.stat.len) } else { None };
        let durable = suspect.and_then(|len| appended_at(&bytes, len));
        bytes.truncate(durable.unwrap_or(bytes.len()));
        let new = read_all(&bytes, &mut known, &image.read());
        known.suspect = suspect.is_some();
        known.rewrite |= known.suspect;
        known.torn = known.torn.or(durable.map(|len| len as u64));
        if let Some(damage) = &new.damage
            && image.read().damage.as_ref() != Some(damage)
        {
            tracing::error!("{}, line {}: {}", self.place.data.display(), damage.fault.line, damage.fault.text);
        }
        *image.write() = new;
        self.known = known;
        Ok(true)
    }
}

/// The offset `len`, if what stands behind it is an append of ours, and not what a person made of the file since.
fn appended_at(bytes: &[u8], len: u64) -> Option<usize> {
    let (before, behind) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    (before.ends_with(b"\n...\n") && behind.starts_with(b"---\n")).then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_only_of_the_file_that_it_describes() {
        let stat = Stat { inode: 7, len: 100, ..Stat::default() };
        let longer = Stat { len: 120, ..stat };
        let other = Stat { inode: 8, ..stat };
        let record = |stat, suspect| Some(Record { epoch: 3, stat, suspect });
        let durable = Word::of(record(stat, false), &stat);
        assert_eq!((durable.epoch(), durable.synced()), (Some(3), Some(100)));
        let outdated = Word::of(record(stat, false), &longer);
        assert!(matches!(outdated, Word::Outdated(_)));
        assert_eq!((outdated.epoch(), outdated.synced()), (None, Some(100)));
        for now in [stat, longer] {
            let suspect = Word::of(record(stat, true), &now);
            assert!(matches!(suspect, Word::Suspect(_)) && suspect.epoch().is_none());
        }
        for suspect in [false, true] {
            assert_eq!(Word::of(record(other, suspect), &stat), Word::Nothing);
        }
        assert_eq!(Word::of(None, &stat), Word::Nothing);
    }
}
