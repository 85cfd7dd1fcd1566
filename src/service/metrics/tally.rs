//! One request on its way, as far as it will be counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::HttpBody as _;
use axum::extract::Request;

/// What is kept of a request until it is counted.
pub(crate) struct Tally {
    begun: Instant,
    received: AtomicU64,
    held: AtomicU64,
    /// How long its body was waited for.
    receiving: AtomicU64,
}

impl Tally {
    /// A request that has come.
    pub(crate) fn begin(request: &Request) -> Self {
        let received = request.body().size_hint().exact().unwrap_or(0);
        Self { received: AtomicU64::new(received), ..Self::bodiless() }
    }

    /// A request without a body that has come.
    pub(crate) fn bodiless() -> Self {
        let zero = || AtomicU64::new(0);
        Self { begun: Instant::now(), received: zero(), held: zero(), receiving: zero() }
    }

    /// The request is held from now on, until what this returns is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held { nanos: &self.held, begun: Instant::now() }
    }

    /// Its body is waited for from now on, until what this returns is dropped.
    pub(crate) fn receive(&self) -> Held<'_> {
        Held { nanos: &self.receiving, begun: Instant::now() }
    }

    /// Its body has come, and has so many bytes.
    pub(crate) fn came(&self, bytes: usize) {
        self.received.store(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago it came.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Bytes of its body.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long it was held, if it was.
    pub(super) fn held(&self) -> Option<Duration> {
        let nanos = self.held.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// How long we have worked on it: without the time it was held, or its body waited for.
    pub(super) fn spent(&self) -> Duration {
        let received = Duration::from_nanos(self.receiving.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(self.held().unwrap_or_default()).saturating_sub(received)
    }
}

/// While this is kept the request waits for something to happen.
pub(crate) struct Held<'a> {
    nanos: &'a AtomicU64,
    begun: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spent_is_without_the_time_held() {
        let tally = Tally::begin(&Request::new("abc".into()));
        assert_eq!((tally.received(), tally.held()), (3, None));
        let held = tally.hold();
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
        let waited = tally.held().unwrap();
        assert!(waited >= Duration::from_millis(50));
        assert!(tally.spent() + waited <= tally.begun.elapsed());
    }
}
