//! `GET /kv/{bucket}/{key}`: the value, byte for byte, or the part in `Range`; with `?path=` a part of a JSON value; with `?meta` the whole
//! entry as JSON.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::{json_part, write_response};
use crate::model::json::Pointer;
use crate::model::{ContentType, Entry, Revision};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::read::conditional_get;
use crate::web::read::conditional_get::ResponsePolicy;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::read::newest_value;
use crate::web::read::newest_value::NewestValue;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Content;
use crate::web::response::{cache_urls, entry_json, safe_types, value_response};

type Headers = Vec<(HeaderName, HeaderValue)>;

struct EntryFetch<'a> {
    ctx: RequestContext<'a>,
    name: EntryName<'a>,
    shown: Shown,
}

/// What is shown of the entry.
enum Shown {
    Value,
    Part(Pointer),
    Meta,
}

pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    path: Option<Pointer>,
) -> Result<Response, ApiError> {
    let cache = authorize::require_read(ctx, Place::Key(name)).await?;
    let cache = cache_urls::shared_cache_policy(ctx, name, cache);
    let shown = match (ctx.query.flag("meta")?, path) {
        (false, None) => Shown::Value,
        (false, Some(path)) => Shown::Part(path),
        (true, None) => Shown::Meta,
        (true, Some(_)) => return Err(ApiError::invalid("meta shows the whole entry; leave out meta or path")),
    };
    let fetch = EntryFetch { ctx, name, shown };
    let timestamps = ctx.state.settings.policies.for_bucket(name.bucket).timestamps;
    let not_found = match fetch.shown {
        Shown::Part(_) => "no such key, or its value has nothing at this path",
        _ => "no such key",
    };
    let policy = ResponsePolicy { timestamps, not_found, ..cache.into() };
    conditional_get::answer(ctx, name.bucket, policy, &fetch).await
}

impl EntryFetch<'_> {
    async fn fetch_value(&self) -> Result<Fetched, ApiError> {
        let EntryName { bucket, key } = self.name;
        let (revision, found) = newest_value::find(&self.ctx.state.store, bucket, std::slice::from_ref(key)).await?;
        let Some(NewestValue { entry, content_type, content, .. }) = found else {
            return Ok(Fetched { revision, expires: None, representation: None });
        };
        let mut headers = safe_types::headers(&content_type);
        headers.push(value_response::accept_ranges());
        Ok(self.fetched(revision, &entry, Some((headers, content))))
    }

    fn fetched(&self, revision: Revision, entry: &Entry, shown: Option<(Headers, Content)>) -> Fetched {
        let (tag, modified) = (write_response::tag(self.ctx, self.name.bucket, entry), Some(entry.last_modified()));
        let representation = shown.map(|(headers, body)| Representation { tag, modified, headers, body });
        Fetched { revision, expires: entry.expires, representation }
    }
}

impl Fetch for EntryFetch<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let EntryName { bucket, key } = self.name;
        if matches!(self.shown, Shown::Value) {
            return self.fetch_value().await;
        }
        let store = &self.ctx.state.store;
        let mut snapshot = store.get(bucket, std::slice::from_ref(key)).await.map_err(ApiError::from_read)?;
        let Some(entry) = snapshot.entries.pop().flatten() else {
            return Ok(Fetched { revision: snapshot.revision, expires: None, representation: None });
        };
        let body = match &self.shown {
            Shown::Part(path) => json_part::find(&entry, path)?.map(Content::from),
            _ => Some(entry_json::entry_content(self.name, &entry, &self.ctx.responses())?),
        };
        let json = vec![(CONTENT_TYPE, HeaderValue::from_static(ContentType::JSON))];
        Ok(self.fetched(snapshot.revision, &entry, body.map(|body| (json, body))))
    }
}
