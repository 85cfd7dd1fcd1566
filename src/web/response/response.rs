//! Successful responses: status codes and the headers that every response has. Errors are in
//! [`api_error`](super::api_error).

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{ContentType, Key};
use crate::web::body::{Body, Response};

/// The cache policy of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cache {
    /// Caches may keep it, but must revalidate it before each use.
    Revalidate,
    /// As `Revalidate`, but shared caches may use it for this many seconds: it is purged when the key changes.
    Shared(u64),
    /// As `Revalidate`, but only in the cache of the client, because the response depends on a secret.
    Private,
    /// Caches must not keep it.
    Never,
}

impl Cache {
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Revalidate => "no-cache",
            Self::Private => "private, no-cache",
            Self::Never => "no-store",
            Self::Shared(seconds) => {
                let text = format!("public, max-age=0, s-maxage={seconds}, must-revalidate");
                return HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-cache"));
            }
        })
    }

    /// The policy for a response that expires in `seconds_left`. Caches are not purged when an entry expires.
    pub(crate) fn until(self, seconds_left: Option<u64>) -> Self {
        match (self, seconds_left) {
            (Self::Shared(_), Some(0)) => Self::Revalidate,
            (Self::Shared(seconds), Some(left)) => Self::Shared(seconds.min(left)),
            _ => self,
        }
    }

    /// The policy for a response that other requests must not get.
    pub(crate) fn unshared(self) -> Self {
        if matches!(self, Self::Shared(_)) { Self::Revalidate } else { self }
    }
}

/// The header that lists the types of patches (RFC 5789, section 3.1).
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The header with the revision of a bucket, from which its changes can be followed.
pub(crate) const KVS_REVISION: HeaderName = HeaderName::from_static("kvs-revision");

/// The header with the percent-encoded cursor, for a page of plain text.
const KVS_CURSOR: HeaderName = HeaderName::from_static("kvs-cursor");

/// The header with the cursor of a page of plain text.
pub(crate) fn cursor(cursor: &Key) -> Option<(HeaderName, HeaderValue)> {
    let cursor = utf8_percent_encode(cursor.as_str(), NON_ALPHANUMERIC).to_string();
    HeaderValue::try_from(cursor).ok().map(|value| (KVS_CURSOR, value))
}

/// Adds a name to `Vary`, on the same line.
pub(crate) fn vary(response: &mut Response, name: &str) {
    let present = response.headers().get(VARY).and_then(|value| value.to_str().ok());
    let all = present.map_or_else(|| name.to_owned(), |present| format!("{present}, {name}"));
    if let Ok(all) = HeaderValue::try_from(all) {
        response.headers_mut().insert(VARY, all);
    }
}

/// The number of headers for which memory is reserved.
const USUAL_HEADERS: usize = 10;

/// A response with the headers that every response has.
pub(crate) fn with_body(
    status: StatusCode,
    cache: Cache,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let body = body.into();
    let length = body.length();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(USUAL_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(length.map(|length| (CONTENT_LENGTH, length.into())));
    headers.insert(CACHE_CONTROL, cache.value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 200 with plain text.
pub(crate) fn text(body: impl Into<Bytes>, cache: Cache) -> Response {
    with_body(StatusCode::OK, cache, ContentType::TEXT, body.into())
}

/// 200 with these bytes. `headers` describe them and replace those of plain text.
pub(crate) fn bytes(
    body: impl Into<Body>,
    cache: Cache,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response {
    let mut response = with_body(StatusCode::OK, cache, ContentType::TEXT, body);
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// 201 with plain text.
pub(crate) fn created(body: impl Into<Bytes>) -> Response {
    with_body(StatusCode::CREATED, Cache::Never, ContentType::TEXT, body.into())
}

/// 204.
pub(crate) fn no_content() -> Response {
    bodiless(StatusCode::NO_CONTENT, Cache::Never)
}

/// 304 with these headers.
pub(crate) fn not_modified(cache: Cache, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Response {
    let mut response = bodiless(StatusCode::NOT_MODIFIED, cache);
    response.headers_mut().extend(headers);
    response
}

/// 204 with `Allow`, for `OPTIONS`.
pub(crate) fn options(allow: &'static str) -> Response {
    let mut response = bodiless(StatusCode::NO_CONTENT, Cache::Never);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Adds `Retry-After`.
pub(crate) fn retry_after(response: &mut Response, seconds: u64) {
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
}

fn bodiless(status: StatusCode, cache: Cache) -> Response {
    // Without Content-Length, which a 304 and a 204 must not carry (RFC 9110, section 8.6).
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, cache.value());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
