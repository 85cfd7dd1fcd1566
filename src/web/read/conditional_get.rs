//! Conditional GET: fetches a representation, waits if the client wants to, and builds the response. Every read of a
//! key or of a list goes through here.

use http::header::{ETAG, HeaderName, HeaderValue, LAST_MODIFIED};

use super::fetch::{Fetch, Fetched};
use super::long_poll;
use super::long_poll::Waited;
use super::reuse::{CountedResponse, ReusableResponse, Validity};
use crate::model::Bucket;
use crate::web::auth::policy::Timestamps;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::metrics;
use crate::web::request::read_preconditions::{Evaluation, ReadPreconditions, Seen};
use crate::web::request::{date_header, etag};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;

/// The request headers that a read of a bucket with client timestamps depends on.
const VARY_BY_DATE: &str = "If-Match, X-If-Match";

/// The request headers that a shared cache must not ignore, because it does not evaluate them itself.
const VARY_SHARED: &str = "If-Match, If-Unmodified-Since, X-If-Match";

/// The properties of a bucket that affect the response.
#[derive(Clone, Copy)]
pub(crate) struct ResponsePolicy {
    pub(crate) cache: Cache,
    pub(crate) timestamps: Timestamps,
    /// The text of the 404.
    pub(crate) not_found: &'static str,
}

impl ResponsePolicy {
    /// The names for `Vary`.
    fn varies(self) -> Option<&'static str> {
        match (self.timestamps, self.cache) {
            (_, Cache::Shared(_)) => Some(VARY_SHARED),
            (Timestamps::Client, _) => Some(VARY_BY_DATE),
            (Timestamps::Server, _) => None,
        }
    }
}

impl From<Cache> for ResponsePolicy {
    /// With server timestamps.
    fn from(cache: Cache) -> Self {
        Self { cache, timestamps: Timestamps::Server, not_found: "no such key" }
    }
}

/// Responds to a read.
pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    policy: ResponsePolicy,
    read: &impl Fetch,
) -> Result<Response, ApiError> {
    let result = answer_for(ctx, bucket, policy, read).await;
    let Some(names) = policy.varies() else { return result };
    // Errors need `Vary` too, because they also depend on these headers.
    let mut response = result.unwrap_or_else(|error| error.response(&ctx.parts.headers));
    response::vary(&mut response, names);
    Ok(response)
}

async fn answer_for(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    ResponsePolicy { cache, timestamps, not_found }: ResponsePolicy,
    read: &impl Fetch,
) -> Result<Response, ApiError> {
    let RequestContext { state, parts, query, .. } = ctx;
    let arrived = state.settings.clock.now();
    let seen = Seen::parse(query)?;
    let by_date = timestamps == Timestamps::Client;
    let conditions = if by_date {
        ReadPreconditions::by_date(&parts.headers, seen.as_ref(), arrived)
    } else {
        ReadPreconditions::new(&parts.headers, seen.as_ref(), arrived)
    };
    let waits_for_key = matches!(seen, Some(Seen::Nothing));
    let is_change = |fetched: &Fetched| match &fetched.shown {
        Some(shown) => conditions.evaluate(&shown.tag, shown.modified) != Evaluation::NotModified,
        None => !waits_for_key,
    };
    // A client that did not say what it has seen gets its response at once, but a malformed `wait` is still an error.
    let span = long_poll::parse(parts, query)?.filter(|_| conditions.has_seen());
    let (fetched, waited) = long_poll::wait(ctx, bucket, span, read, is_change).await?;
    let cache = cache.until(fetched.expires.map(|end| end.since(state.settings.clock.now()).as_secs()));
    // Not reusable: a secret is checked each time, and an expiry or a future date depends on the time.
    let is_past = fetched.shown.as_ref().and_then(|shown| shown.modified).is_none_or(|modified| modified <= arrived);
    let is_reusable = span.is_none() && cache != Cache::Private && fetched.expires.is_none() && is_past;
    let validity = is_reusable.then(|| Validity { bucket: bucket.clone(), revision: fetched.revision });

    let Some(shown) = fetched.shown else {
        if by_date && conditions.demand_presence() {
            return Err(ApiError::condition(cache).without_body(by_date));
        }
        let response = ApiError::missing(not_found, cache).without_body(by_date).response(&parts.headers);
        return Ok(completed(ctx, response, waited, validity));
    };
    let evaluation = conditions.evaluate(&shown.tag, shown.modified);
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(6);
    headers.extend(etag::quoted(&shown.tag).map(|tag| (ETAG, tag)));
    // Last-Modified must not be later than Date (RFC 9110, section 8.8.2.1). Apache uses the arrival of the request as
    // Date. A date that a client set is returned unchanged.
    let modified = shown.modified.map(|m| if by_date { m } else { m.min(arrived) });
    headers.extend(modified.and_then(date_header::format_date).map(|date| (LAST_MODIFIED, date)));
    let response = match evaluation {
        Evaluation::Failed => return Err(ApiError::condition(cache).without_body(by_date)),
        Evaluation::NotModified => response::not_modified(cache, headers),
        Evaluation::Send => {
            headers.extend(shown.headers);
            response::bytes(shown.body.held(&ctx.responses())?, cache, headers)
        }
    };
    Ok(completed(ctx, response, waited, validity))
}

/// Adds `Retry-After` if the client could not wait, and the permission to send the response again.
fn completed(ctx: RequestContext<'_>, mut response: Response, waited: Waited, validity: Option<Validity>) -> Response {
    if let Waited::Declined { retry_after } = waited {
        response::retry_after(&mut response, retry_after);
    }
    // At `debug` every request must be logged, and a response that is sent again is not.
    let Some(validity) = validity.filter(|_| !tracing::enabled!(tracing::Level::DEBUG)) else { return response };
    let (method, status) = (ctx.method.clone(), response.status().as_u16());
    let counted = CountedResponse { class: ctx.class, sent: metrics::sent(&method, &response), method, status };
    let reusable = ReusableResponse::new(ctx.state.store.clone(), validity, counted);
    response.map(|body| body.reusable(reusable))
}
