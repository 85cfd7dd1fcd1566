//! The part of the store that has logs.

use crate::web::metrics::counted::{Counted, CountedLogs};
use crate::web::response::api_error::ApiError;

/// The logs of the store.
///
/// # Errors
/// If it has none.
pub(in crate::web::handlers) fn logs(store: &Counted) -> Result<CountedLogs<'_>, ApiError> {
    store.logs().ok_or_else(|| ApiError::not_implemented("this store has no logs"))
}
