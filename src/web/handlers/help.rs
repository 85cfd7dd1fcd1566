//! `GET /help`: how to use the API from a shell, as text for people.

use crate::web::body::Response;
use crate::web::response::response;
use crate::web::response::response::Cache;

const TEXT: &str = include_str!("assets/help.txt");

pub(crate) fn answer() -> Response {
    response::text(TEXT, Cache::Never)
}
