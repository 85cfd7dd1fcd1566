//! The error of a request that is rejected or fails, and its response.
//!
//! Its text is one line for the client: what failed and what to do. It never contains a secret or the path of a file.
//! The cause is logged here, once, for the operator.

use std::borrow::Cow;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::problem;
use super::response;
use super::response::Cache;
use crate::model::{Error, ErrorKind};
use crate::web::body::{Body, Response};

/// The error of a request: a status, a text, and the headers that go with it.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    text: Cow<'static, str>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    accept_patch: Option<&'static str>,
    cache: Cache,
    /// Whether the response has no body.
    without_body: bool,
    /// Whether a write may have been done although it failed.
    is_outcome_unknown: bool,
    /// Members that the error has as JSON only.
    members: Vec<(&'static str, Value)>,
}

impl ApiError {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self {
            status,
            text,
            retry_after: None,
            allow: None,
            accept_patch: None,
            cache: Cache::Never,
            without_body: false,
            is_outcome_unknown: false,
            members: vec![],
        }
    }

    /// 400: the request is invalid.
    pub(crate) fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 401: a secret is needed, or the secret is wrong.
    pub(crate) fn unauthorized(text: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    /// 403: this secret does not allow the request, or no secret does.
    pub(crate) fn forbidden(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 404: no such key, or no such path.
    pub(crate) fn not_found(text: impl Into<Cow<'static, str>>, cache: Cache) -> Self {
        Self { cache, ..Self::new(StatusCode::NOT_FOUND, text) }
    }

    /// 405: the path does not support the method; `allow` lists the methods that it supports.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let text = format!("method not allowed; use {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// 409: the stored value does not permit the request.
    pub(crate) fn conflict(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// 410: changes are requested since a time that is too long ago.
    pub(crate) fn gone(text: &'static str) -> Self {
        Self::new(StatusCode::GONE, text)
    }

    /// Whether this is a 410.
    pub(crate) fn is_gone(&self) -> bool {
        self.status == StatusCode::GONE
    }

    /// 416: a range begins after the end of a value.
    pub(crate) fn range_not_satisfiable(length: u64) -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the value has {length} bytes; the range begins after them"),
        )
    }

    /// 501: the store lacks a capability.
    pub(crate) fn not_implemented(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, text)
    }

    /// 412 for a read whose If-Match or If-Unmodified-Since failed.
    pub(crate) fn read_precondition_failed(cache: Cache) -> Self {
        let text = "precondition failed (If-Match or If-Unmodified-Since); read again without it";
        // A shared cache that may keep this response would send it to clients that set no condition.
        let cache = cache.unshared();
        Self { cache, ..Self::new(StatusCode::PRECONDITION_FAILED, text) }
    }

    /// 412 for a write whose precondition failed.
    pub(crate) fn write_precondition_failed() -> Self {
        let text = "precondition failed (If-Match, If-None-Match or If-Unmodified-Since); nothing was stored; \
                    read the key again";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    /// The error of a write: its text reports whether anything was stored.
    pub(crate) fn for_write(self) -> Self {
        if self.is_outcome_unknown {
            let text = "an error interrupted the write; it may have been done: read the key before you write again";
            return Self { text: text.into(), ..self };
        }
        if self.text.contains("nothing was") {
            return self;
        }
        Self { text: format!("{}; nothing was stored", self.text).into(), ..self }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same error. If `without_body` is true, its response has a status but no body, as clients of Poky expect.
    pub(crate) fn without_body(self, without_body: bool) -> Self {
        Self { without_body, ..self }
    }

    /// 503: each attempt failed because another client had written.
    pub(crate) fn contention() -> Self {
        let text = "other clients kept writing the same keys; nothing was stored; try again in a second";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// 503 with `Retry-After: 1`: the process cannot serve requests at the moment.
    pub(crate) fn not_ready(text: &'static str) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// 503: the memory budget for responses is used up.
    pub(crate) fn response_budget_used_up() -> Self {
        Self::not_ready("too many large responses are being sent to other clients; try again in a few seconds")
    }

    /// 413: the body or a value is larger than the limit.
    pub(crate) fn too_large(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// 415: a body of an unsupported type.
    pub(crate) fn unsupported_media_type(text: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// 415: a patch of an unsupported type; `accept_patch` lists the types that are supported.
    pub(crate) fn unsupported_patch(accept_patch: &'static str) -> Self {
        let text = format!("the Content-Type of a patch must be one of {accept_patch}");
        Self { accept_patch: Some(accept_patch), ..Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text) }
    }

    /// 429: too many wrong secrets came from this address.
    pub(crate) fn too_many_wrong_secrets(seconds: u64) -> Self {
        let text = format!("too many wrong secrets from this address; try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// The error if wrong secrets cannot be counted. No secret is checked then. The status depends on the cause.
    pub(crate) fn rate_limit_failed(error: Error) -> Self {
        const WHY: &str = "secrets cannot be checked, because wrong ones cannot be counted";
        if error.kind() == ErrorKind::Busy {
            tracing::warn!("{WHY}: {error}");
            let text = format!("{WHY}; nothing was done, try again in a second");
            let busy = Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) };
            return busy.of_kind(error.kind());
        }
        tracing::error!("{WHY}: {error}");
        let text = format!("{WHY}; nothing was done; see the log of the server");
        match error.kind() {
            ErrorKind::StorageFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, text).of_kind(error.kind()),
            // Nothing was done, whatever happened to the counts.
            _ => Self::needs_operator(text).of_kind(ErrorKind::PermissionDenied),
        }
    }

    /// 500 for a problem that a person must fix. `text` describes it.
    pub(crate) fn needs_operator(text: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// 507: the disk is full. `text` says where.
    pub(crate) fn disk_full(text: String) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, text).of_kind(ErrorKind::StorageFull)
    }

    /// 500 for a bug in kvs. A write may have been done.
    pub(crate) fn internal(cause: &str) -> Self {
        tracing::error!("internal error: {cause}");
        let text = "internal error in kvs; see the log of the server";
        let error = Self { is_outcome_unknown: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, text) };
        error.of_kind(ErrorKind::Unavailable)
    }

    /// The error if the store cannot be read, for a read or before a write. Nothing was written.
    pub(crate) fn from_read(error: Error) -> Self {
        let text = match error.kind() {
            ErrorKind::Unavailable => "the store could not be read; try again, or see the log of the server",
            ErrorKind::Corrupt => "the store is damaged and could not be read; GET /status reports what to fix",
            _ => return error.into(),
        };
        tracing::error!("{error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text).of_kind(error.kind())
    }

    /// The same error with the kind of the error of the store, as the member `kind`.
    fn of_kind(self, kind: ErrorKind) -> Self {
        let name = ErrorKind::NAMES.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name);
        self.with_member("kind", name.into())
    }

    fn with_member(mut self, name: &'static str, value: Value) -> Self {
        self.members.push((name, value));
        self
    }

    /// 409: the index of an append is taken. `next` is the index of the next entry.
    pub(crate) fn index_taken(next: u64) -> Self {
        let text = format!(
            "the next index of this log is {next}; nothing was appended; read the entries that you do not know, and \
             append with index={next}"
        );
        Self::conflict(text).with_member("next", next.into())
    }

    /// The response with this error.
    pub(crate) fn response(self, headers: &HeaderMap) -> Response {
        let mut response = problem::with_members(self.status, &self.text, self.members, headers);
        if self.without_body {
            *response.body_mut() = Body::empty();
            response.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
        response.headers_mut().insert(CACHE_CONTROL, self.cache.value());
        let out = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            out.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            out.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(accept_patch) = self.accept_patch {
            out.insert(response::ACCEPT_PATCH, HeaderValue::from_static(accept_patch));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Not Basic, because a browser would then show its own dialog for a user name and password.
            out.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kvs\""));
        }
        response
    }
}

