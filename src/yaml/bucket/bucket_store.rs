//! A bucket in this process: its state in memory, and access to its files.
//!
//! Reads are served from memory after a `stat` of the data file. The operations on a bucket are in the other files of
//! this folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::locked_files::{Backoff, LockedFiles};
use super::queue::{RequestQueue, WriteStint};
use super::tidier::Tidier;
use crate::model::{Error, ErrorKind, Key, Result, Revision, Snapshot};
use crate::store::{Measurements, PollRate, PolledWatch};
use crate::yaml::file::data_file::DataFile;
use crate::yaml::file::open_files::{OpenFiles, SharedFiles};
use crate::yaml::file::paths::BucketPaths;
use crate::yaml::fs::LockMode;
use crate::yaml::last_failures::LastFailures;
use crate::yaml::options::YamlOptions;
use crate::yaml::state::{BucketState, Damage};
use crate::yaml::store_folder::StoreFolder;

/// A bucket in this process. Locks are taken in this order: `files`, the lock among processes, `state`. `queue` is
/// locked only briefly.
pub(crate) struct BucketStore {
    pub(crate) options: YamlOptions,
    pub(crate) paths: BucketPaths,
    pub(crate) state: RwLock<BucketState>,
    pub(crate) files: SharedFiles,
    pub(crate) measurements: Arc<Measurements>,
    pub(crate) open_files: Arc<OpenFiles>,
    /// Set while this process holds the exclusive lock and appends. Nobody else can have committed anything then, so
    /// readers need not check the file.
    pub(crate) committing: AtomicBool,
    pub(crate) queue: Mutex<RequestQueue>,
    pub(crate) write_stint: Mutex<WriteStint>,
    /// Whether the last commit was quick.
    pub(crate) are_commits_quick: AtomicBool,
    /// Set when a request timed out because others held the lock.
    pub(crate) lock_timed_out: AtomicBool,
    pub(crate) compaction: Mutex<Option<JoinHandle<()>>>,
    /// Held during a compaction.
    pub(crate) compacting: Mutex<()>,
    pub(crate) tidier: Arc<Tidier>,
    /// When the bucket was last written, or found not to be at rest, if it was not tidied since.
    pub(crate) last_activity: Mutex<Option<Instant>>,
    /// Whether this process has written the bucket.
    pub(crate) wrote: AtomicBool,
    /// When the last compaction started because of the length of the log.
    pub(crate) last_log_compaction: Mutex<Option<Instant>>,
    /// After a failed compaction: the length of the file from which on the next one is tried.
    pub(crate) retry_compaction_at_bytes: AtomicU64,
    /// The length of the file and the number of entries when the last compaction started.
    pub(crate) last_compaction: Mutex<(u64, usize)>,
    pub(crate) watch: Arc<PolledWatch<Revision>>,
}

/// The resources that all buckets of a store share.
#[derive(Clone)]
pub(crate) struct SharedResources {
    pub(crate) open_files: Arc<OpenFiles>,
    pub(crate) tidier: Arc<Tidier>,
    /// How often buckets and logs are polled for waiters.
    pub(crate) poll_rate: PollRate,
    /// The failed writes to logs and blobs.
    pub(crate) failures: Arc<LastFailures>,
    pub(crate) folder: Arc<StoreFolder>,
    pub(crate) measurements: Arc<Measurements>,
}

impl BucketStore {
    pub(crate) fn new(paths: BucketPaths, options: YamlOptions, shared: &SharedResources) -> Self {
        let SharedResources { open_files, tidier, poll_rate, measurements, .. } = shared.clone();
        Self {
            files: Arc::new(Mutex::new(DataFile::new(
                paths.clone(),
                Arc::clone(&options.file_system),
                options.tidy_up_to,
                Arc::clone(&measurements),
            ))),
            measurements,
            open_files,
            state: RwLock::default(),
            committing: AtomicBool::new(false),
            queue: Mutex::default(),
            write_stint: Mutex::default(),
            are_commits_quick: AtomicBool::new(false),
            lock_timed_out: AtomicBool::new(false),
            compaction: Mutex::default(),
            compacting: Mutex::default(),
            tidier,
            last_activity: Mutex::default(),
            wrote: AtomicBool::new(false),
            last_log_compaction: Mutex::default(),
            retry_compaction_at_bytes: AtomicU64::new(0),
            last_compaction: Mutex::default(),
            watch: Arc::new(PolledWatch::new(|new, known| new > known, poll_rate)),
            options,
            paths,
        }
    }

    /// The entries of these keys, expired or not, as found in the files of a bucket that this process has not read.
    /// `None` if it must be read as a whole.
    pub(crate) fn look_up(&self, keys: &[Key]) -> Option<Snapshot> {
        if !self.options.is_short_lived || !self.is_blank() {
            return None;
        }
        self.try_lock_files(LockMode::Shared).ok()??.look_up(keys)
    }

