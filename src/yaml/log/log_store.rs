//! A log in this process: what is known of its file, the appends that wait, and its waiters.
//!
//! The file is opened for each operation, so any number of logs needs few file descriptors. If the file is still in the
//! state that this process knows, a read needs no lock. Appends that arrive together share one sync.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::known_log::KnownLog;
use super::log_file::{LogLocker, OpenLog, inspect};
use super::log_path::LogPath;
use super::page;
use super::rewrite::{NewContent, replace};
use crate::model::{AppendOutcome, Error, ErrorKind, LogAppend, LogEntry, LogPage, LogQuery, Result, Time};
use crate::store::{LogBounds, PolledWatch};
use crate::yaml::bucket::bucket_store::{SharedResources, blocking};
use crate::yaml::file::open_files::OpenFiles;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::format::{log_header, log_line};
use crate::yaml::fs::{LockMode, OpenMode};
use crate::yaml::options::YamlOptions;

/// The file is rewritten when it has this many more entries than twice those that are kept.
const SPARE_ENTRIES: u64 = 64;

/// A log in this process.
pub(crate) struct LogStore {
    pub(super) path: LogPath,
    pub(super) options: YamlOptions,
    open_files: Arc<OpenFiles>,
    /// The last known state of the file; `None` if none is known.
    known: Mutex<Option<KnownLog>>,
    queue: Mutex<Queue>,
    watch: Arc<PolledWatch<u64>>,
}

/// The appends that wait.
#[derive(Default)]
struct Queue {
    waiting: Vec<QueuedAppend>,
    /// Whether a thread works on them.
    is_served: bool,
}

struct QueuedAppend {
    append: LogAppend,
    answer: oneshot::Sender<Result<AppendOutcome>>,
}

/// The appends of a group after they were evaluated.
pub(super) struct Group {
    bounds: LogBounds,
    /// The lines of all appends.
    text: Vec<u8>,
    /// The number of entries in them.
    entries: u64,
    outcomes: Vec<Result<AppendOutcome>>,
}

impl Group {
    /// A group without entries.
    pub(super) fn empty(bounds: LogBounds) -> Self {
        Self { bounds, text: vec![], entries: 0, outcomes: vec![] }
    }
}

impl LogStore {
    pub(crate) fn new(path: LogPath, options: YamlOptions, shared: &SharedResources) -> Self {
        let SharedResources { open_files, poll_rate, .. } = shared.clone();
        let watch = Arc::new(PolledWatch::new(|new, known| new != known, poll_rate));
        Self { path, options, open_files, known: Mutex::default(), queue: Mutex::default(), watch }
    }

    pub(super) fn now(&self) -> Time {
        self.options.clock.now()
    }

