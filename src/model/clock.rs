//! Where the time comes from. Passed in, so that tests can hold it still or turn it back.

use super::time::Time;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. It may stand still or step back; whoever needs order must see to that.
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
