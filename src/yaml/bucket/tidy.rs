//! When files are compacted: when their log has become long, when nobody has written them for a while, and when the
//! process ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::bucket_store::BucketStore;
use super::tidier::TidyTarget;
use crate::model::ErrorKind;
use crate::yaml::file::data_file::DataFile;
use crate::yaml::file::known_file::AppendState;

/// A file that is tidied is compacted when its log is longer than its snapshot and than this.
const TIDY_LOG_BYTES: u64 = 4 << 10;

/// How long after a failure a quiet file is tidied again, besides the time for which it must be quiet.
const RETRY_AFTER: Duration = Duration::from_secs(3);

impl BucketStore {
    /// Notes that the bucket was written, or found not to be at rest. The caller holds the lock of `file`.
    pub(crate) fn note_activity(self: &Arc<Self>, file: &DataFile) {
        if !self.is_to_tidy(file) {
            return;
        }
        let now = Instant::now();
        *self.last_activity.lock() = Some(now);
        let bucket: Weak<Self> = Arc::downgrade(self);
        self.tidier.add(bucket, now + self.options.tidy_after);
    }

    fn is_to_tidy(&self, file: &DataFile) -> bool {
        let known = &file.known;
        self.tidies(known.committed)
            && known.stat.is_some()
            && known.append_state != AppendState::Vanished
            && !known.is_tidy
    }

    /// Whether files of this length are tidied.
    fn tidies(&self, len: u64) -> bool {
        !self.options.tidy_after.is_zero() && len <= self.options.tidy_up_to
    }

    /// At the end of the process, tidies the bucket if this process wrote it or another left it untidy some time ago.
    fn tidy_on_exit(&self) {
        let is_abandoned = || {
            let changed = self.files.lock().known.stat.map_or(0, |stat| stat.modified);
            let age = self.options.clock.now().nanos().saturating_sub(changed);
            Duration::from_nanos(u64::try_from(age).unwrap_or(0)) >= self.options.tidy_after
        };
        if self.has_written() || is_abandoned() {
            self.tidy();
        }
    }

    /// Starts a compaction in a thread of its own if the log is longer than the snapshot, or if the disk is full and
    /// the file has changed since the last one.
    pub(crate) fn compact_if_due(self: &Arc<Self>, file: &DataFile, full: bool) {
        let known = &file.known;
        let log = known.committed.saturating_sub(known.snapshot);
        let mut compaction = self.compaction.lock();
        let min_log = self.min_log_bytes(known.committed);
        let is_due = log > known.snapshot.max(min_log)
            && known.committed >= self.retry_compaction_at_bytes.load(Ordering::Relaxed);
        let now = (known.committed, self.state.read().entries.len());
        let is_wanted = is_due || full && log > 0 && *self.last_compaction.lock() != now;
        if !is_wanted || compaction.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        // If there is no permit or no thread, the next write tries again.
        let Some(permit) = self.open_files.compaction_permit() else { return };
        *self.last_compaction.lock() = now;
        *self.last_log_compaction.lock() = Some(Instant::now());
        let bucket = Arc::clone(self);
        let retry_at = known.committed.saturating_add(self.options.min_log_bytes);
        let work = move || {
            let _permit = permit;
            let done = bucket.compact();
            bucket.retry_compaction_at_bytes.store(if done.is_ok() { 0 } else { retry_at }, Ordering::Relaxed);
            match done {
                // Another process is compacting, or has changed the file.
                Err(error) if error.kind() == ErrorKind::Busy => *bucket.last_compaction.lock() = (0, 0),
                Err(error) => tracing::error!("compacting {}: {error}", bucket.paths.data.display()),
                Ok(_) => {}
            }
        };
        *compaction = std::thread::Builder::new().name("kvs compact".into()).spawn(work).ok();
    }

    /// The length from which on a log is folded. A file that is tidied is folded earlier, but not more than once a
    /// second.
    fn min_log_bytes(&self, len: u64) -> u64 {
        let is_recent = || self.last_log_compaction.lock().is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        match self.tidies(len) {
            true if is_recent() => u64::MAX,
            true => self.options.min_log_bytes.min(TIDY_LOG_BYTES),
            false => self.options.min_log_bytes,
        }
    }

    fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    pub(crate) fn is_compacting(&self) -> bool {
        self.compaction.lock().as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits for a running compaction, so that a program that writes once and ends does not interrupt it each time.
    /// Then tidies.
    pub(crate) fn finish(&self) {
        // The thread may need this lock.
        let thread = self.compaction.lock().take();
        if let Some(thread) = thread {
            // The thread has logged its error.
            let _ = thread.join();
        }
        self.tidy_on_exit();
    }
}

impl TidyTarget for BucketStore {
    fn quiet_from(&self) -> Option<Instant> {
        self.last_activity.lock().map(|at| at + self.options.tidy_after)
    }

    fn tidy(&self) {
        *self.last_activity.lock() = None;
        if !self.is_to_tidy(&self.files.lock()) {
            return;
        }
        // Another process may have tidied it.
        drop(self.current_now());
        if !self.is_to_tidy(&self.files.lock()) {
            return;
        }
        let is_reported = self.files.lock().last_failure().is_some();
        let tidied = self.compact();
        if tidied.as_ref().is_err_and(|error| !matches!(error.kind(), ErrorKind::Busy | ErrorKind::Corrupt)) {
            // `/status` reports this error until the file has been rewritten, so that is tried again without a write.
            *self.last_activity.lock() = Some(Instant::now() + RETRY_AFTER);
        }
        match tidied {
            Ok(_) => {}
            // Another process is compacting, or a person must do something first, which has been reported.
            Err(error)
                if is_reported
                    || matches!(error.kind(), ErrorKind::Busy | ErrorKind::Corrupt | ErrorKind::PermissionDenied) =>
            {
                tracing::debug!("tidying {}: {error}", self.paths.data.display());
            }
            Err(error) => tracing::warn!("tidying {}: {error}", self.paths.data.display()),
        }
    }
}
