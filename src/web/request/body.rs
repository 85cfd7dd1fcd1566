//! Reads the body of a request. A server receives the body only when a handler asks for it here, so a handler checks
//! the headers first.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http_body_util::BodyExt as _;

use super::content_digest;
use crate::model::ContentType;
use crate::web::body::{Body, CollectError};
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;

/// How much larger than three times the largest value an encoded body may be, in bytes.
const ENCODING_OVERHEAD_BYTES: usize = 64 << 10;

/// How much larger than that the body of a transaction may be, in bytes.
const TRANSACTION_BYTES: usize = 3 << 20;

/// The media type of a form. `curl -d` always sends it.
pub(crate) const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The size limit of a body with encoded values, such as a form or JSON, if a value may have `max_value_bytes`.
pub(crate) fn max_encoded_bytes(max_value_bytes: usize) -> usize {
    max_value_bytes.saturating_mul(3).saturating_add(ENCODING_OVERHEAD_BYTES)
}

/// The media type in `Content-Type`, in lower case and without parameters; empty if there is none.
pub(crate) fn essence(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(CONTENT_TYPE) else { return String::new() };
    value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The media type of the value. The type of a form is ignored, because `curl -d` always sends it. Without a type, a
/// value in UTF-8 is text and any other value is bytes.
pub(crate) fn content_type(headers: &HeaderMap, value: &[u8]) -> Result<ContentType, ApiError> {
    content_type_of(headers, || std::str::from_utf8(value).is_ok())
}

/// The media type of a value that is UTF-8 or not.
pub(super) fn content_type_of(headers: &HeaderMap, is_utf8: impl FnOnce() -> bool) -> Result<ContentType, ApiError> {
    let sent = headers.get(CONTENT_TYPE).map(|sent| sent.to_str().unwrap_or("?"));
    match sent {
        _ if essence(headers) == FORM_TYPE => Ok(ContentType::default()),
        Some(sent) if !sent.trim().is_empty() => Ok(ContentType::new(sent)?),
        _ if is_utf8() => Ok(ContentType::default()),
        _ => Ok(ContentType::new("application/octet-stream")?),
    }
}

/// Reads the whole body, at most `max_bytes`.
///
/// # Errors
/// If the body is larger or ends early, if its length is not its `Content-Length` or its hash not its `Content-Digest`,
/// or if it is partial or compressed.
pub(crate) async fn collect(ctx: RequestContext<'_>, body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    let headers = &ctx.parts.headers;
    let announced = announced_length(headers, max_bytes as u64)?;
    // Waiting for the client does not count as time spent on the request.
    let receiving = ctx.timer.begin_receive();
    let body = body.bytes(max_bytes).await.map_err(|error| match error {
        CollectError::TooLarge => too_large(max_bytes as u64),
        CollectError::Broken(error) => incomplete_body(error),
    })?;
    check_length(announced, body.len() as u64)?;
    drop(receiving);
    content_digest::verify(headers, &body)?;
    ctx.timer.set_received(body.len());
    Ok(body)
}

/// The length that a body will have, if the client says so.
///
/// # Errors
/// If it is longer than `max_bytes`, or if the body is partial or compressed.
pub(super) fn announced_length(headers: &HeaderMap, max_bytes: u64) -> Result<Option<u64>, ApiError> {
    if headers.contains_key(CONTENT_RANGE) {
        // RFC 9110, section 14.5: a part must not be stored as the whole.
        return Err(ApiError::invalid("Content-Range is not supported; send the whole value"));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::unsupported_media_type("Content-Encoding is not supported; send the body uncompressed"));
    }
    let announced: Option<u64> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    match announced {
        Some(length) if length > max_bytes => Err(too_large(max_bytes)),
        announced => Ok(announced),
    }
}

pub(super) fn check_length(announced: Option<u64>, bytes: u64) -> Result<(), ApiError> {
    if announced.is_some_and(|length| length != bytes) {
        return Err(ApiError::invalid("the length of the body is not its Content-Length; send the request again"));
    }
    Ok(())
}

pub(super) fn too_large(max_bytes: u64) -> ApiError {
    ApiError::too_large(format!("the body is too large; the limit is {max_bytes} bytes"))
}

/// Reads a body and drops it. If the body ends early, this is an error, because the request must then have no effect.
pub(crate) async fn drain(ctx: RequestContext<'_>, mut body: Body) -> Result<(), ApiError> {
    let _receiving = ctx.timer.begin_receive();
    while let Some(frame) = body.frame().await {
        frame.map_err(incomplete_body)?;
    }
    Ok(())
}

pub(super) fn incomplete_body(error: impl std::fmt::Display) -> ApiError {
    tracing::debug!("a request body ended early: {error}");
    ApiError::invalid("the body ended early; send the request again")
}

/// Reads a body whose `Content-Type` must be JSON.
pub(crate) async fn json(ctx: RequestContext<'_>, body: Body) -> Result<Bytes, ApiError> {
    json_up_to(ctx, body, max_encoded_bytes(ctx.state.settings.max_value_bytes)).await
}

/// The same for a transaction, which has many values.
pub(crate) async fn transaction(ctx: RequestContext<'_>, body: Body) -> Result<Bytes, ApiError> {
    let max_bytes = max_encoded_bytes(ctx.state.settings.max_value_bytes).saturating_add(TRANSACTION_BYTES);
    json_up_to(ctx, body, max_bytes).await
}

async fn json_up_to(ctx: RequestContext<'_>, body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    let essence = essence(&ctx.parts.headers);
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(ApiError::unsupported_media_type("the body must be JSON; send Content-Type: application/json"));
    }
    collect(ctx, body, max_bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_is_kept_except_that_of_a_form() {
        let kept = |sent: Option<&str>, value: &[u8]| {
            let headers = sent.into_iter().map(|sent| (CONTENT_TYPE, sent.parse().unwrap())).collect();
            content_type(&headers, value).map(|kept| kept.as_str().to_owned())
        };
        let text = ContentType::TEXT;
        assert_eq!(kept(Some("image/png"), b"\x89").unwrap(), "image/png");
        assert_eq!(kept(Some("application/json; charset=utf-8"), b"1").unwrap(), "application/json; charset=utf-8");
        assert_eq!(kept(Some("Application/X-WWW-Form-Urlencoded"), b"a=1").unwrap(), text);
        assert_eq!(kept(Some(""), b"a").unwrap(), text);
        assert_eq!(kept(None, "ä".as_bytes()).unwrap(), text);
        assert_eq!(kept(None, b"\xff").unwrap(), "application/octet-stream");
        assert!(kept(Some("png"), b"").is_err());
    }
}
