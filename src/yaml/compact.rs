//! Folding the log into the snapshot, while readers and writers go on.
//!
//! The snapshot is written beside from memory, a part at a time, so it may hold writes that came after its beginning.
//! The log from that beginning on is then copied behind it: replaying it leads to the same state, since each line tells
//! the whole of its entry. Writers wait only while the last bytes of the log are copied and the new file is put in place.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bucket::BucketStore;
use super::disk::{File, Hold, Open};
use super::document::header;
use super::file::{Written, discard, own};
use super::line;
use super::rest::{self, Said};
use crate::model::{Error, Key, Kind, Result};
use crate::store::Report;

/// So often somebody who waits for another compaction looks again.
const PATIENCE: Duration = Duration::from_millis(5);

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
    /// What the next append puts before it.
    mark: &'static [u8],
    is_plain: bool,
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

    /// Copies what was appended since the compaction began, up to an offset.
    fn copy_log(&mut self, log: &dyn File, begin: &Begin, mark: &[u8], to: u64) -> io::Result<()> {
        if to > begin.committed {
            self.push(mark)?;
            self.copy(log, begin.committed + begin.mark.len() as u64, to)?;
        }
        Ok(())
    }
}

/// How the entries are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// As they are, new ones at the end.
    Kept,
    /// In the order of the keys.
    Sorted,
}

impl BucketStore {
    /// Folds the log into the snapshot and leaves out what has expired.
    ///
    /// # Errors
    /// `Busy` if another does so already, or edits the file; `Damaged`. The bucket is as it was then.
    pub(super) fn compact(&self) -> Result<Report> {
        self.compact_in(Order::Kept)
    }

    /// The same, with the entries in this order.
    ///
    /// # Errors
    /// As of [`compact`](Self::compact).
    fn compact_in(&self, order: Order) -> Result<Report> {
        let busy = || Error::new(Kind::Busy, "another process is compacting this bucket already");
        self.compact_alone(order).and_then(|done| done.ok_or_else(busy))
    }

    /// The same; none if another does so already.
    fn compact_alone(&self, order: Order) -> Result<Option<Report>> {
        let _alone = self.compacting.lock();
        let done = match self.try_compact(order) {
            // Once it is done there is room to keep again.
            Err(error) if error.kind() == Kind::Full && self.file.lock().release() => self.try_compact(order),
            other => other,
        };
        if let Err(error) = &done
            && error.kind() != Kind::Busy
        {
            self.file.lock().not_replaced = Some(error.copied());
        }
        done
    }

    /// The same for somebody who asked for it: waits for others who do so as long as for a lock.
    ///
    /// # Errors
    /// As of [`compact`](Self::compact).
    pub(super) fn compact_patiently(&self, order: Order) -> Result<Report> {
        let deadline = self.deadline();
        while Instant::now() < deadline {
            match self.compact_alone(order)? {
                Some(report) => return Ok(report),
                None => std::thread::sleep(PATIENCE),
            }
        }
        self.compact_in(order)
    }

