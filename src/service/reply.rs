//! Answers: the one place that knows status codes and the headers every answer carries.
//!
//! A [`Refusal`] is what the rest of the service returns as an error. Its text is one line that tells the client what to
//! do; it never holds a secret nor the place of a file. What the operator must know of it is logged here, once.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::accept;
use super::budget::Budget;
use super::compose::{Composer, Content};
use super::meta;
use crate::model::{Bucket, ContentType, Entry, Error, Key, Kind};

/// What caches may do with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cache {
    /// Keep it, but ask again before each use.
    Revalidate,
    /// The same, but caches that many share need not ask for so many seconds: they are told when the key changes.
    Shared(u64),
    /// The same, and only the client's own cache: who may see it depends on a secret.
    Private,
    /// Keep nothing.
    Never,
}

impl Cache {
    fn value(self) -> HeaderValue {
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

    /// The same for an answer that ends in so many seconds: nobody purges what ends by itself.
    pub(crate) fn until(self, end: Option<u64>) -> Self {
        match (self, end) {
            (Self::Shared(_), Some(0)) => Self::Revalidate,
            (Self::Shared(seconds), Some(left)) => Self::Shared(seconds.min(left)),
            _ => self,
        }
    }

    /// The same for an answer to this request only.
    pub(crate) fn unshared(self) -> Self {
        if matches!(self, Self::Shared(_)) { Self::Revalidate } else { self }
    }
}

/// A request that is not done, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: Cow<'static, str>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    cache: Cache,
    /// Whether the status says it all.
    silent: bool,
    /// Whether a write may have been done all the same.
    is_outcome_open: bool,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self {
            status,
            text,
            retry_after: None,
            allow: None,
            cache: Cache::Never,
            silent: false,
            is_outcome_open: false,
        }
    }

    /// The request is wrong.
    pub(crate) fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// A secret is needed, or the one given is wrong.
    pub(crate) fn unauthorized(text: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    /// Not with this secret, or not at all.
    pub(crate) fn forbidden(text: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// There is nothing there.
    pub(crate) fn missing(text: &'static str, cache: Cache) -> Self {
        Self { cache, ..Self::new(StatusCode::NOT_FOUND, text) }
    }

    /// There is something there, but it does not do this; `allow` lists what it does.
    pub(crate) fn method(allow: &'static str) -> Self {
        let text = format!("this method does nothing here; use {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// An If-Match or If-Unmodified-Since of a read does not hold.
    pub(crate) fn condition(cache: Cache) -> Self {
        let text = "the condition of the request does not hold; read the key again without it";
        // Told how long to keep it, a cache would give it to who set no condition.
        let cache = cache.unshared();
        Self { cache, ..Self::new(StatusCode::PRECONDITION_FAILED, text) }
    }

    /// What a write demands of the entry that it would replace does not hold.
    pub(crate) fn guard() -> Self {
        let text = "the condition of the request does not hold; nothing was stored; read the key, then decide";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    /// The same in answer to a request that would have written: it says what became of that.
    pub(crate) fn of_a_write(self) -> Self {
        if self.is_outcome_open || self.text.contains("nothing was") {
            return self;
        }
        Self { text: format!("{}; nothing was stored", self.text).into(), ..self }
    }

    /// What the client is told.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same, without a body if that is wished: clients of Poky expect none.
    pub(crate) fn silent(self, silent: bool) -> Self {
        Self { silent, ..self }
    }

    /// Others were faster, again and again.
    pub(crate) fn outrun() -> Self {
        let text = "others kept writing the same keys; nothing was stored; try again in a second";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// Requests are better sent elsewhere, or a little later.
    pub(crate) fn not_ready(text: &'static str) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// What answers may hold is held by others.
    pub(crate) fn crowded() -> Self {
        Self::not_ready("too many large answers are on their way to others; try again in a few seconds")
    }

    /// More than is taken.
    pub(crate) fn too_large(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// A body of a type that is not understood.
    pub(crate) fn unsupported(text: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// Too many wrong secrets came from this address.
    pub(crate) fn paused(seconds: u64) -> Self {
        let text = format!("too many wrong secrets from this address; try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// Wrong secrets cannot be counted, so this one is not judged, right or wrong.
    pub(crate) fn uncounted(error: Error) -> Self {
        const WHY: &str = "secrets cannot be checked now, since wrong ones cannot be counted";
        if error.kind() == Kind::Busy {
            tracing::warn!("{WHY}: {error}");
            let text = format!("{WHY}; nothing was done, try again shortly");
            return Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) };
        }
        tracing::error!("{WHY}: {error}");
        let text = format!("{WHY}; nothing was done, and the server's log says why");
        match error.kind() {
            Kind::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, text),
            _ => Self::damaged(text),
        }
    }

    /// Something that a person must mend; `text` names it.
    pub(crate) fn damaged(text: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// Something went wrong that nobody foresaw, maybe after a write.
    pub(crate) fn internal(what: &str) -> Self {
        tracing::error!("this should not happen: {what}");
        let text = "kvs failed; if this was a write, it may have been done: read the key before you write again";
        Self { is_outcome_open: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, text) }
    }

    /// The store could not be looked at, by a read or before a write: nothing was to be stored yet.
    pub(crate) fn unread(error: Error) -> Self {
        let text = match error.kind() {
            Kind::Failed => "the store could not be read, and the log of the server says why; try again",
            Kind::Damaged => "the store is damaged and could not be read; /status names what to mend",
            _ => return error.into(),
        };
        tracing::error!("{error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// The answer: a problem in JSON (RFC 9457) to who accepts JSON, else a line of text.
    pub(crate) fn answer(self, headers: &HeaderMap) -> Response {
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let json = accept::accepts_problem(headers);
        let (content_type, body) = if json {
            let problem = serde_json::json!({
                "type": "about:blank",
                "title": self.status.canonical_reason().unwrap_or("Error"),
                "status": self.status.as_u16(),
                "detail": line,
            });
            ("application/problem+json", format!("{problem}\n"))
        } else {
            (ContentType::TEXT, line + "\n")
        };
        let body = if self.silent { Bytes::new() } else { body.into() };
        let mut response = shell(self.status, self.cache, content_type, body);
        let out = response.headers_mut();
        out.insert(VARY, HeaderValue::from_static("Accept"));
        if let Some(seconds) = self.retry_after {
            out.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            out.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Not Basic: a browser would ask for a name and a password over the page.
            out.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kvs\""));
        }
        response
    }
}

/// The text of an error of kind `Failed` or the like may name files of the server, so it goes to the log only.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, text) = match error.kind() {
            Kind::Invalid => return Self::invalid(error.to_string()),
            Kind::TooLarge => return Self::too_large(error.to_string()),
            Kind::Busy => {
                tracing::warn!("{error}");
                let text = "the store is held by others; nothing was done, try again in a second";
                return Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) };
            }
            Kind::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "there is no room left on the server; nothing was stored; try again once there is some",
            ),
            Kind::PermissionDenied => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "kvs is not permitted to use its data; nothing was stored; /status says what to do",
            ),
            Kind::Damaged => {
                report_damage(&error);
                let text = "the store is damaged and takes no writes; nothing was stored; /status names the place";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
            Kind::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the store failed; if this was a write, it may have been done: read the key before you write again",
            ),
        };
        tracing::error!("{error}");
        Self { is_outcome_open: error.is_outcome_open(), ..Self::new(status, text) }
    }
}

