//! Conditional GET: fetches a representation, waits if the client wants to, and builds the response. Every read of a
//! key or of a list goes through here.

use http::header::{ETAG, HeaderName, HeaderValue, LAST_MODIFIED};

use super::fetch::{Fetch, Fetched};
use super::long_poll;
use super::long_poll::Waited;
use super::reuse::{ReusableResponse, Validity};
use super::watched::Watched;
use crate::model::Bucket;
use crate::web::auth::policy::Timestamps;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::metrics;
use crate::web::request::read_preconditions::{Evaluation, ReadPreconditions, Seen};
use crate::web::request::{date_header, etag};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::{Cache, KVS_REVISION};
use crate::web::response::value_response;
use crate::web::response::value_response::Found;

/// The request headers that a read of a bucket with client timestamps depends on.
const VARY_BY_DATE: &str = "If-Match, X-If-Match";

/// The request headers that a shared cache must compare, because it does not evaluate them itself.
const VARY_SHARED: &str = "If-Match, If-Unmodified-Since, X-If-Match";

/// The properties of a bucket that affect the response.
#[derive(Clone, Copy)]
pub(crate) struct ResponsePolicy<'a> {
    pub(crate) cache: Cache,
    pub(crate) timestamps: Timestamps,
    /// The text of the 404.
    pub(crate) not_found: &'static str,
    /// The text of a 200 that is returned instead of the 404.
    pub(crate) text_if_missing: Option<&'a str>,
}

impl ResponsePolicy<'_> {
    /// The names for `Vary`.
    fn varies(self) -> Option<&'static str> {
        match (self.timestamps, self.cache) {
            (_, Cache::Shared(_)) => Some(VARY_SHARED),
            (Timestamps::Client, _) => Some(VARY_BY_DATE),
            (Timestamps::Server, _) => None,
        }
    }
}

impl From<Cache> for ResponsePolicy<'_> {
    /// With server timestamps.
    fn from(cache: Cache) -> Self {
        Self { cache, timestamps: Timestamps::Server, not_found: "no such key", text_if_missing: None }
    }
}

/// Responds to a read.
pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    policy: ResponsePolicy<'_>,
    resource: &impl Fetch,
) -> Result<Response, ApiError> {
    let result = answer_without_vary(ctx, bucket, policy, resource).await;
    let Some(names) = policy.varies() else { return result };
    // Errors need `Vary` too, because they also depend on these headers.
    let mut response = result.unwrap_or_else(|error| error.response(&ctx.parts.headers));
    response::vary(&mut response, names);
    Ok(response)
}

async fn answer_without_vary(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    ResponsePolicy { cache, timestamps, not_found, text_if_missing }: ResponsePolicy<'_>,
    resource: &impl Fetch,
) -> Result<Response, ApiError> {
    let RequestContext { state, parts, query, .. } = ctx;
    let received = state.settings.clock.now();
    let seen = Seen::parse(query)?;
    let by_date = timestamps == Timestamps::Client;
    let conditions = if by_date {
        ReadPreconditions::by_date(&parts.headers, seen.as_ref(), received)
    } else {
        ReadPreconditions::new(&parts.headers, seen.as_ref(), received)
    };
    let waits_for_key = matches!(seen, Some(Seen::Nothing));
    let is_change = |fetched: &Fetched| match &fetched.representation {
        Some(representation) => {
            conditions.evaluate(&representation.tag, representation.modified) != Evaluation::NotModified
        }
        None => !waits_for_key,
    };
    // A client that does not send the version that it has gets its response at once, but a malformed `wait` is an
    // error.
    let max_wait = long_poll::parse(parts, query)?.filter(|_| conditions.has_seen());
    let (fetched, waited) = long_poll::wait(ctx, Watched::Bucket(bucket), max_wait, resource, is_change).await?;
    let cache = cache.until(fetched.expires.map(|end| end.since(state.settings.clock.now()).as_secs()));
    // A secret must be checked each time, and an expiry or a date in the future depends on the time.
    let is_past = fetched
        .representation
        .as_ref()
        .and_then(|representation| representation.modified)
        .is_none_or(|modified| modified <= received);
    let is_reusable = max_wait.is_none() && cache != Cache::Private && fetched.expires.is_none() && is_past;
    let validity = is_reusable.then(|| Validity { bucket: bucket.clone(), revision: fetched.revision });

    let Some(representation) = fetched.representation else {
        if by_date && conditions.requires_existing() {
            return Err(ApiError::read_precondition_failed(cache).without_body(by_date));
        }
        let response = match text_if_missing.filter(|_| !conditions.has_if_match()) {
            Some(text) => response::text(text.to_owned(), cache),
            None => ApiError::not_found(not_found, cache).without_body(by_date).response(&parts.headers),
        };
        return Ok(finish(ctx, response, waited, validity));
    };
    let evaluation = conditions.evaluate(&representation.tag, representation.modified);
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(6);
    headers.extend(etag::quoted(&representation.tag).map(|tag| (ETAG, tag)));
    // Last-Modified must not be later than Date (RFC 9110, section 8.8.2.1). Apache uses the arrival of the request as
    // Date. A date that a client set is returned unchanged.
    let modified = representation.modified.map(|m| if by_date { m } else { m.min(received) });
    headers.extend(modified.and_then(date_header::format_date).map(|date| (LAST_MODIFIED, date)));
    let response = match evaluation {
        Evaluation::Failed => return Err(ApiError::read_precondition_failed(cache).without_body(by_date)),
        Evaluation::NotModified => {
            // It is newer than the one that the client has, although the list is the same.
            headers.extend(representation.headers.into_iter().filter(|(name, _)| *name == KVS_REVISION));
            response::not_modified(cache, headers)
        }
        Evaluation::Send => {
            headers.extend(representation.headers);
            let body = representation.body.charge_if_unique(&ctx.responses())?;
            value_response::answer(ctx, cache, Found { tag: representation.tag, headers, body })
        }
    };
    Ok(finish(ctx, response, waited, validity))
}

/// Adds `Retry-After` if the client could not wait, and marks the response as reusable.
fn finish(ctx: RequestContext<'_>, mut response: Response, waited: Waited, validity: Option<Validity>) -> Response {
    if let Waited::Rejected { retry_after } = waited {
        response::retry_after(&mut response, retry_after);
    }
    // At the level `debug` every request must be logged, but a reused response is not.
    let Some(validity) = validity.filter(|_| !tracing::enabled!(tracing::Level::DEBUG)) else { return response };
    let counted = metrics::counted(ctx.class, ctx.method, &response);
    let reusable = ReusableResponse::new(ctx.state.store.clone(), validity, counted);
    response.map(|body| body.reusable(reusable))
}
