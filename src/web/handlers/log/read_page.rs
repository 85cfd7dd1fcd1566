//! `GET /log/{bucket}/{key}`: a part of a log. With `wait`, the response comes when there is an entry.

use http::header::{HeaderName, HeaderValue};

use super::entry_format::{LogFormat, Spelling};
use super::log_query;
use super::store_logs::logs;
use crate::model::{LogQuery, LogStart, Revision};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::read::long_poll;
use crate::web::read::long_poll::Waited;
use crate::web::read::watched::Watched;
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;

/// The index of the oldest entry, where the next page begins, and the index of the next entry.
const KVS_FIRST: HeaderName = HeaderName::from_static("kvs-first");
const KVS_NEXT: HeaderName = HeaderName::from_static("kvs-next");
const KVS_END: HeaderName = HeaderName::from_static("kvs-end");

/// A page of a log.
struct PageFetch<'a> {
    ctx: RequestContext<'a>,
    name: EntryName<'a>,
    query: LogQuery,
    format: LogFormat,
    spelling: Spelling,
}

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<Response, ApiError> {
    authorize::require_read(ctx, Place::Key(name)).await?;
    let query = log_query::parse(ctx.query, ctx.now())?;
    let (format, spelling) = (LogFormat::parse(ctx.query)?, Spelling::parse(ctx.query)?);
    let page = PageFetch { ctx, name, query, format, spelling };
    let max_wait = long_poll::parse(ctx.parts, ctx.query)?;
    // A page without entries has no tag.
    let has_entries = |fetched: &Fetched| fetched.representation.as_ref().is_some_and(|page| !page.tag.is_empty());
    // If the log ends before the first entry that the client wants, it is another log by now: it has been removed.
    let is_other_log =
        |fetched: &Fetched| matches!(query.start, LogStart::Index(first) if first > fetched.revision.number());
    let is_change = |fetched: &Fetched| has_entries(fetched) || is_other_log(fetched);
    let (mut fetched, waited) = long_poll::wait(ctx, Watched::Log(name), max_wait, &page, is_change).await?;
    if max_wait.is_some() && !has_entries(&fetched) {
        // A wait in vain has dropped the body.
        fetched = page.fetch().await?;
    }
    let Some(found) = fetched.representation else {
        return Err(ApiError::not_found("no such log; the first append creates it", Cache::Never));
    };
    let mut response = response::with_body(http::StatusCode::OK, Cache::Never, page.format.content_type(), found.body);
    response.headers_mut().extend(found.headers);
    if let Waited::Rejected { retry_after } = waited {
        response::retry_after(&mut response, retry_after);
    }
    Ok(response)
}

impl Fetch for PageFetch<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let logs = logs(&self.ctx.state.store)?;
        let Some(page) = logs.read(self.name, self.query).await.map_err(ApiError::from_read)? else {
            return Ok(Fetched { revision: Revision::ZERO, expires: None, representation: None });
        };
        let headers = [(KVS_FIRST, page.first), (KVS_NEXT, page.end()), (KVS_END, page.next)];
        let tag = if page.entries.is_empty() { String::new() } else { page.end().to_string() };
        let representation = Representation {
            tag,
            modified: None,
            headers: headers.map(|(name, number)| (name, HeaderValue::from(number))).into(),
            body: self.format.body(&page, self.spelling, &self.ctx.responses())?,
        };
        Ok(Fetched { revision: Revision::new(page.next), expires: None, representation: Some(representation) })
    }
}
