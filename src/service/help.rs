//! `GET /help`: how to use this from a shell, for a person.

use axum::response::Response;

use super::reply::{self, Cache};

const TEXT: &str = include_str!("help.txt");

/// Answers `GET /help`.
pub(crate) fn answer() -> Response {
    reply::text(TEXT, Cache::Never)
}
