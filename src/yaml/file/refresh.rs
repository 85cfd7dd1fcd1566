//! Bringing the state up to date with the data file: reading what was appended, or else the whole file.
//!
//! The state is durable afterwards. The data file is not changed.

use std::io;
use std::time::Duration;

use parking_lot::RwLock;

use super::data_file::DataFile;
use super::known_file::{AppendState, KnownFile};
use super::last_copy::{read_last, sync_last};
use super::last_copy_format::Fingerprint;
use super::load::{FileChange, LoadInput, load_bytes};
use super::lock;
use super::lock::LockRecord;
use super::record_match::{RecordMatch, appended_at, durable};
use crate::model::{Result, Revision};
use crate::store::RecentChanges;
use crate::yaml::blocking::blocking;
use crate::yaml::format::parse_error::ParseError;
use crate::yaml::format::{reader, stream};
use crate::yaml::fs::{FileBytes, OpenMode, Stat};
use crate::yaml::state::{BucketState, Damage, FileHistory, Unstamped};

/// The target of the log entry for a file that cannot be read.
pub const DAMAGE_LOG_TARGET: &str = "kvs::yaml::damage";

/// The maximum number of attempts to read a file that is being changed.
const MAX_READ_ATTEMPTS: u32 = 20;
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

impl DataFile {
    /// The number of these bytes that are certainly durable. Under the lock, in any mode.
    pub(crate) fn durable(&self, stat: &Stat, bytes: &[u8]) -> Result<u64> {
        Ok(durable(self.record()?, stat, bytes))
    }

    /// Brings the state up to date with the file, and makes sure that it is durable. Under the lock, in any mode.
    pub(crate) fn refresh(&mut self, state: &RwLock<BucketState>) -> Result<()> {
        self.refresh_reading(state).map(drop)
    }

    /// Like [`refresh`](Self::refresh). Returns the bytes of the whole file if it had to be read.
    pub(crate) fn refresh_reading(&mut self, state: &RwLock<BucketState>) -> Result<Option<FileBytes>> {
        // An editor does not take the lock, so the file may change while it is read.
        for attempt in 1..=MAX_READ_ATTEMPTS {
            let is_last_attempt = attempt == MAX_READ_ATTEMPTS;
            let stat = self.fs.stat(&self.paths.data).map_err(|e| self.paths.failed("inspect", e))?;
            if stat == self.known.stat && state.read().stat == stat {
                match stat {
                    // A writer could not undo its append. What is appended now would not be told apart from it.
                    Some(_) if self.known.append_state != AppendState::Suspect && self.is_suspect()? => {}
                    Some(stat) => {
                        self.open(&stat)?;
                        self.record_if_alone(state);
                        return Ok(None);
                    }
                    None if self.known.append_state == AppendState::Vanished => return Ok(None),
                    // The lock file may have a record of a data file that is missing.
                    None => {}
                }
            }
            let record = self.record()?;
            if stat.is_none_or(|stat| stat.len == 0) && had_data(&state.read(), record) {
                // An editor that saves in place empties the file first.
                if is_last_attempt || stat.is_none() {
                    self.vanished(state, stat);
                    return Ok(None);
                }
                blocking(|| std::thread::sleep(RETRY_INTERVAL));
                continue;
            }
            let Some(stat) = stat else {
                self.known = KnownFile::default();
                self.file = None;
                let revision = state.read().revision;
                let recent = RecentChanges::after(revision);
                *state.write() = BucketState { revision, recent, ..BucketState::default() };
                return Ok(None);
            };
            self.open(&stat)?;
            let is_loaded = match RecordMatch::of(record, &stat) {
                RecordMatch::Durable(record) if self.is_appended(&record) => {
                    // Another process may have failed to append to the copy.
                    self.copy.matches_file &= record.has_copy == Some(true);
                    self.load_tail(state, &stat)?
                }
                _ => false,
            };
            let bytes = if is_loaded { None } else { blocking(|| self.load(state, &stat, record))? };
            if is_loaded || bytes.is_some() {
                self.record_if_alone(state);
                return Ok(bytes);
            }
            blocking(|| std::thread::sleep(RETRY_INTERVAL));
        }
        Err(self.paths.busy("its data file is being edited; try again"))
    }

