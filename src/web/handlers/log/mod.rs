//! `/log/{bucket}/{key}`: an append-only log.

mod append_entries;
mod body_lines;
mod entry_format;
mod list_logs;
mod log_events;
mod log_query;
mod parse_entries;
mod read_page;
mod remove_entries;
mod store_logs;

pub(super) use self::store_logs::logs;

use http::Method;

use crate::model::Bucket;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::handlers::events as event_streams;
use crate::web::response::api_error::ApiError;

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    match *ctx.method {
        Method::POST => append_entries::answer(ctx, name, body).await,
        Method::DELETE => remove_entries::answer(ctx, name, body).await,
        _ if event_streams::is_requested(&ctx.parts.headers) => log_events::answer(ctx, name).await,
        _ => read_page::answer(ctx, name).await,
    }
}

/// The list of the logs of a bucket.
pub(crate) async fn list(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Response, ApiError> {
    list_logs::answer(ctx, bucket).await
}
