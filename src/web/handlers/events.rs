//! `GET` with `Accept: text/event-stream`: the changes of a key, or of a bucket, as they happen (Server-Sent Events,
//! HTML standard, section 9.2).
//!
//! `id` is the revision of a change, so a client that connects again with `Last-Event-ID` misses nothing. The event
//! `reset` says that changes may be missing. The client then reads the list again.

use std::str::FromStr;

use http::HeaderMap;

use crate::model::{Bucket, Revision};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::handlers::changes;
use crate::web::metrics::counters;
use crate::web::read::feed::{Feed, Followed};
use crate::web::read::page_limits::DEFAULT_LIMIT;
use crate::web::request::accept_header;
use crate::web::response::api_error::ApiError;
use crate::web::response::event_stream::{EventSource, EventStream, StreamEnd};
use crate::web::response::{change_events, event_stream};

/// The header with the revision of the last event that a client has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// Whether the client asks for an event stream. A client that also accepts JSON gets that.
pub(crate) fn is_requested(headers: &HeaderMap) -> bool {
    accept_header::lists(headers, &[event_stream::CONTENT_TYPE])
        && !accept_header::lists(headers, &["application/json"])
}

/// The changes of the keys of a bucket with a prefix.
pub(crate) async fn of_bucket(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Response, ApiError> {
    let prefix = ctx.query.text("prefix")?.unwrap_or_default();
    authorize::require_list(ctx, bucket, &prefix).await?;
    changes::reject_parameters_of_lists(ctx.query)?;
    answer(ctx, bucket, Followed::Prefix(prefix)).await
}

/// The changes of a key. The first event is its current state, unless the client has seen it.
pub(crate) async fn of_entry(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<Response, ApiError> {
    authorize::require_read(ctx, Place::Key(name)).await?;
    ctx.query.reject("path", "an event stream has whole values; leave out path")?;
    answer(ctx, name.bucket, Followed::Key(name.key.clone())).await
}

async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, followed: Followed) -> Result<Response, ApiError> {
    let since = last_event_id(&ctx.parts.headers).map_or_else(|| changes::since(ctx.query), |id| Ok(Some(id)))?;
    let feed = Feed::new(ctx, bucket, followed, change_events::FORMAT, DEFAULT_LIMIT)?;
    // A key begins with its entry, which is one lookup.
    let since = since.filter(|since| *since > Revision::ZERO || !feed.is_of_one_key());
    open(ctx, bucket, feed, since).await
}

/// The stream of a source, from a position on.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn open<S: EventSource>(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    source: S,
    since: Option<S::Position>,
) -> Result<Response, ApiError> {
    let settings = &ctx.state.settings;
    let Some(permit) = settings.long_polls.limit.try_acquire_stream(bucket, ctx.client.0) else {
        counters::add(&settings.metrics.counters().long_polls_rejected);
        return Ok(event_stream::rejected());
    };
    let end = if settings.long_polls.short_streams {
        StreamEnd::AfterFirstEvents(settings.long_polls.max_wait)
    } else {
        StreamEnd::AfterAnHour
    };
    EventStream::new(source, since, end, settings.stop.clone(), permit).open().await
}

/// The position in `Last-Event-ID`. It is more recent than one in the URL, which stays the same when a client connects
/// again. A malformed one is ignored, because clients cannot change it.
pub(crate) fn last_event_id<P: FromStr>(headers: &HeaderMap) -> Option<P> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim().parse().ok()
}
