//! The HTTP client of the hooks: one request and one response, within a time limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};

use super::retry::DeliveryResult;
use crate::https::{ClientSettings, LazyClient, root_cause};
use crate::model::{Clock, Time};

/// A response body up to this size is read and dropped, so that the connection can be used again.
const MAX_DROPPED_BODY_BYTES: usize = 64 << 10;

/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The response of a receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HookResponse {
    pub(crate) status: u16,
    /// The pause that the receiver asks for.
    pub(crate) retry_after: Option<Duration>,
}

/// Sends requests. Connections are made when they are needed, and reused.
pub(crate) struct HookClient {
    timeout: Duration,
    clock: Arc<dyn Clock>,
    client: LazyClient,
}

impl HookClient {
    /// A client that can use `https` if `needs_https` is set. `timeout` is the limit of each request.
    pub(crate) fn new(needs_https: bool, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let client = LazyClient::new(ClientSettings {
            needs_https,
            root_certificates: None,
            connect_timeout: timeout / 2,
            idle_timeout: IDLE_TIMEOUT,
            max_idle_connections: 1,
        });
        Self { timeout, clock, client }
    }

    /// Sends a request and returns the response.
    ///
    /// # Errors
    /// The result of the delivery if there was no response.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<HookResponse, DeliveryResult> {
        let client = self.client.get().await.map_err(|why| DeliveryResult::GiveUp { why })?;
        let retry = |why: String| DeliveryResult::RetryLater { why, retry_after: None };
        let exchange = async {
            let response = client.request(request).await.map_err(|error| retry(root_cause(&error)))?;
            let retry_after = retry_after(response.headers(), self.clock.now());
            let head = HookResponse { status: response.status().as_u16(), retry_after };
            // The status decides. An error in the body concerns only the connection.
            let _ = Limited::new(response.into_body(), MAX_DROPPED_BODY_BYTES).collect().await;
            Ok(head)
        };
        let timed_out = || retry(format!("the receiver did not respond within {} s", self.timeout.as_secs_f32()));
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Time::from_http_date(text, now)?.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Time::from_secs(1_795_176_000); // Fri, 20 Nov 2026 12:00:00 GMT
        let seconds = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Fri, 20 Nov 2026 12:01:00 GMT"), Some(60));
        assert_eq!(seconds("Fri, 20 Nov 2026 12:00:60 GMT"), Some(60));
        assert_eq!(seconds("Fri, 20 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(seconds("Mon, 01 Jan 1900 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