    fn try_compact(&self, order: Order) -> Result<Option<Report>> {
        let Some(begin) = self.settle()? else { return Ok(Some(Report::default())) };
        let Some(file) = self.own(&begin.beside)? else { return Ok(None) };
        let mut beside = Beside { file, len: 0 };
        let done = self.fold(&begin, &mut beside, order);
        if done.is_err() {
            discard(&*self.options.disk, &*beside.file, &begin.beside);
        }
        done.map(Some)
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
            return self.compact_patiently(Order::Kept);
        }
        let bytes = image.stat.map_or(0, |stat| stat.len);
        Ok(Report { entries: entries as u64, bytes_before: bytes, bytes_after: bytes, ..Report::default() })
    }

    /// Writes the file beside and puts it in place.
    fn fold(&self, begin: &Begin, beside: &mut Beside, order: Order) -> Result<Report> {
        let failed = |e| self.place.failed("compact", e);
        let mut report = Report { bytes_before: begin.committed, ..Report::default() };
        let log = self.options.disk.open(&begin.data, Open::Read).map_err(failed)?;
        beside.file.resemble(&*log).map_err(failed)?;
        let is_small = begin.committed <= self.options.tidy_up_to;
        let mark = if begin.is_plain && !is_small && order == Order::Kept {
            self.write_plain(beside, &mut report).map_err(failed)?
        } else {
            self.write_tidied((beside, &*log), begin, order, &mut report)?
        };
        let snapshot = beside.len;
        // What came meanwhile is copied and synced before the lock is taken, so that little is left for then.
        let so_far = self.file.lock().known.clone();
        let middle = if so_far.epoch == Some(begin.epoch) { so_far.committed } else { begin.committed };
        beside.copy_log(&*log, begin, mark, middle).map_err(failed)?;
        beside.file.sync().map_err(failed)?;

        let mut file = self.turn(Hold::Exclusive)?;
        file.catch_up(&self.image)?;
        if file.known.epoch != Some(begin.epoch) {
            return Err(Error::new(Kind::Busy, "the bucket was written anew by another meanwhile; try again"));
        }
        let end = file.known.committed;
        if end > middle {
            if middle > begin.committed {
                beside.copy(&*log, middle, end).map_err(failed)?;
            } else {
                beside.copy_log(&*log, begin, mark, end).map_err(failed)?;
            }
            beside.file.sync().map_err(failed)?;
        }
        report.bytes_after = beside.len;
        let is_tidy = end == begin.committed;
        let mark = if is_tidy { mark } else { b"" };
        let written = Written { path: &begin.beside, snapshot, mark, is_tidy, is_plain: begin.is_plain };
        file.replace(&beside.file, &written, Some(&self.image))?;
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
        let known = &file.known;
        let (committed, mark, is_plain) = (known.committed, known.mark, known.is_plain);
        Ok(known.epoch.map(|epoch| Begin { data, beside, committed, mark, is_plain, epoch }))
    }

    /// Opens the file beside, as the only one who writes it. None: another does.
    fn own(&self, path: &Path) -> Result<Option<Arc<dyn File>>> {
        let disk = &*self.options.disk;
        let owned = match own(disk, path, Open::Private) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                // Another user left it, or is writing it, but then puts it in place only if it has its name still.
                let _turn = self.turn(Hold::Exclusive)?;
                disk.remove(path).and_then(|()| own(disk, path, Open::Private))
            }
            other => other,
        };
        owned.map_err(|e| self.place.failed("compact", e))
    }

    /// Writes the lines that are there, with what has changed. Returns the mark that is to follow them.
    fn write_tidied(
        &self,
        (beside, log): (&mut Beside, &dyn File),
        begin: &Begin,
        order: Order,
        report: &mut Report,
    ) -> Result<&'static [u8]> {
        let failed = |e| self.place.failed("compact", e);
        let bytes = log.read(0, begin.committed).map_err(failed)?;
        // A clone, so that nobody waits meanwhile.
        let (entries, revision) = {
            let image = self.image.read();
            (image.entries.clone(), image.revision)
        };
        let now = self.options.clock.now();
        let has_copy = begin.committed <= self.options.tidy_up_to && self.file.lock().can_have_copy();
        let said = Said { bucket: &self.place.bucket, entries: &entries, revision, now, has_copy };
        let text = match order {
            Order::Kept => rest::tidied(&bytes, &said),
            Order::Sorted => rest::sorted(&bytes, &said),
        };
        let text = text.map_err(|fault| Error::new(Kind::Damaged, fault.of(self.place.data.display())))?;
        report.entries = entries.values().filter(|entry| entry.is_live(now)).count() as u64;
        report.removed = entries.len() as u64 - report.entries;
        beside.push(&text).map_err(failed)?;
        Ok(rest::mark(&text))
    }

    /// Writes the entries in the order of their keys, a part at a time. Returns the mark that is to follow them.
    fn write_plain(&self, beside: &mut Beside, report: &mut Report) -> io::Result<&'static [u8]> {
        let now = self.options.clock.now();
        let mut text = header(&self.place.bucket, self.image.read().revision).into_bytes();
        let mut last: Option<Key> = None;
        loop {
            let mut seen = 0;
            let image = self.image.read();
            let from = last.take().map_or(Bound::Unbounded, Bound::Excluded);
            for (key, entry) in image.entries.range((from, Bound::Unbounded)).take(PART) {
                seen += 1;
                if entry.is_live(now) {
                    report.entries += 1;
                    line::write_at_rest(&mut text, key, entry);
                } else {
                    report.removed += 1;
                }
                last = Some(key.clone());
            }
            drop(image);
            beside.push(&text)?;
            if seen < PART {
                return Ok(rest::mark(&text));
            }
            text.clear();
        }
    }
}
