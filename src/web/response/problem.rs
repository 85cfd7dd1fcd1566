//! The response with an error: `application/problem+json` (RFC 9457), or a line of text.

use http::header::{HeaderValue, VARY};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::response;
use super::response::Cache;
use crate::model::ContentType;
use crate::web::body::Response;
use crate::web::request::accept_header;

/// An error response that is not cached: `application/problem+json` (RFC 9457) if the client accepts JSON, else a line
/// of text.
pub fn problem(status: StatusCode, text: &str, headers: &HeaderMap) -> Response {
    with_members(status, text, vec![], headers)
}

pub(super) fn with_members(
    status: StatusCode,
    text: &str,
    members: Vec<(&'static str, Value)>,
    headers: &HeaderMap,
) -> Response {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (content_type, body) = if accept_header::accepts_problem(headers) {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": line,
        });
        if let Some(problem) = problem.as_object_mut() {
            problem.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        ("application/problem+json", format!("{problem}\n"))
    } else {
        (ContentType::TEXT, line + "\n")
    };
    let mut response = response::with_body(status, Cache::Never, content_type, body);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}
