//! A clock that only tests move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::{Clock, Time};

/// A clock that stands still until a test moves it. It starts at 2026-11-20T12:00:00.25Z, within a second, so that
/// rounding errors show.
#[derive(Debug)]
pub struct TestClock {
    nanos: AtomicI64,
}

impl TestClock {
    const START: i64 = 1_795_176_000_250_000_000;

    /// Sets the time.
    pub fn set(&self, time: Time) {
        self.nanos.store(time.nanos(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Turns the clock back.
    pub fn step_back(&self, span: Duration) {
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        self.set(Time::from_nanos(self.now().nanos().saturating_sub(nanos)));
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self { nanos: AtomicI64::new(Self::START) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_only_when_a_test_moves_it() {
        let clock = TestClock::default();
        assert_eq!(clock.now().to_string(), "2026-11-20T12:00:00.25Z");
        clock.advance(Duration::from_secs(2));
        clock.step_back(Duration::from_millis(500));
        assert_eq!(clock.now().to_string(), "2026-11-20T12:00:01.75Z");
    }
}
