//! The request log: a line for each request, and the id of the request in every line that is logged during it.
//!
//! A line has none of the parts in which a client may have put a secret: the query, the headers and the body.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use tracing::{Instrument as _, Level, Span};

use super::body::Response;

/// The header with the id. A web server in front may send it.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a request.
const MAX_ID_BYTES: usize = 64;

/// The status in the line of a request that ends before its response, mostly because its client has left. nginx has it,
/// too.
const CLIENT_HAS_LEFT: u16 = 499;

/// The ids of the requests that have none: a random number, and the number of the request.
pub(crate) struct RequestIds {
    random: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // Without random numbers the id of the process tells processes apart.
        let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
        Self { random, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:08x}-{}", self.random, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request that is logged when it ends, or when this is dropped before.
pub(crate) struct LoggedRequest {
    id: String,
    span: Span,
    method: Method,
    path: String,
    client: Option<IpAddr>,
    start: Instant,
    is_ended: bool,
}

impl LoggedRequest {
    /// `None` if requests are not logged.
    pub(crate) fn new(parts: &Parts, client: Option<IpAddr>, ids: &RequestIds) -> Option<Self> {
        if !tracing::enabled!(target: "kvs::request", Level::INFO) {
            return None;
        }
        let id = parts.headers.get(&X_REQUEST_ID).and_then(valid_id).unwrap_or_else(|| ids.next());
        let span = tracing::info_span!(target: "kvs::request", "request", %id);
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        Some(Self { id, span, method, path, client, start: Instant::now(), is_ended: false })
    }

    /// What `answer` logs has the id.
    pub(crate) async fn during<T>(&self, answer: impl Future<Output = T>) -> T {
        answer.instrument(self.span.clone()).await
    }

    /// Logs the request, and adds its id to the response, unless caches may give it to others.
    pub(crate) fn end(mut self, response: &mut Response) {
        self.is_ended = true;
        let length = if self.method == Method::HEAD { Some(0) } else { response.body().length() };
        self.log(response.status().as_u16(), length);
        let cached = response.headers().get(CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"public"));
        if let Ok(id) = HeaderValue::try_from(&self.id)
            && !cached
        {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        // The next request has another id.
        drop(response.body_mut().take_reusable());
    }

    fn log(&self, status: u16, bytes: Option<u64>) {
        let Self { method, path, start, .. } = self;
        let time = start.elapsed();
        let address = self.client.map_or_else(|| "unknown".to_owned(), |address| address.to_canonical().to_string());
        self.span.in_scope(|| {
            tracing::info!(
                target: "kvs::request",
                {
                    request.method = %method,
                    request.path = path,
                    request.status = status,
                    request.seconds = time.as_secs_f64(),
                    request.client = address,
                    request.bytes = bytes,
                },
                "{method} {path} {status} in {time:.1?} for {address}",
            );
        });
    }
}

impl Drop for LoggedRequest {
    fn drop(&mut self) {
        if !self.is_ended {
            self.log(CLIENT_HAS_LEFT, Some(0));
        }
    }
}

/// The id that a client or a web server has sent, if it can be logged as it is.
fn valid_id(value: &HeaderValue) -> Option<String> {
    let id = value.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/=@:".contains(&byte);
    ((1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
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
        let ids = RequestIds::new();
        let ids = [ids.next(), ids.next(), RequestIds::new().next()];
        assert!(
            ids[0] != ids[1] && ids[0] != ids[2] && valid_id(&HeaderValue::from_str(&ids[0]).unwrap()).is_some(),
            "{ids:?}"
        );
    }
}
