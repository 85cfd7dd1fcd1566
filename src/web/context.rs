//! The input of the handlers: the state that all requests share, and the request without its body.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::auth::policy::Policies;
use super::auth::rate_limit::RateLimiter;
use super::auth::secrets::SecretList;
use super::budget::Budget;
use super::damage_report::DamageReport;
use super::handlers::index::IndexPage;
use super::metrics::Metrics;
use super::metrics::counted::Counted;
use super::metrics::counters::Class;
use super::metrics::request_timer::RequestTimer;
use super::read::coalesce::Coalescer;
use super::read::long_poll_limit::LongPollLimit;
use super::request::form::QueryString;
use super::request_log::RequestIds;
use super::response::cors::Cors;
use crate::model::{Bucket, Clock, Time};

/// The address of the client that sent a request: the peer of the socket, or the address that the web server or a
/// trusted proxy reports. `None` if it is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientAddr(pub Option<IpAddr>);

/// The settings of the HTTP API.
pub struct ApiSettings {
    /// Cancelled when the program shuts down. Long polls then respond at once.
    pub stop: CancellationToken,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The size limit of a value that is kept in memory, in bytes. A policy can lower it for a bucket.
    pub max_value_bytes: usize,
    /// The size limit of a value that is stored piece by piece, in bytes. A policy can lower it too.
    pub max_blob_bytes: u64,
    /// The secrets and their permissions.
    pub secrets: SecretList,
    /// The policies of the buckets.
    pub policies: Policies,
    /// The origins whose pages may read responses.
    pub cors: Cors,
    /// The limits of long polls.
    pub long_polls: LongPollSettings,
    /// The memory budget for responses that are being sent. Values that the store keeps in memory are not charged.
    pub responses: Budget,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
}

/// The limits of long polls.
#[derive(Clone)]
pub struct LongPollSettings {
    /// The longest time that one poll may wait.
    pub max_wait: Duration,
    /// How many polls and event streams may wait at once.
    pub limit: LongPollLimit,
    /// Event streams end after their first events, because each one occupies a process of the web server.
    pub short_streams: bool,
}

/// The state that all requests share.
pub(crate) struct ApiState {
    pub(crate) store: Counted,
    pub(crate) settings: ApiSettings,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) index: IndexPage,
    pub(crate) damage: DamageReport,
    pub(crate) request_ids: RequestIds,
    /// Lets long polls that wake up together share one fetch of a list.
    pub(crate) coalescer: Coalescer,
}

/// A request without its body, and the shared state.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    pub(crate) state: &'a ApiState,
    pub(crate) parts: &'a Parts,
    pub(crate) query: QueryString<'a>,
    /// The method, after `X-HTTP-Method-Override`.
    pub(crate) method: &'a Method,
    pub(crate) class: Class,
    pub(crate) client: ClientAddr,
    pub(crate) timer: &'a RequestTimer,
}

impl RequestContext<'_> {
    /// The size limit of a value in this bucket, in bytes.
    pub(crate) fn max_value_bytes(&self, bucket: &Bucket) -> usize {
        let settings = &self.state.settings;
        let all = settings.max_value_bytes;
        settings.policies.for_bucket(bucket).max_value.map_or(all, |of_bucket| of_bucket.min(all))
    }

    /// The size limit of a value in this bucket that is stored piece by piece, in bytes.
    pub(crate) fn max_blob_bytes(&self, bucket: &Bucket) -> u64 {
        let settings = &self.state.settings;
        let all = settings.max_blob_bytes;
        settings.policies.for_bucket(bucket).max_value.map_or(all, |of_bucket| all.min(of_bucket as u64))
    }

    /// The memory budget for responses to this client.
    pub(crate) fn responses(&self) -> Budget {
        self.state.settings.responses.for_address(self.client.0)
    }

    pub(crate) fn now(&self) -> Time {
        self.state.settings.clock.now()
    }
}
