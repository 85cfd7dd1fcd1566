//! Measures one request for the metrics: its time and the bytes of its body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The measurements of a request until it is counted. Times are in nanoseconds.
pub(crate) struct RequestTimer {
    start: Instant,
    received: AtomicU64,
    waited: AtomicU64,
    /// How long the request waited for its body.
    receiving: AtomicU64,
}

impl RequestTimer {
    /// Starts the measurement of a request that announces a body of `length` bytes.
    pub(crate) fn start(length: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self { start: Instant::now(), received: AtomicU64::new(length), waited: zero(), receiving: zero() }
    }

    /// Starts a wait of a long poll. It ends when the result is dropped.
    pub(crate) fn begin_wait(&self) -> WaitGuard<'_> {
        WaitGuard { nanos: &self.waited, start: Instant::now() }
    }

    /// Starts a wait for the body. It ends when the result is dropped.
    pub(crate) fn begin_receive(&self) -> WaitGuard<'_> {
        WaitGuard { nanos: &self.receiving, start: Instant::now() }
    }

    /// Sets the length of the body that has arrived.
    pub(crate) fn set_received(&self, bytes: usize) {
        self.received.store(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The length of the body, in bytes.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long the long poll waited; `None` if it did not wait.
    pub(crate) fn waited(&self) -> Option<Duration> {
        let nanos = self.waited.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// The time spent on the request, without the waits for a change or for the body.
    pub(crate) fn spent(&self) -> Duration {
        let received = Duration::from_nanos(self.receiving.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(self.waited().unwrap_or_default()).saturating_sub(received)
    }
}

/// A wait, until this is dropped.
pub(crate) struct WaitGuard<'a> {
    nanos: &'a AtomicU64,
    start: Instant,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spent_excludes_waits() {
        let timer = RequestTimer::start(3);
        assert_eq!((timer.received(), timer.waited()), (3, None));
        let wait = timer.begin_wait();
        std::thread::sleep(Duration::from_millis(50));
        drop(wait);
        let total = timer.waited().unwrap();
        assert!(total >= Duration::from_millis(50));
        assert!(timer.spent() + total <= timer.start.elapsed());
    }
}
