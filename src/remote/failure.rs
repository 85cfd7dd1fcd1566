//! What a response means: a result, an error of kvs, or an answer of a web server in front of it.

use std::fmt;

use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use serde::Deserialize;

use super::address::RemoteAddress;
use super::exchange::{RemoteRequest, Reply};
use crate::model::{Error, ErrorKind, Result};

/// The type of an error of kvs, because requests accept JSON.
const PROBLEM: &str = "application/problem+json";

/// By default `mod_fcgid` refuses longer bodies, with 500.
const FCGID_BODY_BYTES: usize = 128 << 10;

/// An error of kvs (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
    /// The kind of an error of the store.
    kind: Option<String>,
}

fn has_type(reply: &Reply, content_type: &str) -> bool {
    reply.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(content_type.as_bytes()))
}

/// Whether a read may succeed shortly.
pub(super) fn is_worth_a_retry(reply: &Reply) -> bool {
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&reply.status)
}

/// The response, if it is a result of kvs, or one of the errors that the caller understands.
///
/// # Errors
/// Any other one.
pub(super) fn check(address: &RemoteAddress, request: &RemoteRequest<'_>, reply: Reply) -> Result<Reply> {
    let status = reply.status;
    if status.is_success() {
        return Ok(reply);
    }
    if !has_type(&reply, PROBLEM) {
        return Err(of_web_server(address, request, &reply));
    }
    if [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::GONE].contains(&status) {
        return Ok(reply);
    }
    Err(problem(address, &reply))
}

/// An error of kvs.
pub(super) fn problem(address: &RemoteAddress, reply: &Reply) -> Error {
    let Ok(Problem { detail, kind }) = serde_json::from_slice(&reply.body) else {
        return unreadable(address, "it is an error without a text");
    };
    let named = ErrorKind::NAMES.into_iter().find(|(_, name)| kind.as_deref() == Some(name));
    let kind = named.map_or_else(|| kind_of(reply.status), |(kind, _)| kind);
    Error::new(kind, format!("{address}: {detail}"))
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
            ErrorKind::Busy
        }
        StatusCode::INSUFFICIENT_STORAGE => ErrorKind::StorageFull,
        status if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// An answer that does not come from kvs.
fn of_web_server(address: &RemoteAddress, request: &RemoteRequest<'_>, reply: &Reply) -> Error {
    let status = reply.status;
    if status.is_redirection() {
        let target = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("another address");
        let target = target.split('?').next().unwrap_or(target);
        let text = format!("{address} redirects to {target}; nothing was done; name the address it redirects to");
        return Error::new(ErrorKind::Invalid, text);
    }
    let bytes = request.body.as_ref().map_or(0, |(_, body)| body.len());
    let hint = if bytes > FCGID_BODY_BYTES {
        format!("; the request has {bytes} bytes, and the web server may allow less (FcgidMaxRequestLen)")
    } else {
        String::new()
    };
    if status.is_server_error() && !request.is_read {
        let text = format!(
            "{address}: the web server answered {status}{hint}; it is unknown whether the write was done: read before \
             you write again"
        );
        return Error::new(ErrorKind::Unavailable, text);
    }
    let text = format!("{address}: the web server answered {status}, and not kvs; nothing was done; check the address");
    Error::new(if status.is_server_error() { ErrorKind::Unavailable } else { kind_of(status) }, text + &hint)
}

/// The error for a response that kvs does not send.
pub(super) fn unreadable(address: &RemoteAddress, why: impl fmt::Display) -> Error {
    let text = format!("{address}: the response is not one of kvs, or one of another version: {why}");
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;

    fn error(status: u16, content_type: &str, body: &'static str, request: RemoteRequest<'_>) -> Error {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let reply =
            Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from_static(body.as_bytes()) };
        check(&"https://host/".parse().unwrap(), &request, reply).unwrap_err()
    }

    fn write() -> RemoteRequest<'static> {
        RemoteRequest::write(Method::POST, "txn/default".to_owned(), vec![])
    }

    #[test]
    fn errors_of_kvs_have_its_kind_or_that_of_their_status() {
        let kind = |status, body| error(status, "application/problem+json", body, write()).kind();
        assert_eq!(kind(500, r#"{"detail":"x","kind":"damaged"}"#), ErrorKind::Corrupt);
        assert_eq!(kind(500, r#"{"detail":"x"}"#), ErrorKind::Unavailable);
        assert_eq!(kind(401, r#"{"detail":"wrong secret"}"#), ErrorKind::PermissionDenied);
        assert_eq!(kind(503, r#"{"detail":"x"}"#), ErrorKind::Busy);
        assert_eq!(kind(413, r#"{"detail":"x"}"#), ErrorKind::TooLarge);
        assert_eq!(kind(507, "{}"), ErrorKind::Unavailable);
    }

    #[test]
    fn a_web_server_that_fails_leaves_a_write_unknown_and_a_read_not() {
        let failed = error(502, "text/html", "", write());
        assert!(failed.is_outcome_unknown() && failed.to_string().contains("unknown whether"), "{failed}");
        let read = error(502, "text/html", "", RemoteRequest::get("kv/default".to_owned(), vec![]));
        assert!(read.to_string().contains("nothing was done"), "{read}");
        let missing = error(404, "text/html", "", write());
        assert!(missing.is_invalid() && missing.to_string().contains("not kvs"), "{missing}");
        let long = write().with_body("application/json", vec![b' '; 200_000]);
        assert!(error(500, "text/html", "", long).to_string().contains("FcgidMaxRequestLen"));
    }
}
