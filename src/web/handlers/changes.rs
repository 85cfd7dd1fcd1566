//! `GET /kv/{bucket}?since=REVISION`: what was put and deleted since then, in the order of the changes, and the next
//! `since`. With `wait`, the response comes when there is a change.

use parking_lot::Mutex;
use serde::Serialize;

use crate::model::{Bucket, KeyChange, Revision};
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::read::feed::{Feed, FeedFormat, Followed, unknown};
use crate::web::read::fetch::{Fetch, Fetched, Wakeup};
use crate::web::read::long_poll::Waited;
use crate::web::read::watched::Watched;
use crate::web::read::{long_poll, page_limits};
use crate::web::request::form::QueryString;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::{Composer, Content};
use crate::web::response::{entry_json, json_response, response};

/// The parameters of a list that mean nothing for changes.
const PARAMETERS_OF_LISTS: [&str; 8] = ["start", "end", "after", "reverse", "keys", "values", "count", "format"];

const JSON: FeedFormat = FeedFormat { name: "json", changes: json };

#[derive(Serialize)]
struct Rest {
    /// The next `since`.
    since: String,
}

/// A long poll for changes. While it waits, its position moves past changes of other keys.
struct ChangesFetch {
    feed: Feed,
    since: Mutex<Revision>,
}

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Response, ApiError> {
    let prefix = ctx.query.text("prefix")?.unwrap_or_default();
    authorize::require_list(ctx, bucket, &prefix).await?;
    reject_parameters_of_lists(ctx.query)?;
    let since = since(ctx.query)?.unwrap_or_default();
    let limit = page_limits::limit(ctx.query)?;
    let followed = Followed::Prefix(prefix);
    let feed = Feed::new(ctx, bucket, followed, JSON, limit)?;
    let changes = ChangesFetch { feed, since: Mutex::new(since) };
    let max_wait = long_poll::parse(ctx.parts, ctx.query)?;
    let (fetched, waited) =
        long_poll::wait(ctx, Watched::Bucket(bucket), max_wait, &changes, |fetched| fetched.representation.is_some())
            .await?;
    let body = match fetched.representation {
        Some(representation) => representation.body.charge_if_unique(&ctx.responses())?,
        None => json(&changes.feed, &[], fetched.revision)?,
    };
    let mut response = json_response::composed(body);
    if let Waited::Rejected { retry_after } = waited {
        response::retry_after(&mut response, retry_after);
    }
    Ok(response)
}

/// Checks that a query has no parameter that means nothing for changes.
///
/// # Errors
/// If it has one.
pub(crate) fn reject_parameters_of_lists(query: QueryString<'_>) -> Result<(), ApiError> {
    match PARAMETERS_OF_LISTS.iter().find(|name| query.all(name).next().is_some()) {
        None => Ok(()),
        Some(name) => {
            Err(ApiError::invalid(format!("{name} is only for lists; with since use prefix, limit and wait")))
        }
    }
}

/// The revision in `since`.
///
/// # Errors
/// If it is not a revision.
pub(crate) fn since(query: QueryString<'_>) -> Result<Option<Revision>, ApiError> {
    let Some(text) = query.text("since")? else { return Ok(None) };
    let bad = || {
        let text = number::quote(&text);
        ApiError::invalid(format!("since must be a revision as lists and changes have it, got {text}"))
    };
    text.parse().map(Some).map_err(|_| bad())
}

fn json(feed: &Feed, changes: &[KeyChange], next: Revision) -> Result<Content, ApiError> {
    let mut out = Composer::default();
    out.text("{\"changes\":[");
    for (number, change) in changes.iter().enumerate() {
        out.text(if number == 0 { "" } else { "," });
        entry_json::change(&mut out, &feed.bucket, change)?;
    }
    out.text("]");
    out.close_object(&Rest { since: next.to_string() })?;
    out.finish(&feed.responses)
}

impl ChangesFetch {
    async fn fetch_on(&self, wakeup: Option<Wakeup>) -> Result<Fetched, ApiError> {
        let since = *self.since.lock();
        let fetched = self.feed.fetch(since, wakeup).await?.ok_or_else(unknown)?;
        if fetched.representation.is_none() {
            *self.since.lock() = fetched.revision;
        }
        Ok(fetched)
    }
}

impl Fetch for ChangesFetch {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        self.fetch_on(None).await
    }

    async fn fetch_after(&self, wakeup: Wakeup) -> Result<Fetched, ApiError> {
        self.fetch_on(Some(wakeup)).await
    }
}
