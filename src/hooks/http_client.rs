//! The HTTP client of the hooks: one request and one response, within a time limit. It follows no redirects and keeps
//! no cookies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use super::retry::DeliveryResult;
use crate::model::{Clock, Time};

/// The `User-Agent` of the requests.
pub(crate) const KVS_USER_AGENT: &str = concat!("kvs/", env!("CARGO_PKG_VERSION"));

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

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends requests. Connections are made when they are needed, and reused.
pub(crate) struct HookClient {
    needs_https: bool,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// Created with the first request: loading the certificates of the system takes longer than most programs run.
    client: OnceCell<Result<HttpsClient, String>>,
}

impl HookClient {
    /// A client that can use `https` if `needs_https` is set. `timeout` is the limit of each request.
    pub(crate) fn new(needs_https: bool, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { needs_https, timeout, clock, client: OnceCell::new() }
    }

    /// Sends a request and returns the response.
    ///
    /// # Errors
    /// The result of the delivery if there was no response.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<HookResponse, DeliveryResult> {
        let client = self.client.get_or_init(|| create(self.needs_https, self.timeout)).await.as_ref();
        let client = client.map_err(|why| DeliveryResult::GiveUp { why: why.clone() })?;
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

/// The innermost source of an error. The outer ones only say that a request failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// Creates the client on a blocking thread, since reading the certificates takes a while.
async fn create(needs_https: bool, timeout: Duration) -> Result<HttpsClient, String> {
    let created = tokio::task::spawn_blocking(move || create_blocking(needs_https, timeout)).await;
    created.unwrap_or_else(|error| Err(error.to_string()))
}

fn create_blocking(needs_https: bool, timeout: Duration) -> Result<HttpsClient, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(timeout / 2));
    let builder = HttpsConnectorBuilder::new();
    let builder = if needs_https {
        // The roots of the system: a private certificate is trusted in one place, and SSL_CERT_FILE works.
        builder
            .with_provider_and_native_roots((*provider).clone())
            .map_err(|e| format!("cannot load the root certificates of the system: {e}"))?
    } else {
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| e.to_string())?;
        builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .build(connector))
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
