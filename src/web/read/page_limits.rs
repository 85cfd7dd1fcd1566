//! The limits of a page, of a list and of changes.

use crate::web::request::form::QueryString;
use crate::web::response::api_error::ApiError;

/// The largest `limit` of a page, in entries or changes.
const MAX_LIMIT: i64 = 1000;
/// The `limit` of a page if the client sends none.
pub(crate) const DEFAULT_LIMIT: usize = 100;
/// A page ends early when its values have this many bytes as JSON.
pub(crate) const MAX_PAGE_BYTES: u64 = 16 << 20;

/// The `limit` in a query.
///
/// # Errors
/// If it is not a number in the range.
pub(crate) fn limit(query: QueryString<'_>) -> Result<usize, ApiError> {
    let limit = query.number("limit", 1..=MAX_LIMIT)?;
    Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT))
}
