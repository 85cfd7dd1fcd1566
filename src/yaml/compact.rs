//! Folding the log into the snapshot, while readers and writers go on.
//!
//! The snapshot is written beside from memory, a part at a time, so it may hold writes that came after its beginning.
//! The log from that beginning on is then copied behind it: replaying it leads to the same state, since each line tells
//! the whole of its entry. Writers wait only while the last bytes of the log are copied and the new file is put in place.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bucket::BucketStore;
use super::disk::{File, Hold, Open};
use super::document::{finish, head};
use super::file::{discard, own};
use super::line;
use crate::model::{Error, Key, Kind, Result};
use crate::store::Report;

/// So many entries are written under one look at the image.
const PART: usize = 2048;

/// The file as it was when the compaction began.
#[derive(Clone)]
struct Begin {
    /// Its path.
    data: PathBuf,
    /// That of the file beside.
    beside: PathBuf,
    /// The length of what was committed.
    committed: u64,
    epoch: u64,
}

/// A file that is being written beside.
struct Beside {
    file: Arc<dyn File>,
    len: u64,
}

impl Beside {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(self.len, bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Copies the bytes between two offsets of a log.
    fn copy(&mut self, log: &dyn File, from: u64, to: u64) -> io::Result<()> {
        self.push(&log.read(from, to.saturating_sub(from))?)
    }
}

impl BucketStore {
    /// Folds the log into the snapshot and leaves out what has expired.
    ///
    /// # Errors
    /// `Busy` if another does so already, or edits the file; `Damaged`. The bucket is as it was then.
    pub(super) fn compact(&self) -> Result<Report> {
        let done = match self.try_compact() {
            // Once it is done there is room to keep again.
            Err(error) if error.kind() == Kind::Full && self.file.lock().release() => self.try_compact(),
            other => other,
        };
        if let Err(error) = &done
            && error.kind() != Kind::Busy
        {
            self.file.lock().not_replaced = Some(error.copied());
        }
        done
    }

    fn try_compact(&self) -> Result<Report> {
        let Some(begin) = self.settle()? else { return Ok(Report::default()) };
        let mut beside = Beside { file: self.own(&begin.beside)?, len: 0 };
        let done = self.fold(&begin, &mut beside);
        if done.is_err() {
            discard(&*self.options.disk, &*beside.file, &begin.beside);
        }
        done
    }

    /// Compacts if there is something that has expired; else the file is left as it is.
    ///
    /// # Errors
    /// As of [`compact`](Self::compact).
    pub(super) fn purge(&self) -> Result<Report> {
        let image = self.current_now()?;
        let now = self.options.clock.now();
        let entries = image.entries.values().filter(|entry| entry.is_live(now)).count();
        if entries < image.entries.len() || image.damage.is_some() {
            drop(image);
            self.turn(Hold::Exclusive)?.ensure_own()?;
            return self.compact();
        }
        let bytes = image.stat.map_or(0, |stat| stat.len);
        Ok(Report { entries: entries as u64, bytes_before: bytes, bytes_after: bytes, ..Report::default() })
    }

    /// Writes the file beside and puts it in place.
    fn fold(&self, begin: &Begin, beside: &mut Beside) -> Result<Report> {
        let failed = |e| self.place.failed("compact", e);
        let mut report = Report { bytes_before: begin.committed, ..Report::default() };
        let log = self.options.disk.open(&begin.data, Open::Read).map_err(failed)?;
        beside.file.resemble(&*log).map_err(failed)?;
        self.write_snapshot(beside, &mut report).map_err(failed)?;
        let snapshot = beside.len;
        // What came meanwhile is copied and synced before the lock is taken, so that little is left for then.
        let so_far = self.file.lock().known.clone();
        let middle = if so_far.epoch == Some(begin.epoch) { so_far.committed } else { begin.committed };
        beside.copy(&*log, begin.committed, middle).map_err(failed)?;
        beside.file.sync().map_err(failed)?;

        let mut file = self.turn(Hold::Exclusive)?;
        file.catch_up(&self.image)?;
        if file.known.epoch != Some(begin.epoch) {
            return Err(Error::new(Kind::Busy, "the bucket was written anew by another meanwhile; try again"));
        }
        let end = file.known.committed;
        if end > middle {
            beside.copy(&*log, middle, end).map_err(failed)?;
            beside.file.sync().map_err(failed)?;
        }
        report.bytes_after = beside.len;
        file.replace(&beside.file, &begin.beside, snapshot)?;
        let mut image = self.image.write();
        image.stat = file.known.stat;
        if report.removed > 0 {
            // What the file no longer holds need not be held in memory either.
            let now = self.options.clock.now();
            image.entries.retain(|_, entry| entry.is_live(now));
        }
        Ok(report)
    }

    /// Brings the file into a state that can be appended to. None if there is no file.
    fn settle(&self) -> Result<Option<Begin>> {
        let stat = self.options.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
        if stat.is_none() {
            return Ok(None);
        }
        let mut file = self.turn(Hold::Exclusive)?;
        file.catch_up(&self.image)?;
        if let Some(damage) = &self.image.read().damage {
            return Err(self.damaged(damage));
        }
        file.prepare(&self.image, &*self.options.clock)?;
        file.ensure_epoch();
        self.image.write().stat = file.known.stat;
        let (data, beside) = (file.place.data.clone(), file.place.beside("compact"));
        Ok(file.known.epoch.map(|epoch| Begin { data, beside, committed: file.known.committed, epoch }))
    }

    /// Opens the file beside, as the only one who writes it.
    fn own(&self, path: &Path) -> Result<Arc<dyn File>> {
        let disk = &*self.options.disk;
        let owned = match own(disk, path, Open::Private) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                // Another user left it, or is writing it, but then puts it in place only if it has its name still.
                let _turn = self.turn(Hold::Exclusive)?;
                disk.remove(path).and_then(|()| own(disk, path, Open::Private))
            }
            other => other,
        };
        let busy = || Error::new(Kind::Busy, "another process is compacting this bucket already");
        owned.map_err(|e| self.place.failed("compact", e))?.ok_or_else(busy)
    }

    fn write_snapshot(&self, beside: &mut Beside, report: &mut Report) -> io::Result<()> {
        let now = self.options.clock.now();
        let mut text = head(&self.place.bucket, self.image.read().revision);
        let mut last: Option<Key> = None;
        loop {
            let mut seen = 0;
            let image = self.image.read();
            let from = last.take().map_or(Bound::Unbounded, Bound::Excluded);
            for (key, entry) in image.entries.range((from, Bound::Unbounded)).take(PART) {
                seen += 1;
                if entry.is_live(now) {
                    report.entries += 1;
                    line::write(&mut text, key, Some(entry), None);
                } else {
                    report.removed += 1;
                }
                last = Some(key.clone());
            }
            drop(image);
            beside.push(&text)?;
            text.clear();
            if seen < PART {
                break;
            }
        }
        finish(&mut text, report.entries == 0);
        beside.push(&text)
    }
}