/// Reports damage that a request has met. The log keeps these apart from other lines, so as to tell the same damage once.
pub(crate) fn report_damage(what: impl std::fmt::Display) {
    tracing::error!(target: "kvs::damage", "{what}");
}

/// Names one more header of the request that the answer depends on, on the same line.
pub(crate) fn vary(response: &mut Response, name: &str) {
    let before = response.headers().get(VARY).and_then(|value| value.to_str().ok());
    let all = before.map_or_else(|| name.to_owned(), |before| format!("{before}, {name}"));
    if let Ok(all) = HeaderValue::try_from(all) {
        response.headers_mut().insert(VARY, all);
    }
}

fn shell(status: StatusCode, cache: Cache, content_type: &'static str, body: impl Into<Content>) -> Response {
    let body = body.into();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, body.length().into());
    headers.insert(CACHE_CONTROL, cache.value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.body_mut() = body.body();
    response
}

/// 200 with plain text, byte for byte.
pub(crate) fn text(body: impl Into<Bytes>, cache: Cache) -> Response {
    shell(StatusCode::OK, cache, ContentType::TEXT, body.into())
}

/// 200 with these bytes; `headers` say what they are and replace those of plain text.
pub(crate) fn bytes(
    body: Bytes,
    cache: Cache,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response {
    content(body, cache, headers)
}

/// The same with bytes that may still have to be made.
pub(crate) fn content(
    body: impl Into<Content>,
    cache: Cache,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response {
    let mut response = shell(StatusCode::OK, cache, ContentType::TEXT, body);
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// 201 with plain text: what was asked for is new.
pub(crate) fn created(body: impl Into<Bytes>) -> Response {
    shell(StatusCode::CREATED, Cache::Never, ContentType::TEXT, body.into())
}

/// 204: it was done, and there is nothing to show.
pub(crate) fn nothing() -> Response {
    bodiless(StatusCode::NO_CONTENT, Cache::Never)
}

/// 200 with JSON.
pub(crate) fn json(shown: &impl Serialize) -> Result<Response, Refusal> {
    let what = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok(bytes(meta::json(shown)?, Cache::Never, what))
}

/// 200 with JSON that was put together.
pub(crate) fn composed(body: Content) -> Response {
    content(body, Cache::Never, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// 409 in JSON (RFC 9457 with members of its own): why a transaction was not done, whatever the client accepts.
pub(crate) fn conflict(
    check: usize,
    (bucket, key): (&Bucket, &Key),
    found: Option<&Entry>,
) -> Result<Response, Refusal> {
    let mut body = Composer::default();
    body.open(&serde_json::json!({
        "type": "about:blank",
        "title": "Conflict",
        "status": StatusCode::CONFLICT.as_u16(),
        "detail": format!("check {check} does not hold; nothing was stored; found tells what there is"),
        "check": check,
    }))?;
    body.text(",\"found\":");
    meta::found(&mut body, (bucket, key), found)?;
    body.text("}");
    // Who may write is trusted with this much.
    let body = body.finish(&Budget::default())?;
    Ok(shell(StatusCode::CONFLICT, Cache::Never, "application/problem+json", body))
}

/// 304: what the client has is what there is.
pub(crate) fn same(cache: Cache, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Response {
    let mut response = bodiless(StatusCode::NOT_MODIFIED, cache);
    response.headers_mut().extend(headers);
    response
}

/// 204 that says which methods there are.
pub(crate) fn options(allow: &'static str) -> Response {
    let mut response = bodiless(StatusCode::NO_CONTENT, Cache::Never);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Asks the client to wait a little before it asks again.
pub(crate) fn retry_after(response: &mut Response, seconds: u64) {
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
}

fn bodiless(status: StatusCode, cache: Cache) -> Response {
    // A body of known size 0 would be given `Content-Length: 0`, which a 304 and a 204 must not carry
    // (RFC 9110 section 8.6); an empty stream has no known size.
    let nothing = futures_util::stream::empty::<Result<Bytes, std::convert::Infallible>>();
    let mut response = Response::new(Body::from_stream(nothing));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, cache.value());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(kind: Kind) -> u16 {
        Refusal::from(Error::new(kind, "/home/someone/data/default.yaml")).answer(&HeaderMap::new()).status().as_u16()
    }

    #[test]
    fn every_kind_has_its_status() {
        let kinds = [Kind::Invalid, Kind::TooLarge, Kind::Busy, Kind::Full, Kind::Damaged, Kind::Failed];
        assert_eq!(kinds.map(status), [400, 413, 503, 507, 500, 500]);
        assert_eq!(status(Kind::PermissionDenied), 500);
    }

    #[test]
    fn a_refused_write_says_what_became_of_it() {
        let told = |refusal: Refusal| refusal.of_a_write().text.into_owned();
        for kind in [Kind::Invalid, Kind::TooLarge, Kind::Busy, Kind::Full, Kind::Damaged] {
            let text = told(Error::new(kind, "what is wrong").into());
            assert_eq!(text.matches("nothing was").count(), 1, "{text}");
        }
        for refusal in [Refusal::guard(), Refusal::outrun(), Refusal::unread(Error::new(Kind::Failed, "x"))] {
            let text = told(refusal);
            assert_eq!(text.matches("nothing was").count(), 1, "{text}");
        }
        for refusal in [Error::new(Kind::Failed, "x").into(), Refusal::internal("x")] {
            let text = told(refusal);
            assert!(text.contains("it may have been done: read the key") && !text.contains("nothing was"), "{text}");
        }
    }

    #[test]
    fn a_failure_names_no_file() {
        for kind in [Kind::Busy, Kind::Full, Kind::PermissionDenied, Kind::Damaged, Kind::Failed] {
            let refusal = Refusal::from(Error::new(kind, "/home/someone/data/default.yaml"));
            assert!(!refusal.text.contains("home"), "{}", refusal.text);
        }
    }

    #[tokio::test]
    async fn a_text_stays_on_its_line() {
        let response = Refusal::invalid("a\r\nSet-Cookie: x").answer(&HeaderMap::new());
        assert_eq!(response.headers().get(CONTENT_LENGTH).unwrap(), "17");
        assert_eq!(response.headers().get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "a  Set-Cookie: x\n");
    }

    #[test]
    fn json_is_for_who_names_it() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("text/html, */*"));
        let kind = |r: Response| r.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        assert_eq!(kind(Refusal::invalid("x").answer(&headers)), ContentType::TEXT);
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        assert_eq!(kind(Refusal::invalid("x").answer(&headers)), "application/problem+json");
    }
}
