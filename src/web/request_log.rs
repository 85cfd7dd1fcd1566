//! The request log: a line for each request, and the id of the request in every line that is logged during it.
//!
//! A line has none of the parts in which a client may have put a secret: the query, the headers and the body.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tracing::{Instrument as _, Level, Span};

use super::body::Response;
use super::context::ClientAddr;
use super::metrics::request_timer::RequestTimer;

/// The header with the id. A web server in front may send it, and each response has it.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a request.
const MAX_ID_BYTES: usize = 64;

/// A request that will be logged.
pub(crate) struct LoggedRequest {
    id: HeaderValue,
    span: Span,
}

impl LoggedRequest {
    /// `None` if requests are not logged.
    pub(crate) fn new(parts: &Parts) -> Option<Self> {
        if !tracing::enabled!(target: "kvs::request", Level::INFO) {
            return None;
        }
        let id = parts.headers.get(&X_REQUEST_ID).and_then(valid_id).unwrap_or_else(new_id);
        let span = tracing::info_span!(target: "kvs::request", "request", %id);
        HeaderValue::try_from(id).ok().map(|id| Self { id, span })
    }

    /// What `answer` logs has the id.
    pub(crate) async fn during<T>(&self, answer: impl Future<Output = T>) -> T {
        answer.instrument(self.span.clone()).await
    }

    /// Logs the request, and adds its id to the response.
    pub(crate) fn end(self, parts: &Parts, client: ClientAddr, timer: &RequestTimer, response: &mut Response) {
        let (status, path) = (response.status().as_u16(), parts.uri.path());
        let time = timer.age();
        let address = client.0.map_or_else(|| "unknown".to_owned(), |address| address.to_canonical().to_string());
        let Self { id, span } = self;
        span.in_scope(|| {
            tracing::info!(
                target: "kvs::request",
                {
                    request.method = %parts.method,
                    request.path = path,
                    request.status = status,
                    request.seconds = time.as_secs_f64(),
                    request.client = address,
                    request.bytes = response.body().length(),
                },
                "{} {path} {status} in {time:.1?} for {address}", parts.method,
            );
        });
        response.headers_mut().insert(X_REQUEST_ID, id);
        // The next request has another id.
        drop(response.body_mut().take_reusable());
    }
}

/// The id that a client or a web server has sent, if it can be logged as it is.
fn valid_id(value: &HeaderValue) -> Option<String> {
    let id = value.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/=@:".contains(&byte);
    ((1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// An id that no other request has: a random number of this process, and the number of the request.
fn new_id() -> String {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    static REQUESTS: AtomicU64 = AtomicU64::new(1);
    let process = PROCESS.get_or_init(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
    format!("{process:08x}-{}", REQUESTS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_short_and_plain() {
        let valid = |text: &str| valid_id(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        for good in ["a", "Zm9v+/=", "123e4567-e89b-12d3-a456-426614174000", "Y2Fm@host:1.2"] {
            assert_eq!(valid(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a\"b", "é", "wrong secret from 192.0.2.1, number 9", &"a".repeat(65)] {
            assert_eq!(valid(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_request_has_its_own_id() {
        let ids = [new_id(), new_id()];
        assert!(ids[0] != ids[1] && valid_id(&HeaderValue::from_str(&ids[0]).unwrap()).is_some(), "{ids:?}");
    }
}