    /// The bytes of the data file, if all of it is durable, as its last writer left it, and if there is a copy of it.
    pub(crate) fn read_if_durable_and_copied(&self) -> Option<FileBytes> {
        let stat = self.fs.stat(&self.paths.data).ok()??;
        match RecordMatch::of(self.record().ok()?, &stat) {
            RecordMatch::Durable(record) if record.has_copy == Some(true) => {}
            _ => return None,
        }
        let file = self.data_io().ok()?;
        let bytes = file.read(0, stat.len).ok()?;
        // An editor does not take the lock.
        (file.stat().ok()? == stat).then_some(bytes)
    }

    /// Whether this process has the exclusive lock, and another one has found that bytes of the file may not be durable.
    fn is_suspect(&self) -> Result<bool> {
        let Some(lock) = self.lock.as_ref().filter(|_| self.locks.lock().is_exclusive()) else { return Ok(false) };
        if !lock::may_be_suspect(&**lock).map_err(|e| self.paths.failed("read the lock file of", e))? {
            return Ok(false);
        }
        let is_this = |record: &LockRecord| self.known.stat.is_some_and(|stat| stat.inode == record.stat.inode);
        Ok(self.record()?.is_some_and(|record| record.suspect && is_this(&record)))
    }

    /// Records an edit by a person, if this process has the exclusive lock.
    fn record_if_alone(&mut self, state: &RwLock<BucketState>) {
        if self.known.edited.is_none() || !self.locks.lock().is_exclusive() {
            return;
        }
        if let Err(error) = self.record_edit(state) {
            // The next write fails with this error.
            tracing::error!("{error}");
        }
    }

    fn is_appended(&self, record: &LockRecord) -> bool {
        let known = &self.known;
        known.epoch == Some(record.epoch)
            && known.torn.is_none()
            && known.stat.is_some_and(|s| s.inode == record.stat.inode)
            && record.stat.len >= known.committed
    }

    /// The file is missing or empty, but had data: a person made a mistake, or the disk is not mounted. Nothing is
    /// written in its place, and the last good state is served.
    fn vanished(&mut self, state: &RwLock<BucketState>, stat: Option<Stat>) {
        self.known = KnownFile { stat, append_state: AppendState::Vanished, ..KnownFile::default() };
        self.file = None;
        let mut state = state.write();
        let was_good = state.is_good();
        let last = if was_good { None } else { read_last(&*self.fs, &self.paths).ok().flatten() };
        let blind = !was_good && last.is_none();
        let damage = Damage { errors: vec![missing_file_error(stat)], blind };
        self.report(state.damage.as_ref(), Some(&damage));
        if let Some(last) = last {
            *state = last.state;
            state.recent = RecentChanges::after(state.revision);
        }
        (state.stat, state.damage) = (stat, Some(damage));
    }

    /// Logs damage that is new.
    fn report(&self, old: Option<&Damage>, new: Option<&Damage>) {
        if let Some(damage) = new
            && old != new
        {
            tracing::error!(target: DAMAGE_LOG_TARGET, "{}", damage.of(&self.paths.data.display().to_string()));
        }
    }

