//! The source of the time. It is passed in, so that tests can stop it or turn it back.

use super::time::Time;

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The current time. It may stand still or step back; code that needs order must allow for that.
    fn now(&self) -> Time;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> Time {
        std::time::SystemTime::now().into()
    }
}
