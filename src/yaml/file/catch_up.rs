//! Catching up with what others did to the data file: taking in what was added, else reading all of it.
//!
//! What the image shows afterwards is durable. It writes nothing to the data file.

use std::time::Duration;

use parking_lot::RwLock;

use super::super::disk::Stat;
use super::super::hand::Fault;
use super::super::image::{Damage, Image, Unstamped};
use super::super::load::{Known, Left, Source, read_all};
use super::super::lock::{self, Record};
use super::super::{reader, rest, stream};
use super::DataFile;
use super::copy::read_last;
use crate::model::{Error, Kind, Result};

/// So often a file that is being changed is looked at, with a pause after each look.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

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

    /// How the file with these bytes was left by the last writer.
    fn left(&self, bytes: &[u8], record: Option<Record>) -> Left {
        match self {
            Self::Durable(_) | Self::Suspect(_) => Left::So,
            // A writer died after an append.
            Self::Outdated(record) if appended_at(bytes, record.stat.len).is_some() => Left::Likely,
            // Programs before there were copies left entries that say all of themselves.
            _ if record.is_some_and(|record| record.has_copy.is_some()) => Left::Otherwise,
            _ => Left::Unsaid,
        }
    }

    /// How many of these bytes of the file are durable for certain.
    ///
    /// After a sync that failed the record may speak of a file that was not recorded before, up to its torn tail.
    fn durable(&self, bytes: &[u8]) -> u64 {
        let len = self.synced().unwrap_or(0);
        let is_committed = || {
            let end = usize::try_from(len).ok().and_then(|len| bytes.get(..len));
            end.is_some_and(|bytes| bytes.ends_with(b"\n...\n"))
        };
        if matches!(self, Self::Suspect(_)) && !is_committed() { 0 } else { len }
    }
}

impl DataFile {
    /// How many bytes of the file are known to be durable. Under the lock, however held.
    pub(in crate::yaml) fn durable(&self, stat: &Stat, bytes: &[u8]) -> Result<u64> {
        Ok(durable(self.record()?, stat, bytes))
    }

