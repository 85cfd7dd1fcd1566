//! Appends the entries of a group of callers: evaluates them, writes all of them at once, and syncs once.

use std::time::Instant;

use super::known_log::KnownLog;
use super::log_file::OpenLog;
use super::log_store::LogStore;
use super::page;
use super::rewrite::{KeptEntries, NewContent, replace};
use super::tail::Tail;
use crate::model::{AppendOutcome, ErrorKind, LogAppend, LogEntry, Result, Time};
use crate::store::LogBounds;
use crate::yaml::file::rewrite::write_like;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::format::log_line;
use crate::yaml::fs::LockMode;

/// The file is rewritten when it has this many more entries than twice those that are kept.
const SPARE_ENTRIES: u64 = 64;

/// The appends of a group after they were evaluated.
pub(super) struct Group {
    bounds: LogBounds,
    /// The lines of all appends.
    text: Vec<u8>,
    /// Index and time of the first entry in them.
    first: Option<(u64, Time)>,
    /// Whether one of the appends has changed the retention.
    has_new_retention: bool,
    outcomes: Vec<Result<AppendOutcome>>,
}

impl Group {
    /// A group without entries.
    pub(super) fn empty(bounds: LogBounds) -> Self {
        Self { bounds, text: vec![], first: None, has_new_retention: false, outcomes: vec![] }
    }
}

impl LogStore {
    /// `since` is when each append came.
    pub(super) fn commit(&self, appends: Vec<LogAppend>, since: &[Instant]) -> Result<Vec<Result<AppendOutcome>>> {
        let committed = self.try_commit(appends, since);
        if committed.is_err() {
            *self.known.lock() = None;
        }
        committed
    }

    fn try_commit(&self, appends: Vec<LogAppend>, mut since: &[Instant]) -> Result<Vec<Result<AppendOutcome>>> {
        loop {
            let file = self.locker().lock(LockMode::Exclusive);
            // Once, also if another process is faster.
            for since in std::mem::take(&mut since) {
                self.measurements.waited(since.elapsed());
            }
            let file = file?;
            let (file, known) = match file {
                Some(file) => self.inspect_for_change(file).map(|(file, known)| (Some(file), known))?,
                None => (None, None),
            };
            let group = self.evaluate(known.map(|known| known.bounds).unwrap_or_default(), appends.clone());
            if group.text.is_empty() && !group.has_new_retention {
                return Ok(group.outcomes);
            }
            // The new file stays locked until this process knows it.
            let (_new, stored) = match (&file, known) {
                (Some(file), Some(known)) => self.store_or_trim(file, known, &group)?,
                (old, _) => match self.store_new(old.as_ref(), &group)? {
                    Some((new, known)) => (Some(new), known),
                    // Another process was faster.
                    None => continue,
                },
            };
            self.learn(Some(stored));
            let is_appended = |outcome: &&Result<_>| matches!(outcome, Ok(AppendOutcome::Appended { .. }));
            self.measurements.stored(group.outcomes.iter().filter(is_appended).count());
            return Ok(group.outcomes);
        }
    }

    /// Stores a group in a log that exists.
    fn store_or_trim(&self, file: &OpenLog, known: KnownLog, group: &Group) -> Result<(Option<OpenLog>, KnownLog)> {
        if group.has_new_retention {
            return self.store_anew(file, &known, group).map(|(new, known)| (Some(new), known));
        }
        if self.is_trim_due(&known, group) {
            match self.store_anew(file, &known, group) {
                Ok((new, known)) => return Ok((Some(new), known)),
                Err(error) if error.is_outcome_unknown() => return Err(error),
                // The disk may have room for the entries, but not for a second file.
                Err(error) => tracing::warn!("entries that are no longer kept could not be removed: {error}"),
            }
        }
        Ok((None, self.store(file, known, group)?))
    }

    /// The state of a file whose exclusive lock the caller has. What a killed writer left is set aside first; then it is
    /// that of a new file.
    pub(super) fn inspect_for_change(&self, file: OpenLog) -> Result<(OpenLog, Option<KnownLog>)> {
        match self.inspect(&file)? {
            Some(known) if known.is_torn() => self.set_aside(&file, &known).map(|(whole, known)| (whole, Some(known))),
            known => Ok((file, known)),
        }
    }

    fn evaluate(&self, old: LogBounds, appends: Vec<LogAppend>) -> Group {
        let now = self.now();
        let (mut bounds, mut entries, mut has_new_retention): (_, Vec<LogEntry>, _) = (old, vec![], false);
        let outcomes = appends.into_iter().map(|append| {
            let (outcome, appended) = bounds.append(&self.path.key, append, self.options.limits, now)?;
            has_new_retention |= bounds.retention != old.retention;
            entries.extend(appended);
            Ok(outcome)
        });
        let outcomes = outcomes.collect();
        // All entries of the group are written together: a part of them is recognized by its missing end.
        let mut text = Vec::new();
        log_line::write_all(&mut text, &entries);
        let first = entries.first().map(|entry| (entry.index, entry.updated));
        Group { bounds, text, first, has_new_retention, outcomes }
    }

