//! A list of names, as JSON or as lines of text.

use bytes::Bytes;

use super::response;
use super::response::Cache;
use crate::web::body::Response;
use crate::web::request::form::QueryString;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;

/// Whether the request asks for lines of text: `format=text`.
pub(crate) fn is_text(query: QueryString<'_>) -> Result<bool, ApiError> {
    match query.text("format")?.as_deref() {
        None | Some("json") => Ok(false),
        Some("text") => Ok(true),
        Some(other) => Err(ApiError::invalid(format!("format must be json or text, got {}", number::quote(other)))),
    }
}

/// The names, one on each line.
pub(crate) fn lines<'a>(names: impl Iterator<Item = &'a str>) -> Response {
    let lines: String = names.flat_map(|name| [name, "\n"]).collect();
    response::text(Bytes::from(lines), Cache::Never)
}