    /// Brings the image up to what the file holds and makes sure that all of it is durable. Under the lock, however held.
    pub(in crate::yaml) fn catch_up(&mut self, image: &RwLock<Image>) -> Result<()> {
        // A person's editor does not take the lock, so the file may change while it is read.
        for look in 1..=LOOKS {
            let last_look = look == LOOKS;
            let stat = self.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
            if stat == self.known.stat && image.read().stat == stat {
                match stat {
                    Some(stat) => {
                        self.open(&stat)?;
                        self.record_if_alone(image);
                        return Ok(());
                    }
                    None if self.known.vanished => return Ok(()),
                    // The lock file may know of a data file that is missing.
                    None => {}
                }
            }
            let record = self.record()?;
            if stat.is_none_or(|stat| stat.len == 0) && was_there(&image.read(), record) {
                // An editor that saves in place empties the file first.
                if last_look || stat.is_none() {
                    self.vanished(image, stat);
                    return Ok(());
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            let Some(stat) = stat else {
                self.known = Known::default();
                self.file = None;
                let revision = image.read().revision;
                *image.write() = Image { revision, ..Image::default() };
                return Ok(());
            };
            self.open(&stat)?;
            let word = Word::of(record, &stat);
            let appended = matches!(word, Word::Durable(record) if self.is_appended(&record));
            let taken = if appended { self.take_tail(image, &stat)? } else { false };
            if taken || self.load(image, &stat, record)? {
                self.record_if_alone(image);
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(Error::new(Kind::Busy, "the data file is being edited; try again"))
    }

    /// Records what a person did, if nobody else has the bucket.
    fn record_if_alone(&mut self, image: &RwLock<Image>) {
        if self.known.edited.is_none() || !self.locks.lock().is_exclusive() {
            return;
        }
        if let Err(error) = self.record_edit(image) {
            // The next write fails for it.
            tracing::error!("{error}");
        }
    }

    fn is_appended(&self, record: &Record) -> bool {
        let known = &self.known;
        known.epoch == Some(record.epoch)
            && known.torn.is_none()
            && known.stat.is_some_and(|s| s.inode == record.stat.inode)
            && record.stat.len >= known.committed
    }

    /// The file was there and is not, or it is empty: a person did that by mistake, or the disk is not mounted. Nothing is
    /// written in its place, and what was known is served.
    fn vanished(&mut self, image: &RwLock<Image>, stat: Option<Stat>) {
        self.known = Known { stat, vanished: true, ..Known::default() };
        self.file = None;
        let mut image = image.write();
        let was_good = image.is_good();
        let last = if was_good { None } else { read_last(&*self.disk, &self.place) };
        let blind = !was_good && last.is_none();
        let mut new = last.map_or_else(|| image.clone(), |last| last.image);
        (new.stat, new.damage) = (stat, Some(Damage { faults: vec![loss(stat)], blind }));
        self.report(&image, &new);
        *image = new;
    }

    /// Logs damage that is new.
    fn report(&self, old: &Image, new: &Image) {
        if let Some(damage) = &new.damage
            && old.damage.as_ref() != Some(damage)
        {
            tracing::error!("{}", damage.of(&self.place.data.display().to_string()));
        }
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
            match reader::read(piece) {
                Ok(document) if piece.ended && !document.by_hand && !document.has_notes => documents.push(document),
                _ => return Ok(false),
            }
        }
        let mut image = image.write();
        for document in documents {
            image.take(document.lines, &mut Unstamped::default());
        }
        image.stat = Some(*stat);
        self.known.stat = Some(*stat);
        (self.known.committed, self.known.mark, self.known.is_tidy) = (stat.len, b"", false);
        Ok(true)
    }

    /// What the last writer left in the lock file.
    fn record(&self) -> Result<Option<Record>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        lock::read(&**lock).map_err(|e| self.place.failed("read the lock file of", e))
    }

    /// Reads the whole file. False: it changed meanwhile.
    fn load(&mut self, image: &RwLock<Image>, stat: &Stat, record: Option<Record>) -> Result<bool> {
        let word = Word::of(record, stat);
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
        let is_small = self.copy.goes_on(stat.len);
        let last = if is_small { read_last(&*self.disk, &self.place) } else { None };
        let is_known = matches!(word, Word::Durable(_) | Word::Suspect(_));
        let left = match self.announced(&bytes, stat).filter(|_| !is_known) {
            // Perhaps somebody has put it back so; then the copy knows what was appended since.
            Some(len) if len == bytes.len() || appended_at(&bytes, len as u64).is_some() => Left::Likely,
            _ => word.left(&bytes, record),
        };
        let source = Source { bytes: &bytes, durable: word.durable(&bytes), last: last.as_ref(), left, is_small };
        let (new, overwritten) = read_all(&source, &mut known, &image.read());
        known.suspect = suspect.is_some();
        known.torn = known.torn.or(durable.map(|len| len as u64));
        self.copy.found(known.is_copied);
        self.copy.overwritten.add(overwritten);
        self.report(&image.read(), &new);
        *image.write() = new;
        self.known = known;
        Ok(true)
    }
}

/// How many of these bytes of the file are durable for certain, by the record in its lock file.
pub(in crate::yaml) fn durable(record: Option<Record>, stat: &Stat, bytes: &[u8]) -> u64 {
    Word::of(record, stat).durable(bytes)
}

/// What is wrong with a file that was there and is missing, or empty.
pub(in crate::yaml) fn loss(stat: Option<Stat>) -> Fault {
    let what = if stat.is_some() { "is empty" } else { "is missing" };
    let text = format!(
        "the file {what}, but the bucket had data in it; put the file back (is its disk mounted?), or, to begin anew, save a \
         file of this name with the one line ---"
    );
    Fault { line: 0, text }
}

/// Whether the bucket had a file with data in it, as far as this process or the last writer knows.
pub(in crate::yaml) fn was_there(image: &Image, record: Option<Record>) -> bool {
    let known = image.damage.is_some() || image.stat.is_some_and(|stat| stat.len > 0);
    known || record.is_some_and(|record| record.stat.len > 0)
}

/// The offset `len`, if what stands behind it is an append of ours, and not what a person made of the file since.
fn appended_at(bytes: &[u8], len: u64) -> Option<usize> {
    let (before, behind) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    let mark = if before.ends_with(b"\n...\n") { b"" } else { rest::mark(before) };
    let begin = [mark, b"---\n"].concat();
    // Some of it may not have reached the disk.
    let is_append = !behind.is_empty() && behind.iter().zip(&begin).all(|(byte, wanted)| byte == wanted || *byte == 0);
    is_append.then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_only_of_the_file_that_it_describes() {
        let stat = Stat { inode: 7, len: 100, ..Stat::default() };
        let longer = Stat { len: 120, ..stat };
        let other = Stat { inode: 8, ..stat };
        let record = |stat, suspect| Some(Record { epoch: 3, stat, suspect, has_copy: None });
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