    pub(super) fn locker(&self) -> LogLocker<'_> {
        let now = Instant::now();
        // An unlimited timeout is a year.
        let deadline = now.checked_add(self.options.lock_timeout).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
        LogLocker { fs: &*self.options.file_system, path: &self.path, open_files: &self.open_files, deadline }
    }

    pub(super) fn learn(&self, known: Option<KnownLog>) {
        *self.known.lock() = known;
        self.watch.notify(known.map_or(0, |known| known.bounds.next));
    }

    /// The file and its present state; `None` if there is no log.
    pub(super) fn current(&self) -> Result<Option<(OpenLog, KnownLog)>> {
        match self.options.file_system.open(&self.path.file, OpenMode::Read) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.learn(None);
                return Ok(None);
            }
            Err(e) => return Err(self.path.failed("open", e)),
            Ok(file) => {
                let stat = file.stat().map_err(|e| self.path.failed("inspect", e))?;
                if let Some(known) = self.known.lock().filter(|known| known.stat == stat) {
                    return Ok(Some((file, known)));
                }
            }
        }
        let Some(file) = self.locker().lock(LockMode::Shared, false)? else {
            self.learn(None);
            return Ok(None);
        };
        let known = self.inspect(&file)?;
        self.learn(known);
        Ok(known.map(|known| (file, known)))
    }

    /// The state of a file whose lock the caller holds.
    pub(super) fn inspect(&self, file: &OpenLog) -> Result<Option<KnownLog>> {
        let is_same = |known: &KnownLog| file.stat().is_ok_and(|stat| known.stat == stat);
        if let Some(known) = self.known.lock().filter(is_same) {
            return Ok(Some(known));
        }
        let is_known_file = |known: &KnownLog| file.stat().is_ok_and(|stat| known.stat.is_same_file(&stat));
        if !self.known.lock().as_ref().is_some_and(is_known_file) {
            // The process that made the file may have been killed before this.
            self.options
                .file_system
                .sync_folder(&self.path.folder)
                .map_err(|e| self.path.failed("sync the folder of", e))?;
        }
        inspect(&**file, &self.path)
    }

    /// Reads a page; `None` if there is no log.
    pub(crate) fn read(&self, query: &LogQuery) -> Result<Option<LogPage>> {
        blocking(|| {
            let Some((file, known)) = self.current()? else { return Ok(None) };
            page::read(&*file, &self.path, &known, query, self.now()).map(Some)
        })
    }

    /// The index of the next entry.
    fn next(&self) -> Result<u64> {
        blocking(|| Ok(self.current()?.map_or(0, |(_, known)| known.bounds.next)))
    }

    /// Waits until the index of the next entry is not `next`.
    pub(crate) async fn next_changed(self: &Arc<Self>, next: u64) -> Result<u64> {
        let log = Arc::clone(self);
        let refresh = move || {
            let log = Arc::clone(&log);
            async move {
                let next = log.next()?;
                log.watch.notify(next);
                Ok(next)
            }
        };
        self.watch.wait_for(move |reached| reached != next, refresh).await
    }

    /// Appends entries, together with all appends that wait.
    pub(crate) async fn append(self: &Arc<Self>, append: LogAppend) -> Result<AppendOutcome> {
        let (answer, outcome) = oneshot::channel();
        let is_first = {
            let mut queue = self.queue.lock();
            queue.waiting.push(QueuedAppend { append, answer });
            !std::mem::replace(&mut queue.is_served, true)
        };
        if is_first {
            blocking(|| self.serve_group());
            self.serve_others();
        }
        outcome.await.unwrap_or_else(|_| {
            let text =
                format!("log {:?}: the append was interrupted; read the log before you append again", self.path.key);
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }

    /// Leaves the appends that have arrived meanwhile to a thread, so that the first one need not work for all.
    fn serve_others(self: &Arc<Self>) {
        if self.ends() {
            return;
        }
        let log = Arc::clone(self);
        let thread = std::thread::Builder::new().name("kvs-log".into()).spawn(move || {
            while !log.ends() {
                log.serve_group();
            }
        });
        if thread.is_err() {
            while !self.ends() {
                self.serve_group();
            }
        }
    }

    /// Whether no append waits. Then the next one serves itself.
    fn ends(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.is_served = !queue.waiting.is_empty();
        !queue.is_served
    }

    fn serve_group(&self) {
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        let (appends, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|queued| (queued.append, queued.answer)).unzip();
        match self.commit(appends) {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome);
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.duplicate()));
                }
            }
        }
    }

    fn commit(&self, appends: Vec<LogAppend>) -> Result<Vec<Result<AppendOutcome>>> {
        let Some(file) = self.locker().lock(LockMode::Exclusive, true)? else {
            return Err(self.path.corrupt("the file vanished while it was created; try again"));
        };
        let known = self.inspect(&file)?;
        let old = known.map(|known| known.bounds).unwrap_or_default();
        let group = self.evaluate(old, appends);
        if group.text.is_empty() && group.bounds.retention == old.retention {
            if known.is_none() {
                self.remove_if_empty(&file);
            }
            return Ok(group.outcomes);
        }
        let stored = match known {
            Some(known) if group.bounds.retention == old.retention && !self.is_trim_due(&known, &group) => {
                self.store(file, known, &group)
            }
            known => self.store_anew(file, known, &group),
        };
        match stored {
            Ok(known) => {
                self.learn(Some(known));
                Ok(group.outcomes)
            }
            Err(error) => {
                *self.known.lock() = None;
                Err(error)
            }
        }
    }

    fn evaluate(&self, mut bounds: LogBounds, appends: Vec<LogAppend>) -> Group {
        let now = self.now();
        let (mut text, mut entries) = (Vec::new(), 0);
        let outcomes = appends.into_iter().map(|append| {
            let (outcome, appended): (_, Vec<LogEntry>) =
                bounds.append(&self.path.key, append, self.options.limits, now)?;
            log_line::write_all(&mut text, &appended);
            entries += appended.len() as u64;
            Ok(outcome)
        });
        let outcomes = outcomes.collect();
        Group { bounds, text, entries, outcomes }
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
    fn store(&self, file: OpenLog, known: KnownLog, group: &Group) -> Result<KnownLog> {
        let path = &self.path;
        if known.is_torn() {
            self.set_torn_tail_aside(&file, &known)?;
        }
        let line_feed: &[u8] = if known.tail.is_ended { b"" } else { b"\n" };
        let text = [line_feed, &group.text].concat();
        if let Err(e) = file.write(known.tail.end, &text) {
            // A part may have been written. If this fails too, the next writer does it.
            let _ = file.truncate(known.tail.end);
            return Err(path.failed("write", e));
        }
        if let Err(e) = file.sync() {
            let _ = file.truncate(known.tail.end);
            return Err(path.failed("sync", e).of_kind(ErrorKind::Unavailable));
        }
        let stat = file.stat().map_err(|e| path.failed("inspect", e))?;
        let mut tail = known.tail;
        (tail.end, tail.is_ended) = (stat.len, true);
        tail.last = group.bounds.next.checked_sub(1).map(|last| (last, group.bounds.last_time));
        let oldest =
            known.oldest.or_else(|| Some((group.bounds.next.saturating_sub(group.entries), group.bounds.last_time)));
        Ok(KnownLog { stat, tail, oldest, bounds: group.bounds, ..known })
    }

    /// Writes a new file with the entries that are kept and those of the group.
    pub(super) fn store_anew(&self, file: OpenLog, known: Option<KnownLog>, group: &Group) -> Result<KnownLog> {
        let path = &self.path;
        let header = LogHeader { key: path.key.clone(), first: group.bounds.first, retention: group.bounds.retention };
        let Some(known) = known else {
            // A new log. A file that was begun before was never acknowledged.
            let mut text = Vec::new();
            log_header::write(&mut text, &header);
            text.extend_from_slice(&group.text);
            let failed = |doing: &str, e| path.failed(doing, e);
            file.truncate(0).map_err(|e| failed("empty", e))?;
            let written = file.write(0, &text).map_err(|e| failed("write", e));
            let synced = written.and_then(|()| {
                let synced = file.sync().and_then(|()| self.options.file_system.sync_folder(&path.folder));
                synced.map_err(|e| failed("sync", e).of_kind(ErrorKind::Unavailable))
            });
            if let Err(error) = synced {
                let _ = file.truncate(0);
                self.remove_if_empty(&file);
                return Err(error);
            }
            return self.inspect(&file)?.ok_or_else(|| path.corrupt("the file that was just written has no header"));
        };
        // Neither the old retention nor the new one keeps the entries before this.
        let now = self.now();
        let mut first = group.bounds.first.max(group.bounds.first_kept());
        for retention in [known.bounds.retention, group.bounds.retention] {
            let bounds = LogBounds { retention, ..known.bounds };
            first = first.max(page::first_kept(&*file, path, &KnownLog { bounds, ..known }, now)?);
        }
        let from = page::offset_of(&*file, path, &known, (first, None))?;
        let header = LogHeader { first, ..header };
        let content = NewContent { header: &header, from, appended: &group.text };
        replace(&*self.options.file_system, path, (&*file, &known), &content).map(|(_, known)| known)
    }

    /// Copies a part of an append that was never acknowledged to another file, and cuts it off.
    fn set_torn_tail_aside(&self, file: &OpenLog, known: &KnownLog) -> Result<()> {
        let (path, fs) = (&self.path, &self.options.file_system);
        let failed = |doing: &str, e| path.failed(doing, e);
        let (end, len) = (known.tail.end, known.stat.len);
        let bytes = file.read(end, len - end).map_err(|e| failed("read", e))?;
        let torn = fs.open(&path.torn(self.now()), OpenMode::Create).map_err(|e| failed("set aside the end of", e))?;
        torn.write(0, &bytes).and_then(|()| torn.sync()).map_err(|e| failed("set aside the end of", e))?;
        file.truncate(end).map_err(|e| failed("cut the torn end of", e))
    }

    /// Removes a file that was created for a log without entries. The caller has its exclusive lock.
    fn remove_if_empty(&self, file: &OpenLog) {
        if file.stat().is_ok_and(|stat| stat.len == 0) {
            // It does no harm.
            let _ = self.options.file_system.remove(&self.path.file);
        }
    }

    /// Removes the entries before an index, or the whole log. Returns how many there were; `None` if there is no log.
    pub(crate) fn remove(&self, before: Option<u64>) -> Result<Option<u64>> {
        blocking(|| self.remove_now(before))
    }

    fn remove_now(&self, before: Option<u64>) -> Result<Option<u64>> {
        let (path, fs) = (&self.path, &self.options.file_system);
        let Some(file) = self.locker().lock(LockMode::Exclusive, false)? else { return Ok(None) };
        let Some(known) = self.inspect(&file)? else { return Ok(None) };
        let first = page::first_kept(&*file, path, &known, self.now())?;
        let Some(before) = before else {
            let removed = page::count(&*file, path, &known, first..known.bounds.next)?;
            fs.remove(&path.file).map_err(|e| path.failed("remove", e))?;
            fs.sync_folder(&path.folder).map_err(|e| path.failed("sync the folder of", e))?;
            self.learn(None);
            return Ok(Some(removed));
        };
        let before = before.min(known.bounds.next);
        if before <= known.bounds.first {
            return Ok(Some(0));
        }
        let removed = page::count(&*file, path, &known, first..before)?;
        let from = page::offset_of(&*file, path, &known, (before, None))?;
        let header = LogHeader { key: path.key.clone(), first: before, retention: known.bounds.retention };
        let content = NewContent { header: &header, from, appended: b"" };
        let (_, known) = replace(&**fs, path, (&*file, &known), &content)?;
        self.learn(Some(known));
        Ok(Some(removed))
    }
}
