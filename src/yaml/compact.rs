//! Folding the log into the snapshot, while readers and writers go on.
//!
//! The snapshot is written beside from memory, a part at a time, so it may hold writes that came after its beginning.
//! The log from that beginning on is then copied behind it: replaying it leads to the same state, since each line tells
//! the whole of its entry. Writers wait only while the last bytes of the log are copied and the new file is put in place.

use std::ops::Bound;
use std::path::Path;

use super::bucket::BucketStore;
use super::disk::{File, Hold, Open};
use super::document::{finish, head};
use super::line;
use crate::model::{Error, Key, Kind, Result};
use crate::store::Report;

/// So many entries are written under one look at the image.
const PART: usize = 2048;

/// The file as it was when the compaction began.
#[derive(Clone, Copy)]
struct Begin {
    /// The length of what was committed.
    committed: u64,
    epoch: u64,
}

/// A file that is being written beside.
struct Beside {
    file: Box<dyn File>,
    len: u64,
}

impl Beside {
    fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write(self.len, bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Copies the bytes between two offsets of a log.
    fn copy(&mut self, log: &dyn File, from: u64, to: u64) -> std::io::Result<()> {
        self.push(&log.read(from, to.saturating_sub(from))?)
    }
}

impl BucketStore {
    /// Folds the log into the snapshot and leaves out what has expired.
    ///
    /// # Errors
    /// `Busy` if another does so already, or edits the file; `Damaged`. The bucket is as it was then.
    pub(super) fn compact(&self) -> Result<Report> {
        let Some(begin) = self.settle()? else { return Ok(Report::default()) };
        let path = self.place.beside("compact");
        let mut beside = Beside { file: self.own(&path)?, len: 0 };
        let done = self.fold(begin, &mut beside, &path);
        if done.is_err() && self.is_named(&*beside.file, &path).unwrap_or(false) {
            // Perhaps the disk is full. If it cannot be removed, the next compaction writes over it.
            let _ = self.options.disk.remove(&path);
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
            return self.compact();
        }
        let bytes = image.stat.map_or(0, |stat| stat.len);
        Ok(Report { entries: entries as u64, bytes_before: bytes, bytes_after: bytes, ..Report::default() })
    }

    /// Writes the file beside and puts it in place.
    fn fold(&self, begin: Begin, beside: &mut Beside, path: &Path) -> Result<Report> {
        let failed = |e| self.place.failed("compact", e);
        let mut report = Report { bytes_before: begin.committed, ..Report::default() };
        beside.file.truncate(0).map_err(failed)?;
        self.write_snapshot(beside, &mut report).map_err(failed)?;
        let snapshot = beside.len;
        // What came meanwhile is copied and synced before the lock is taken, so that little is left for then.
        let log = self.options.disk.open(&self.place.data, Open::Read).map_err(failed)?;
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
        file.replace(&*beside.file, path, snapshot)?;
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
        Ok(file.known.epoch.map(|epoch| Begin { committed: file.known.committed, epoch }))
    }

    /// Opens the file beside, as the only one who writes it.
    ///
    /// Another may have put it in place as the data file between our opening and our lock, so its name is looked up again.
    fn own(&self, path: &Path) -> Result<Box<dyn File>> {
        let failed = |e| self.place.failed("compact", e);
        for _ in 0..10 {
            let file = self.options.disk.open(path, Open::Create).map_err(failed)?;
            if !file.try_lock(Hold::Exclusive).map_err(failed)? {
                break;
            }
            if self.is_named(&*file, path).map_err(failed)? {
                return Ok(file);
            }
        }
        Err(Error::new(Kind::Busy, "another process is compacting this bucket already"))
    }

    /// Whether this name stands for this file.
    fn is_named(&self, file: &dyn File, path: &Path) -> std::io::Result<bool> {
        let named = self.options.disk.stat(path)?;
        Ok(named.map(|s| s.inode) == Some(file.stat()?.inode))
    }

    fn write_snapshot(&self, beside: &mut Beside, report: &mut Report) -> std::io::Result<()> {
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
