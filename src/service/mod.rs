//! Requests to responses: an axum Router over any store. No sockets, no files, no SQL.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::Clock;
use crate::store::Store;

/// Who sent a request. The doors put it into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The client's address, as the socket or the web server tells it.
    pub address: Option<IpAddr>,
}

/// What the service needs to know besides the store.
pub struct Settings {
    /// Told when the program is to stop: waiting reads are answered at once.
    pub stop: CancellationToken,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The longest wait of a read.
    pub max_wait: Duration,
    /// The largest value, in bytes.
    pub max_value: usize,
}

/// The service over a store.
pub fn router(_store: Arc<dyn Store>, _settings: Settings) -> axum::Router {
    axum::Router::new()
}
