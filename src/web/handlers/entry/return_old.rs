//! `?return=old`: a write that returns the previous value.

use crate::model::{Entry, Returning};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;
use crate::web::response::response::Cache;
use crate::web::response::{response, safe_types};

/// Whether the request has `return=old`. Then it must also be allowed to read the key.
pub(crate) async fn parse(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<bool, ApiError> {
    match ctx.query.text("return")?.as_deref() {
        None => Ok(false),
        Some("old") => authorize::require_read(ctx, Place::Key(name)).await.map(|_| true),
        Some(other) => Err(ApiError::invalid(format!("return must be old, got {}", number::quote(other)))),
    }
}

/// What the outcome of a batch must have, depending on whether the response has a value.
pub(super) fn returning(value: bool) -> Returning {
    if value { Returning::Entries } else { Returning::Metadata }
}

/// The previous value with its type; 204 if there was none.
pub(crate) fn answer(before: Option<Entry>) -> Response {
    match before {
        Some(entry) => response::bytes(entry.value, Cache::Never, safe_types::headers(&entry.content_type)),
        None => response::no_content(),
    }
}
