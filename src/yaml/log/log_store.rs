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
use super::rewrite::KeptEntries;
use crate::model::{AppendOutcome, Error, ErrorKind, LogAppend, LogPage, LogQuery, Result, Time};
use crate::store::{Measurements, PolledWatch};
use crate::yaml::blocking::blocking;
use crate::yaml::bucket::bucket_store::SharedResources;
use crate::yaml::bucket::queue::{WriteStint, YIELD_TIME};
use crate::yaml::file::open_files::OpenFiles;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::fs::{LockMode, OpenMode};
use crate::yaml::last_failures::LastFailures;
use crate::yaml::options::YamlOptions;
use crate::yaml::store_folder::StoreFolder;

/// A log in this process.
pub(crate) struct LogStore {
    pub(super) path: LogPath,
    pub(super) options: YamlOptions,
    open_files: Arc<OpenFiles>,
    /// The last known state of the file; `None` if none is known.
    pub(super) known: Mutex<Option<KnownLog>>,
    queue: Mutex<Queue>,
    stint: Mutex<WriteStint>,
    watch: Arc<PolledWatch<u64>>,
    failures: Arc<LastFailures>,
    pub(super) store: Arc<StoreFolder>,
    pub(super) measurements: Arc<Measurements>,
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
    since: Instant,
    answer: oneshot::Sender<Result<AppendOutcome>>,
}

/// Lets the next append serve itself if the one that serves now panics.
struct ServeGuard<'a>(&'a LogStore);

impl Drop for ServeGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.queue.lock() = Queue::default();
        }
    }
}

impl LogStore {
    pub(crate) fn new(path: LogPath, options: YamlOptions, shared: &SharedResources) -> Self {
        let SharedResources { open_files, poll_rate, failures, folder, measurements, .. } = shared.clone();
        let watch = Arc::new(PolledWatch::new(|new, known| new != known, poll_rate));
        Self {
            path,
            options,
            open_files,
            known: Mutex::default(),
            queue: Mutex::default(),
            stint: Mutex::default(),
            watch,
            failures,
            store: folder,
            measurements,
        }
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
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return self.missing(),
            Err(e) => return Err(self.path.failed("open", e)),
            Ok(file) => {
                let stat = file.stat().map_err(|e| self.path.failed("inspect", e))?;
                if let Some(known) = self.known.lock().filter(|known| known.stat == stat) {
                    return Ok(Some((file.into(), known)));
                }
            }
        }
        let Some(file) = self.locker().lock(LockMode::Shared)? else { return self.missing() };
        let known = self.inspect(&file)?;
        self.learn(known);
        Ok(known.map(|known| (file, known)))
    }

    /// There is no file. If there was one, its removal must be durable before anybody learns of it.
    fn missing<T>(&self) -> Result<Option<T>> {
        let fs = &self.options.file_system;
        if self.known.lock().is_some() && fs.stat(&self.path.folder).is_ok_and(|folder| folder.is_some()) {
            fs.sync_folder(&self.path.folder).map_err(|e| self.path.failed("sync the folder of", e))?;
        }
        self.learn(None);
        Ok(None)
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
            let synced = self.path.sync_folders(&*self.options.file_system);
            synced.map_err(|e| self.path.failed("sync the folder of", e))?;
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
            queue.waiting.push(QueuedAppend { append, since: Instant::now(), answer });
            !std::mem::replace(&mut queue.is_served, true)
        };
        if is_first {
            // Before `blocking`, which panics if the system gives no thread.
            let guard = ServeGuard(self);
            blocking(|| self.serve_group(guard));
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
                log.serve_group(ServeGuard(&log));
            }
        });
        if thread.is_err() {
            while !self.ends() {
                self.serve_group(ServeGuard(self));
            }
        }
    }

    /// Whether no append waits. Then the next one serves itself.
    fn ends(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.is_served = !queue.waiting.is_empty();
        !queue.is_served
    }

    fn serve_group(&self, _guard: ServeGuard<'_>) {
        // Other processes poll the lock, so a process that appends without a pause leaves it free now and then.
        if self.stint.lock().is_over(Instant::now()) {
            std::thread::sleep(YIELD_TIME);
            *self.stint.lock() = WriteStint::default();
        }
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        let since: Vec<_> = waiting.iter().map(|queued| queued.since).collect();
        let (appends, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|queued| (queued.append, queued.answer)).unzip();
        let committed = self.commit(appends, &since);
        self.failures.note(&*self.options.file_system, &self.path.file, &committed);
        if let Err(error) = &committed {
            self.measurements.failed(error.kind(), answers.len());
        }
        self.stint.lock().last_release = Instant::now();
        match committed {
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

    /// Removes the entries before an index, or the whole log. Returns how many there were; `None` if there is no log.
    pub(crate) fn remove(&self, before: Option<u64>) -> Result<Option<u64>> {
        blocking(|| self.remove_now(before))
    }

    fn remove_now(&self, before: Option<u64>) -> Result<Option<u64>> {
        let path = &self.path;
        let Some(file) = self.locker().lock(LockMode::Exclusive)? else { return Ok(None) };
        let Some(before) = before else { return self.remove_whole(&file) };
        let (file, Some(known)) = self.inspect_for_change(file)? else { return Ok(None) };
        let before = before.min(known.bounds.next);
        if before <= known.bounds.first {
            return Ok(Some(0));
        }
        let first = page::first_kept(&*file, path, &known, self.now())?;
        let removed = page::count(&*file, path, &known, first..before)?;
        let from = page::offset_of(&*file, path, &known, (before, None))?;
        let header = LogHeader { first: before, ..self.header(known.bounds) };
        let (_new, known) = self.store_from(&file, KeptEntries { known: &known, from }, &header, b"")?;
        self.learn(Some(known));
        Ok(Some(removed))
    }

    /// Removes the file, and with it what a killed writer left. This needs no room on the disk.
    fn remove_whole(&self, file: &OpenLog) -> Result<Option<u64>> {
        let (path, fs) = (&self.path, &self.options.file_system);
        let Some(known) = self.inspect(file)? else { return Ok(None) };
        let first = page::first_kept(&**file, path, &known, self.now())?;
        let removed = page::count(&**file, path, &known, first..known.bounds.next)?;
        fs.remove(&path.file).map_err(|e| path.failed("remove", e))?;
        let synced = fs.sync_folder(&path.folder);
        synced.map_err(|e| path.failed("sync the folder of", e).of_kind(ErrorKind::Unavailable))?;
        self.learn(None);
        Ok(Some(removed))
    }
}
