//! The HTTP client of the hooks: one request, one answer, within a time. It follows no redirect and keeps no cookie.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use super::retry::Verdict;
use crate::model::{Clock, Time};

/// What requests call us.
pub(super) const AGENT: &str = concat!("kvs/", env!("CARGO_PKG_VERSION"));

/// How much of an answer is read so that its connection can be used again. No answer is looked into.
const BODY: usize = 64 << 10;

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// What a receiver answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long it asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

type Inner = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends requests. Connections are made when they are needed and kept for a while.
pub(super) struct Client {
    https: bool,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// Made with the first request: the certificates of the system take longer to read than most programs to run.
    inner: OnceCell<Result<Inner, String>>,
}

impl Client {
    /// One that can speak `https` if that is needed, and gives each request that much time.
    pub(super) fn new(https: bool, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { https, timeout, clock, inner: OnceCell::new() }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// What to make of it that there was none.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Verdict> {
        let inner = self.inner.get_or_init(|| opened(self.https, self.timeout)).await.as_ref();
        let inner = inner.map_err(|why| Verdict::Never { why: why.clone() })?;
        let later = |why: String| Verdict::Later { why, after: None };
        let exchange = async {
            let response = inner.request(request).await.map_err(|error| later(root(&error)))?;
            let retry_after = retry_after(response.headers(), self.clock.now());
            let answer = Answer { status: response.status().as_u16(), retry_after };
            // It has been taken or not; what is said besides matters only to the connection.
            let _ = Limited::new(response.into_body(), BODY).collect().await;
            Ok(answer)
        };
        let late = || later(format!("there was no answer within {} s", self.timeout.as_secs_f32()));
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

/// What an error comes from; what stands above it only says that a request failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// Made beside the runtime: reading the certificates takes a while.
async fn opened(https: bool, timeout: Duration) -> Result<Inner, String> {
    let made = tokio::task::spawn_blocking(move || open(https, timeout)).await;
    made.unwrap_or_else(|error| Err(error.to_string()))
}

fn open(https: bool, timeout: Duration) -> Result<Inner, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(timeout / 2));
    let builder = HttpsConnectorBuilder::new();
    let builder = if https {
        // The roots of the system, so that who trusts a certificate of his own says so in one place, and SSL_CERT_FILE counts.
        builder
            .with_provider_and_native_roots((*provider).clone())
            .map_err(|e| format!("no roots of certificates: {e}"))?
    } else {
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| e.to_string())?;
        builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
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
    fn a_receiver_may_say_when_in_seconds_or_by_date() {
        let now = Time::from_secs(1_795_176_000); // Fri, 20 Nov 2026 12:00:00 GMT
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("Fri, 20 Nov 2026 12:01:00 GMT"), Some(60));
        assert_eq!(asked("Fri, 20 Nov 2026 12:00:60 GMT"), Some(60));
        assert_eq!(asked("Fri, 20 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(asked("Mon, 01 Jan 1900 00:00:00 GMT"), Some(0));
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