/// The text of an `Invalid` or `TooLarge` error goes to the client. Any other text may contain paths of the server, so
/// it goes only to the log.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, text) = match error.kind() {
            ErrorKind::Invalid => return Self::invalid(error.to_string()).of_kind(error.kind()),
            ErrorKind::TooLarge => return Self::too_large(error.to_string()).of_kind(error.kind()),
            ErrorKind::Busy => {
                tracing::warn!("{error}");
                let text = "the store is locked or busy; nothing was done, try again in a second";
                let busy = Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) };
                return busy.of_kind(error.kind());
            }
            ErrorKind::StorageFull => (
                StatusCode::INSUFFICIENT_STORAGE,
                "the disk of the server is full; nothing was stored; free some space, then try again",
            ),
            ErrorKind::PermissionDenied => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "kvs has no permission to access its data; nothing was stored; GET /status says what to do",
            ),
            ErrorKind::Corrupt => {
                report_damage(&error);
                let text = "the store is damaged and refuses writes; nothing was stored; GET /status reports the place";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, text).of_kind(error.kind());
            }
            ErrorKind::Unavailable => {
                (StatusCode::INTERNAL_SERVER_ERROR, "the store failed; try again, or see the log of the server")
            }
        };
        tracing::error!("{error}");
        let is_outcome_unknown = error.is_outcome_unknown();
        Self { is_outcome_unknown, ..Self::new(status, text) }.of_kind(error.kind())
    }
}

