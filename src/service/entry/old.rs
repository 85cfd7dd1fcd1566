//! `?return=old`: a write that answers with what it replaced.

use axum::response::Response;

use super::super::reply::{self, Cache, Refusal};
use super::super::{Asked, guard, media, number};
use crate::model::{Bucket, Entry};

/// Whether the old value is asked for, by somebody who may read it.
pub(super) async fn asked(asked: Asked<'_>, bucket: &Bucket) -> Result<bool, Refusal> {
    match asked.question.text("return")?.as_deref() {
        None => Ok(false),
        Some("old") => guard::reader(asked, bucket).await.map(|_| true),
        Some(other) => Err(Refusal::invalid(format!("return must be old or left out, got {}", number::shown(other)))),
    }
}

/// The old value with its type; 204 if there was none.
pub(super) fn answer(before: Option<Entry>) -> Response {
    match before {
        Some(entry) => reply::bytes(entry.value, Cache::Never, media::headers(&entry.content_type)),
        None => reply::nothing(),
    }
}