    /// The state, like [`current`](Self::current), for a thread that may block.
    pub(crate) fn current_now(&self) -> Result<RwLockReadGuard<'_, BucketState>> {
        if !self.is_current()? {
            self.lock_files(LockMode::Shared)?.refresh(&self.state)?;
            self.record_edit();
            self.watch.notify(self.state.read().revision);
        }
        self.readable_state()
    }

    /// Records what a person did to the file if the lock is free. Otherwise the next holder of the lock does it.
    pub(crate) fn record_edit(&self) {
        let is_edited = self.files.try_lock().is_some_and(|file| file.known.edited.is_some());
        if is_edited && let Ok(Some(mut locked)) = self.try_lock_files(LockMode::Exclusive) {
            // Errors are logged there.
            let _ = locked.refresh(&self.state);
        }
    }

    /// Whether the state is that of the file as it is now.
    pub(crate) fn is_current(&self) -> Result<bool> {
        if self.committing.load(Ordering::SeqCst) {
            return Ok(true);
        }
        let stat = self.options.file_system.stat(&self.paths.data).map_err(|e| self.paths.failed("inspect", e))?;
        let state = self.state.read();
        if stat.is_none() && state.damage.is_none() {
            // The lock file may have a record of a data file that is missing.
            let lock = self.options.file_system.stat(&self.paths.lock).map_err(|e| self.paths.failed("inspect", e))?;
            return Ok(state.stat.is_none() && lock.is_none());
        }
        Ok(stat == state.stat)
    }

    /// Whether the bucket had a data file that is missing now.
    pub(crate) fn has_vanished(&self) -> bool {
        drop(self.current_now());
        let state = self.state.read();
        state.stat.is_none() && state.damage.is_some()
    }

    pub(crate) fn readable_state(&self) -> Result<RwLockReadGuard<'_, BucketState>> {
        let state = self.state.read();
        match &state.damage {
            Some(damage) if damage.blind => Err(self.corrupt_error(damage)),
            _ => Ok(state),
        }
    }

    /// Whether the bucket never held data, so that nothing is lost if it is dropped from memory.
    pub(crate) fn is_blank(&self) -> bool {
        let state = self.state.read();
        state.stat.is_none() && state.revision == Revision::ZERO
    }

    pub(crate) fn corrupt_error(&self, damage: &Damage) -> Error {
        let name = self.paths.data.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{}. Writes are refused until the file is fixed", damage.of(&name));
        Error::new(ErrorKind::Corrupt, text)
    }

    /// Whether nobody has written the bucket yet.
    pub(crate) fn is_absent(&self) -> bool {
        let is_missing = |path| matches!(self.options.file_system.stat(path), Ok(None));
        self.is_blank() && is_missing(&self.paths.data) && is_missing(&self.paths.lock)
    }
}

impl BucketStore {
    /// When a request that comes now times out.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline_from(Instant::now())
    }

    pub(crate) fn deadline_from(&self, now: Instant) -> Instant {
        // An unlimited timeout is a year.
        now.checked_add(self.options.lock_timeout).unwrap_or(now + Duration::from_secs(365 * 24 * 3600))
    }

    pub(crate) fn busy(&self, text: &str) -> Error {
        self.paths.busy(text)
    }

    /// The error of a request that timed out.
    pub(crate) fn lock_timeout_error(&self) -> Error {
        let (bucket, lock) = (&self.paths.bucket, self.paths.lock.display());
        let wait = self.options.lock_timeout.as_secs_f32();
        let text = format!("bucket {bucket}: locked by others for {wait} s ({lock}); nothing was done, try again");
        Error::new(ErrorKind::Busy, text)
    }

    /// Locks the files if they are free. `None` if others hold them, or too many files are open.
    pub(crate) fn try_lock_files(&self, mode: LockMode) -> Result<Option<LockedFiles<'_>>> {
        self.files.try_lock().map_or(Ok(None), |file| self.lock_files_with(file, mode))
    }

    fn lock_files_with<'a>(
        &'a self,
        mut file: MutexGuard<'a, DataFile>,
        mode: LockMode,
    ) -> Result<Option<LockedFiles<'a>>> {
        if !self.open_files.admit(&self.files) {
            return Ok(None);
        }
        let lock = file.lock(mode)?;
        if lock.is_none() {
            self.open_files.demote(&self.files);
        }
        Ok(lock.map(|lock| LockedFiles { _lock: lock, file }))
    }

    /// Like [`try_lock_files`](Self::try_lock_files), for a thread that may block. The mutex is handed to the thread
    /// that waits longest, so its turn comes however many others try.
    ///
    /// # Errors
    /// `Busy` after the lock timeout.
    pub(crate) fn lock_files(&self, mode: LockMode) -> Result<LockedFiles<'_>> {
        let (deadline, mut backoff) = (self.deadline(), Backoff::new(&self.open_files));
        loop {
            if let Some(file) = self.files.try_lock_until(deadline)
                && let Some(locked) = self.lock_files_with(file, mode)?
            {
                return Ok(locked);
            }
            if Instant::now() >= deadline {
                return Err(self.lock_timeout_error());
            }
            backoff.sleep();
        }
    }
}