    /// Reads what was appended, which the record says is durable. Returns false if the whole file must be read instead.
    fn load_tail(&mut self, state: &RwLock<BucketState>, stat: &Stat) -> Result<bool> {
        let from = self.known.committed;
        let len = stat.len.saturating_sub(from);
        let bytes = self.data()?.read(from, len).map_err(|e| self.paths.failed("read", e))?;
        let stream = stream::split_appended(&bytes);
        if stream.torn.is_some() || bytes.len() as u64 != len {
            return Ok(false);
        }
        let mut documents = Vec::new();
        for raw in &stream.documents {
            match reader::read(raw) {
                Ok(document) if raw.ended && !document.by_hand && !document.has_notes => documents.push(document),
                _ => return Ok(false),
            }
        }
        let mut state = state.write();
        for document in documents {
            for line in &document.lines {
                state.recent.add(line.revision_reached(), line.key.clone());
            }
            state.apply(document, &mut Unstamped::default());
        }
        state.stat = Some(*stat);
        self.known.stat = Some(*stat);
        (self.known.committed, self.known.mark, self.known.is_tidy) = (stat.len, b"", false);
        Ok(true)
    }

    /// The record in the lock file.
    fn record(&self) -> Result<Option<LockRecord>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        lock::read(&**lock).map_err(|e| self.paths.failed("read the lock file of", e))
    }

    /// Reads the whole file and returns its bytes. `None` if it changed meanwhile.
    fn load(
        &mut self,
        state: &RwLock<BucketState>,
        stat: &Stat,
        record: Option<LockRecord>,
    ) -> Result<Option<FileBytes>> {
        let matched = RecordMatch::of(record, stat);
        let failed = |doing: &str, e| self.paths.failed(doing, e);
        let file = self.data()?;
        if !matches!(matched, RecordMatch::Durable(_)) {
            // Its writer may have been killed before the sync, or between the rename and the sync of the folder.
            if let Err(e) = file.sync() {
                let error = failed("sync", e);
                self.distrust(stat, &matched);
                return Err(error);
            }
            if self.copy.can_grow_to(stat.len) {
                sync_last(&*self.fs, &self.paths)?;
            }
            self.fs.sync_folder(&self.paths.folder).map_err(|e| failed("sync the folder of", e))?;
            if let RecordMatch::Suspect(record) = &matched {
                // Otherwise the bytes that it rules out count again after a power cut.
                self.keep_record(record).map_err(|e| failed("sync the lock file of", e))?;
            }
        }
        let bytes = file.read(0, stat.len).map_err(|e| failed("read", e))?;
        if file.stat().map_err(|e| failed("inspect", e))? != *stat || bytes.len() as u64 != stat.len {
            return Ok(None);
        }
        let mut known = KnownFile { stat: Some(*stat), epoch: matched.epoch(), ..KnownFile::default() };
        let suspect = if let RecordMatch::Suspect(record) = matched { Some(record.stat.len) } else { None };
        let durable = suspect.and_then(|len| appended_at(&bytes, len));
        let trusted = bytes.get(..durable.unwrap_or(bytes.len())).unwrap_or_default();
        let is_small = self.copy.can_grow_to(stat.len);
        let last = if is_small { read_last(&*self.fs, &self.paths)? } else { None };
        let change = self.change(&matched, record, trusted, &mut known)?;
        let source = LoadInput {
            stat: Some(*stat),
            bytes: trusted,
            durable: matched.durable(trusted),
            last: last.as_ref(),
            change,
            is_small,
        };
        let loaded =
            load_bytes(&source, self.history(&state.read(), record, &matched, stat), &mut known, &state.read());
        if suspect.is_some() {
            known.append_state = AppendState::Suspect;
        }
        known.torn = known.torn.or(durable.map(|len| len as u64));
        self.copy.found(loaded.is_copied);
        self.copy.overwritten.add(loaded.overwritten);
        self.report(state.read().damage.as_ref(), loaded.state.damage.as_ref());
        *state.write() = loaded.state;
        self.known = known;
        Ok(Some(bytes))
    }

    /// How the file with these bytes has changed since the last writer recorded it. Notes with which announced file it
    /// begins.
    fn change(
        &self,
        matched: &RecordMatch,
        record: Option<LockRecord>,
        bytes: &[u8],
        known: &mut KnownFile,
    ) -> Result<FileChange> {
        let announcement = self.lock.as_ref().map_or(Ok(None), |lock| lock::announced(&**lock));
        let announcement = announcement.map_err(|e| self.paths.failed("read the lock file of", e))?;
        // A power cut may have undone the record.
        let has_copies = announcement.is_some() || record.is_some_and(|record| record.has_copy.is_some());
        let stat = known.stat.unwrap_or_default();
        known.announced = announcement.and_then(|announcement| self.begins_with(announcement, bytes, &stat));
        let change = matched.change(&stat, bytes, has_copies);
        match &known.announced {
            // Perhaps somebody restored it. Then the copy knows what was appended since.
            Some(Fingerprint { len, .. })
                if change != FileChange::Unchanged
                    && (*len == bytes.len() as u64 || appended_at(bytes, *len).is_some()) =>
            {
                Ok(FileChange::Announced)
            }
            _ => Ok(change),
        }
    }

    /// A sync of the file has failed, so nobody knows whether the bytes that are not recorded are durable: the system may
    /// have dropped them, and then a later sync proves nothing. They may all have been acknowledged, if a power cut has
    /// undone the record. So they are written again, as they are, and count after the next sync.
    fn distrust(&mut self, stat: &Stat, matched: &RecordMatch) {
        let from = matched.synced().unwrap_or(0).min(stat.len);
        if let RecordMatch::Suspect(record) = matched {
            // If this fails too, the record is still there: nobody acknowledges anything before it is durable.
            let _ = self.keep_record(record);
        } else if self.write_again(stat, from).is_err() {
            // Everything is written to a new file before the next append.
            self.mark_suspect(LockRecord::without_times(*stat), stat.len);
        }
    }

    /// Makes this record in the lock file durable. Its writer may have failed to sync it, and then the system may have
    /// dropped it. So it is written again, as it is, unless that is forbidden.
    fn keep_record(&self, record: &LockRecord) -> io::Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        // The bytes are the same, so that a part of them does no harm.
        let _ = lock::write(&**lock, record);
        lock.sync()
    }

    fn write_again(&self, stat: &Stat, from: u64) -> io::Result<()> {
        // The other handle writes only at the end.
        let file = self.fs.open(&self.paths.data, OpenMode::Create)?;
        let bytes = file.read(from, stat.len - from)?;
        // An editor does not take the lock.
        if file.stat()? == *stat { file.write(from, &bytes) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// What the lock file says about the changes since the state that this process has.
    fn history(
        &self,
        old: &BucketState,
        record: Option<LockRecord>,
        matched: &RecordMatch,
        stat: &Stat,
    ) -> FileHistory {
        let epoch = matched.epoch();
        let is_replaced = record.is_some() && *matched == RecordMatch::Unrelated;
        FileHistory {
            appended: vec![],
            remembered_up_to: self.remembered_up_to(epoch),
            remembered: if old.is_good() { self.remembered_changes(epoch) } else { None },
            was_current: record.is_some_and(|record| old.stat == Some(record.stat)),
            is_as_copied: false,
            is_replaced,
            changed_at: Revision::new(u64::try_from(stat.changed).unwrap_or(0)),
        }
    }
}

/// The error of a file that is missing or empty, but had data.
pub(crate) fn missing_file_error(stat: Option<Stat>) -> ParseError {
    let what = if stat.is_some() { "is empty" } else { "is missing" };
    let text = format!(
        "the file {what}, but the bucket had data in it; restore the file (is its disk mounted?), or, for an \
         empty bucket, save a file of this name with the single line ---"
    );
    ParseError::new(0, text)
}

/// Whether the bucket had a file with data in it, as far as this process or the last writer knows.
pub(crate) fn had_data(state: &BucketState, record: Option<LockRecord>) -> bool {
    let known = state.damage.is_some() || state.stat.is_some_and(|stat| stat.len > 0);
    known || record.is_some_and(|record| record.stat.len > 0)
}
