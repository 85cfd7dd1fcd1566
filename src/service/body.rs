//! The body of a request: all of it, or a refusal. Asking for it is what makes a door read it, so who asks has judged the
//! head of the request before.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Asked;
use super::reply::Refusal;

/// What a body of values in a notation may be larger than these values, which it may take three times as many bytes for.
const OVERHEAD: usize = 64 << 10;

/// The media type of a form, which `curl -d` gives whatever it sends.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The largest body that holds values in a notation, such as a form, where a value has at most `most` bytes.
pub(crate) fn notation(most: usize) -> usize {
    most.saturating_mul(3).saturating_add(OVERHEAD)
}

/// The media type that the request gives its body, in lower case and without parameters; empty if it gives none.
pub(crate) fn essence(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(CONTENT_TYPE) else { return String::new() };
    value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The whole body, which has the length its header says.
pub(crate) async fn collect(asked: Asked<'_>, body: Body, most: usize) -> Result<Bytes, Refusal> {
    let headers = &asked.parts.headers;
    if headers.contains_key(CONTENT_RANGE) {
        // RFC 9110 section 14.5: a part must not be taken for the whole.
        return Err(Refusal::invalid("a Content-Range was sent, and a value is stored as a whole: send all of it"));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::unsupported("send the body without a Content-Encoding"));
    }
    let too_large = || Refusal::too_large(format!("the body is too large: at most {most} bytes are taken"));
    let told: Option<usize> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if told.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    // The client's time is no time spent on the request.
    let receiving = asked.tally.receive();
    let body = match Limited::new(body, most).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => return Err(broken(error)),
    };
    if told.is_some_and(|length| length != body.len()) {
        return Err(Refusal::invalid("the body is not as long as its Content-Length; send it again"));
    }
    drop(receiving);
    asked.tally.came(body.len());
    Ok(body)
}

/// Waits for the end of a body that means nothing here: nothing is done for half a request.
pub(crate) async fn pass_over(asked: Asked<'_>, mut body: Body) -> Result<(), Refusal> {
    let _receiving = asked.tally.receive();
    while let Some(frame) = body.frame().await {
        frame.map_err(broken)?;
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    tracing::debug!("a body broke off: {error}");
    Refusal::invalid("the body broke off before its end; send it again")
}

/// The body as JSON rows or the like, which it must be said to be.
pub(crate) async fn json(asked: Asked<'_>, body: Body) -> Result<Bytes, Refusal> {
    let essence = essence(&asked.parts.headers);
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(Refusal::unsupported("the body must be JSON, with Content-Type: application/json"));
    }
    collect(asked, body, notation(asked.service.settings.max_value)).await
}
