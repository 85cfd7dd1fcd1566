//! Waiting for a value that all processes can change: the revision of a bucket, the next index of a log.
//!
//! Writes of this process wake the waiters at once. Writes of other processes are found by one task for each value,
//! which polls the store while anybody waits; the waiters themselves do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::Result;

/// If more values are polled, each is polled less often, so that the number of polls each second stays the same.
const VALUES_PER_INTERVAL: usize = 256;

/// How often the values of a store are polled. Clones count together.
#[derive(Clone, Debug)]
pub struct PollRate {
    /// A waiter wakes at most this much later than another process wrote.
    min_interval: Duration,
    /// The number of values that are polled.
    polled: Arc<AtomicUsize>,
}

impl PollRate {
    /// The rate of a store whose values are polled at this interval.
    #[must_use]
    pub fn new(min_interval: Duration) -> Self {
        Self { min_interval, polled: Arc::default() }
    }

    /// The time between two polls of a value.
    fn interval(&self) -> Duration {
        let polled = self.polled.load(Ordering::Relaxed);
        let factor = u32::try_from(polled.div_ceil(VALUES_PER_INTERVAL)).unwrap_or(u32::MAX);
        self.min_interval * factor.max(1)
    }
}

/// A value, for callers who wait for another one.
pub struct PolledWatch<T> {
    value: watch::Sender<T>,
    /// Whether a new value replaces the known one.
    replaces: fn(new: T, known: T) -> bool,
    waiters: Mutex<WaiterCount>,
    rate: PollRate,
}

#[derive(Default)]
struct WaiterCount {
    waiting: usize,
    /// Whether a task polls the value.
    is_polled: bool,
}

impl<T: Copy + Default + Send + Sync + 'static> PolledWatch<T> {
    /// A value that nobody waits for.
    pub fn new(replaces: fn(new: T, known: T) -> bool, rate: PollRate) -> Self {
        Self { value: watch::Sender::new(T::default()), replaces, waiters: Mutex::default(), rate }
    }

    /// Wakes the waiters if this value replaces the known one.
    pub fn notify(&self, value: T) {
        self.value.send_if_modified(|known| {
            let is_new = (self.replaces)(value, *known);
            if is_new {
                *known = value;
            }
            is_new
        });
    }

    /// Waits for a value that `is_awaited`. `refresh` reads the value, calls [`notify`](Self::notify) and returns it.
    ///
    /// # Errors
    /// Those of the first `refresh`.
    pub async fn wait_for<F, R>(self: &Arc<Self>, is_awaited: impl Fn(T) -> bool + Send, refresh: F) -> Result<T>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T>> + Send + 'static,
    {
        let mut changes = self.value.subscribe();
        let value = refresh().await?;
        if is_awaited(value) {
            return Ok(value);
        }
        let _waiter = self.enter(refresh);
        loop {
            if changes.changed().await.is_err() {
                // The sender lives as long as this watch.
                std::future::pending::<()>().await;
            }
            let value = *changes.borrow_and_update();
            if is_awaited(value) {
                return Ok(value);
            }
        }
    }

    /// Counts a waiter, and starts the task that polls unless there is one.
    fn enter<F, R>(self: &Arc<Self>, refresh: F) -> Waiter<T>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T>> + Send + 'static,
    {
        let mut waiters = self.waiters.lock();
        waiters.waiting += 1;
        if !std::mem::replace(&mut waiters.is_polled, true) {
            self.rate.polled.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Polling { watch: Arc::clone(self), is_done: false }.run(refresh));
        }
        Waiter(Arc::clone(self))
    }
}

/// A waiter, counted until dropped.
struct Waiter<T>(Arc<PolledWatch<T>>);

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        self.0.waiters.lock().waiting -= 1;
    }
}

/// The task that polls a value until nobody waits or its runtime ends.
struct Polling<T> {
    watch: Arc<PolledWatch<T>>,
    /// Whether the task has recorded that it no longer polls; another one may have started since.
    is_done: bool,
}

impl<T> Polling<T> {
    async fn run<F, R>(mut self, refresh: F)
    where
        F: Fn() -> R,
        R: Future<Output = Result<T>>,
    {
        let mut is_failing = false;
        loop {
            tokio::time::sleep(self.watch.rate.interval()).await;
            if self.ends() {
                return;
            }
            let refreshed = refresh().await;
            if let (Err(error), false) = (&refreshed, is_failing) {
                tracing::warn!("cannot look for changes: {error}");
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

impl<T> Drop for Polling<T> {
    fn drop(&mut self) {
        self.watch.rate.polled.fetch_sub(1, Ordering::Relaxed);
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
    fn each_value_is_polled_less_often_if_there_are_many() {
        let rate = PollRate::new(Duration::from_millis(50));
        let intervals = [0, 1, VALUES_PER_INTERVAL, 10 * VALUES_PER_INTERVAL].map(|polled| {
            rate.polled.store(polled, Ordering::Relaxed);
            rate.interval().as_millis()
        });
        assert_eq!(intervals, [50, 50, 50, 500]);
    }
}
