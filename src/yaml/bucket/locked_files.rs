//! The lock of a bucket's files: one thread of this process at a time, and the lock among processes.
//!
//! An attempt never waits. A thread that waits between two attempts holds neither the files nor a lock.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use crate::yaml::file::data_file::DataFile;
use crate::yaml::file::lock::FilesLock;
use crate::yaml::file::open_files::OpenFiles;

/// The first pause between two attempts.
const MIN_PAUSE: Duration = Duration::from_micros(20);

/// After this long, a waiter tries more often than newer waiters.
const LONG_WAIT: Duration = Duration::from_millis(500);

/// The files of a bucket, locked until dropped.
pub(crate) struct LockedFiles<'a> {
    // Dropped before `file`, so that the lock is released first.
    pub(crate) _lock: FilesLock,
    pub(crate) file: MutexGuard<'a, DataFile>,
}

impl Deref for LockedFiles<'_> {
    type Target = DataFile;

    fn deref(&self) -> &DataFile {
        &self.file
    }
}

impl DerefMut for LockedFiles<'_> {
    fn deref_mut(&mut self) -> &mut DataFile {
        &mut self.file
    }
}

/// The pauses between two attempts: microseconds at first, since most locks are held briefly.
pub(crate) struct Backoff<'a> {
    started: Instant,
    next: Duration,
    /// The number of waiters in this store, including this one.
    waiting: &'a AtomicUsize,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(open_files: &'a OpenFiles) -> Self {
        open_files.waiting.fetch_add(1, Ordering::Relaxed);
        Self { started: Instant::now(), next: MIN_PAUSE, waiting: &open_files.waiting }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn reset(&mut self) {
        (self.started, self.next) = (Instant::now(), MIN_PAUSE);
    }

    /// Sleeps for the next pause.
    pub(crate) fn sleep(&mut self) {
        std::thread::sleep(self.next);
        let max = max_pause(self.waiting.load(Ordering::Relaxed));
        // A waiter that has waited long must get the lock before newer ones.
        let limit = if self.elapsed() >= LONG_WAIT { max / 10 } else { max };
        self.next = (self.next * 2).min(limit);
    }
}

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The maximum pause for this number of waiters: 1 ms to 1 s, so that all of them together cost little.
fn max_pause(waiting: usize) -> Duration {
    let share = Duration::from_micros(200) * u32::try_from(waiting).unwrap_or(u32::MAX);
    share.clamp(Duration::from_millis(1), Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waiter_tries_less_often_if_there_are_many() {
        assert_eq!([0, 1, 5].map(max_pause), [Duration::from_millis(1); 3]);
        assert_eq!(max_pause(600), Duration::from_millis(120));
        assert_eq!(max_pause(1_000_000), Duration::from_secs(1));
    }
}
