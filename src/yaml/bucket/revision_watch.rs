//! Waiting for a later revision of a bucket, no matter which process writes it.
//!
//! Writes of this process wake the waiters at once. Writes of other processes are found by one task for each bucket,
//! which polls the file while anybody waits; the waiters themselves do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::{Result, Revision};
use crate::store::raise_revision;

/// A waiter wakes at most this much later than another process wrote.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// If more buckets are polled, each is polled less often, so that the number of polls each second stays the same.
const BUCKETS_PER_INTERVAL: usize = 256;

/// The time between two polls of a bucket if this many buckets are polled.
fn poll_interval(polled_buckets: usize) -> Duration {
    let factor = u32::try_from(polled_buckets.div_ceil(BUCKETS_PER_INTERVAL)).unwrap_or(u32::MAX);
    MIN_POLL_INTERVAL * factor.max(1)
}

/// The revision of a bucket, for callers who wait for a later one.
pub(crate) struct RevisionWatch {
    revision: watch::Sender<Revision>,
    waiters: Mutex<WaiterCount>,
    /// The number of buckets of the store that are polled.
    polled_buckets: Arc<AtomicUsize>,
}

#[derive(Default)]
struct WaiterCount {
    waiting: usize,
    /// Whether a task polls the file.
    is_polled: bool,
}

impl RevisionWatch {
    pub(crate) fn new(polled_buckets: Arc<AtomicUsize>) -> Self {
        Self { revision: watch::Sender::new(Revision::ZERO), waiters: Mutex::default(), polled_buckets }
    }

    /// Wakes the waiters if this revision is later than the last one.
    pub(crate) fn notify(&self, revision: Revision) {
        raise_revision(&self.revision, revision);
    }

    /// Waits until the revision is greater than `since`. `refresh` reads what has changed in the file, calls
    /// [`notify`](Self::notify), and returns the revision.
    pub(crate) async fn changed<F, R>(self: &Arc<Self>, since: Revision, refresh: F) -> Result<Revision>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Revision>> + Send + 'static,
    {
        let mut changes = self.revision.subscribe();
        let revision = refresh().await?;
        if revision > since {
            return Ok(revision);
        }
        let _waiter = self.enter(refresh);
        loop {
            if changes.changed().await.is_err() {
                // The sender lives as long as this bucket.
                std::future::pending::<()>().await;
            }
            let revision = *changes.borrow_and_update();
            if revision > since {
                return Ok(revision);
            }
        }
    }

    /// Counts a waiter, and starts the task that polls unless there is one.
    fn enter<F, R>(self: &Arc<Self>, refresh: F) -> Waiter
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Revision>> + Send + 'static,
    {
        let mut waiters = self.waiters.lock();
        waiters.waiting += 1;
        if !std::mem::replace(&mut waiters.is_polled, true) {
            self.polled_buckets.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Polling { watch: Arc::clone(self), is_done: false }.run(refresh));
        }
        Waiter(Arc::clone(self))
    }
}

/// A waiter, counted until dropped.
struct Waiter(Arc<RevisionWatch>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.waiters.lock().waiting -= 1;
    }
}

/// The task that polls the file until nobody waits or its runtime ends.
struct Polling {
    watch: Arc<RevisionWatch>,
    /// Whether the task has recorded that it no longer polls; another one may have started since.
    is_done: bool,
}

impl Polling {
    async fn run<F, R>(mut self, refresh: F)
    where
        F: Fn() -> R,
        R: Future<Output = Result<Revision>>,
    {
        let mut is_failing = false;
        loop {
            let polled_buckets = self.watch.polled_buckets.load(Ordering::Relaxed);
            tokio::time::sleep(poll_interval(polled_buckets)).await;
            if self.ends() {
                return;
            }
            let refreshed = refresh().await;
            if let (Err(error), false) = (&refreshed, is_failing) {
                tracing::warn!("cannot check the file for changes: {error}");
            }
            is_failing = refreshed.is_err();
        }
    }

    /// Whether nobody waits any more. Then the task ends.
    fn ends(&mut self) -> bool {
        let mut waiters = self.watch.waiters.lock();
        self.is_done = waiters.waiting == 0;
        waiters.is_polled = !self.is_done;
        self.is_done
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.watch.polled_buckets.fetch_sub(1, Ordering::Relaxed);
        // The runtime of the task ended, while others may wait on another runtime: the next waiter starts a new task.
        if !self.is_done {
            self.watch.waiters.lock().is_polled = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_is_polled_less_often_if_there_are_many() {
        assert_eq!(poll_interval(1), MIN_POLL_INTERVAL);
        assert_eq!(poll_interval(BUCKETS_PER_INTERVAL), MIN_POLL_INTERVAL);
        assert_eq!(poll_interval(10 * BUCKETS_PER_INTERVAL), 10 * MIN_POLL_INTERVAL);
    }
}