/// Logs damage that a request found. The target lets the log print the same damage only once.
pub(crate) fn report_damage(damage: impl std::fmt::Display) {
    tracing::error!(target: "kvs::damage", "{damage}");
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

    use super::*;
    use crate::model::ContentType;

    fn status(kind: ErrorKind) -> u16 {
        ApiError::from(Error::new(kind, "/home/someone/data/default.yaml"))
            .response(&HeaderMap::new())
            .status()
            .as_u16()
    }

    #[test]
    fn every_error_kind_has_its_status() {
        let kinds = [
            ErrorKind::Invalid,
            ErrorKind::TooLarge,
            ErrorKind::Busy,
            ErrorKind::StorageFull,
            ErrorKind::Corrupt,
            ErrorKind::Unavailable,
        ];
        assert_eq!(kinds.map(status), [400, 413, 503, 507, 500, 500]);
        assert_eq!(status(ErrorKind::PermissionDenied), 500);
    }

    #[test]
    fn failed_writes_report_their_outcome() {
        let text_of = |error: ApiError| error.for_write().text.into_owned();
        for kind in
            [ErrorKind::Invalid, ErrorKind::TooLarge, ErrorKind::Busy, ErrorKind::StorageFull, ErrorKind::Corrupt]
        {
            let text = text_of(Error::new(kind, "what is wrong").into());
            assert_eq!(text.matches("nothing was").count(), 1, "{text}");
        }
        for error in [
            ApiError::write_precondition_failed(),
            ApiError::contention(),
            ApiError::from_read(Error::new(ErrorKind::Unavailable, "x")),
        ] {
            let text = text_of(error);
            assert_eq!(text.matches("nothing was").count(), 1, "{text}");
        }
        for error in [Error::new(ErrorKind::Unavailable, "x").into(), ApiError::internal("x")] {
            let text = text_of(error);
            assert!(text.contains("it may have been done: read the key") && !text.contains("nothing was"), "{text}");
        }
    }

    #[test]
    fn server_errors_contain_no_path() {
        for kind in [
            ErrorKind::Busy,
            ErrorKind::StorageFull,
            ErrorKind::PermissionDenied,
            ErrorKind::Corrupt,
            ErrorKind::Unavailable,
        ] {
            let error = ApiError::from(Error::new(kind, "/home/someone/data/default.yaml"));
            assert!(!error.text.contains("home"), "{}", error.text);
        }
    }

    #[tokio::test]
    async fn error_texts_are_one_line() {
        let response = ApiError::invalid("a\r\nSet-Cookie: x").response(&HeaderMap::new());
        assert_eq!(response.headers().get(CONTENT_LENGTH).unwrap(), "17");
        assert_eq!(response.headers().get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "a  Set-Cookie: x\n");
    }

    #[test]
    fn json_is_sent_only_if_accept_lists_it() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("text/html, */*"));
        let kind = |r: Response| r.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        assert_eq!(kind(ApiError::invalid("x").response(&headers)), ContentType::TEXT);
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        assert_eq!(kind(ApiError::invalid("x").response(&headers)), "application/problem+json");
    }
}
