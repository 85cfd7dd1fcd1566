//! Responses to writes of an entry, and the ETag of an entry.

use http::header::ETAG;

use crate::model::{Bucket, Entry};
use crate::web::auth::policy::Timestamps;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::request::{client_timestamps, etag};
use crate::web::response::response;
use crate::web::response::response::Cache;

/// Whether the bucket has client timestamps.
pub(super) fn is_by_date(ctx: RequestContext<'_>, bucket: &Bucket) -> bool {
    ctx.state.settings.policies.for_bucket(bucket).timestamps == Timestamps::Client
}

/// The tag of an entry, without quotes.
pub(super) fn tag(ctx: RequestContext<'_>, bucket: &Bucket, entry: &Entry) -> String {
    if is_by_date(ctx, bucket) { client_timestamps::tag(entry) } else { entry.revision.to_string() }
}

/// `OK` with 200, or with 201 if the entry is new. With client timestamps 200 and no body, as clients of Poky expect.
pub(super) fn ok(ctx: RequestContext<'_>, bucket: &Bucket, is_new: bool) -> Response {
    match (is_by_date(ctx, bucket), is_new) {
        (true, _) => response::text("", Cache::Never),
        (false, true) => response::created("OK"),
        (false, false) => response::text("OK", Cache::Never),
    }
}

/// Adds the ETag of the new entry.
pub(super) fn with_etag(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    after: Option<&Entry>,
    mut response: Response,
) -> Response {
    let tag = after.and_then(|entry| etag::quoted(&tag(ctx, bucket, entry)));
    response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    response
}