    /// Whether so many entries are no longer kept that the file is rewritten without them. It is rewritten after as many
    /// appends as entries are kept, so an append costs the same, however many they are.
    fn is_trim_due(&self, known: &KnownLog, group: &Group) -> bool {
        let Some((oldest, time)) = known.oldest else { return false };
        let bounds = &group.bounds;
        let too_many = bounds.retention.max_entries.is_some_and(|max| {
            bounds.next.saturating_sub(oldest) > max.saturating_mul(2).saturating_add(SPARE_ENTRIES)
        });
        let too_old = bounds.retention.max_age.is_some_and(|age| self.now().since(time) > age.saturating_mul(2));
        too_many || too_old
    }

    /// Appends the text to the file.
    fn store(&self, file: &OpenLog, known: KnownLog, group: &Group) -> Result<KnownLog> {
        let failed = |doing: &str, e| self.path.failed(doing, e);
        let unknown = |doing: &str, e| failed(doing, e).of_kind(ErrorKind::Unavailable);
        let line_feed: &[u8] = if known.tail.is_ended { b"" } else { b"\n" };
        let text = [line_feed, &group.text].concat();
        if let Err(e) = file.write(known.tail.end, &text) {
            // A part may have been written. Without the sync a power cut could undo the cut.
            let cut = file.truncate(known.tail.end).and_then(|()| file.sync());
            return Err(if cut.is_ok() { failed("write", e) } else { unknown("write", e) });
        }
        if let Err(e) = self.measurements.sync(|| file.sync()) {
            let _ = file.truncate(known.tail.end);
            return Err(unknown("sync", e));
        }
        let stat = file.stat().map_err(|e| unknown("inspect", e))?;
        let last = group.bounds.next.checked_sub(1).map(|last| (last, group.bounds.last_time));
        let tail = Tail { end: stat.len, is_ended: true, last };
        Ok(KnownLog { stat, tail, oldest: known.oldest.or(group.first), bounds: group.bounds, ..known })
    }

    /// Creates the log. `None` if another process has created it meanwhile. `old` is an empty file in its place.
    fn store_new(&self, old: Option<&OpenLog>, group: &Group) -> Result<Option<(OpenLog, KnownLog)>> {
        let (path, fs) = (&self.path, &*self.options.file_system);
        if old.is_none() {
            self.store.ensure_not_lost()?;
            fs.make_subfolder(&path.folder).map_err(|e| path.failed("create the folder of", e))?;
        }
        let content = NewContent { header: &self.header(group.bounds), kept: None, appended: &group.text };
        replace(&self.locker(), old, &content)
    }

    pub(super) fn header(&self, bounds: LogBounds) -> LogHeader {
        LogHeader { key: self.path.key.clone(), first: bounds.first, retention: bounds.retention }
    }

    /// Writes a new file with the entries that are kept and those of the group.
    pub(super) fn store_anew(&self, file: &OpenLog, known: &KnownLog, group: &Group) -> Result<(OpenLog, KnownLog)> {
        let path = &self.path;
        // Neither the old retention nor the new one keeps the entries before this.
        let now = self.now();
        let mut first = group.bounds.first.max(group.bounds.first_kept());
        for retention in [known.bounds.retention, group.bounds.retention] {
            let bounds = LogBounds { retention, ..known.bounds };
            first = first.max(page::first_kept(&**file, path, &KnownLog { bounds, ..*known }, now)?);
        }
        let from = page::offset_of(&**file, path, known, (first, None))?;
        let header = LogHeader { first, ..self.header(group.bounds) };
        self.store_from(file, KeptEntries { known, from }, &header, &group.text)
    }

    /// Writes a new file with the entries of the old one from an offset on, and with those that are appended.
    pub(super) fn store_from(
        &self,
        file: &OpenLog,
        kept: KeptEntries<'_>,
        header: &LogHeader,
        appended: &[u8],
    ) -> Result<(OpenLog, KnownLog)> {
        let content = NewContent { header, kept: Some(kept), appended };
        let replaced = replace(&self.locker(), Some(file), &content)?;
        replaced.ok_or_else(|| self.path.busy("another process has replaced its file"))
    }

    /// Copies what an interrupted append left to another file, durably, and replaces the log by one without it.
    ///
    /// It is not cut off in place: if the sync after the cut failed, a power failure could bring it back, after the
    /// entries that were appended meanwhile.
    fn set_aside(&self, file: &OpenLog, known: &KnownLog) -> Result<(OpenLog, KnownLog)> {
        let (path, fs) = (&self.path, &*self.options.file_system);
        let (from, to) = (known.tail.end, known.stat.len);
        let kept = file.read(from, to - from).and_then(|bytes| {
            let aside = path.torn(fs, self.now())?;
            write_like(fs, &aside, &bytes, Some(&**file))?;
            fs.sync_folder(&path.folder)?;
            Ok(aside)
        });
        let aside = kept.map_err(|e| path.failed("set aside the torn end of", e))?;
        let all = KeptEntries { known, from: known.begin };
        let whole = self.store_from(file, all, &self.header(known.bounds), b"")?;
        let (file, bytes) = (path.file.display(), to - from);
        tracing::warn!("{file}: cut off {bytes} bytes that an interrupted append left; kept in {}", aside.display());
        Ok(whole)
    }
}
