//! Responses in JSON.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::api_error::ApiError;
use super::entry_json;
use super::entry_json::json as json_bytes;
use super::response;
use super::response::Cache;
use super::streamed::{Composer, Content};
use crate::model::Entry;
use crate::web::body::Response;
use crate::web::budget::Budget;
use crate::web::entry_name::EntryName;

/// 200 with JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Response, ApiError> {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok(response::bytes(json_bytes(value)?, Cache::Never, headers))
}

/// 200 with JSON from a [`Composer`].
pub(crate) fn composed(body: Content) -> Response {
    response::bytes(body, Cache::Never, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// 409 for a transaction whose check failed: `application/problem+json` (RFC 9457) with the extra members `check` and
/// `found`, even if the client does not accept JSON.
pub(crate) fn conflict(check: usize, name: EntryName<'_>, found: Option<&Entry>) -> Result<Response, ApiError> {
    let mut body = Composer::default();
    body.open_object(&serde_json::json!({
        "type": "about:blank",
        "title": "Conflict",
        "status": StatusCode::CONFLICT.as_u16(),
        "detail": format!("check {check} failed; nothing was stored; found is the current entry"),
        "check": check,
    }))?;
    body.text(",\"found\":");
    entry_json::entry_or_null(&mut body, name, found)?;
    body.text("}");
    // A client that may write is trusted with this memory.
    let body = body.finish(&Budget::default())?;
    Ok(response::with_body(StatusCode::CONFLICT, Cache::Never, "application/problem+json", body))
}
