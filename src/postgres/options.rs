//! The options of a store that are not part of its URL.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Clock, SystemClock};
use crate::store::Limits;

/// Options of a [`PostgresStore`](super::PostgresStore) that are not part of its URL.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The largest value that a write may store.
    pub limits: Limits,
    /// How long an operation waits for a free connection, for a bucket that another process has locked, and for earlier
    /// writes of this process to the same bucket. Default: 5 s.
    pub lock_timeout: Duration,
    /// The clock that revisions and expiry follow. Default: the clock of the machine.
    pub clock: Arc<dyn Clock>,
}

impl Default for PostgresOptions {
    /// Values of up to 1 MiB, 5 s for a connection or a lock, the clock of the machine.
    fn default() -> Self {
        Self { limits: Limits::default(), lock_timeout: Duration::from_secs(5), clock: Arc::new(SystemClock) }
    }
}
