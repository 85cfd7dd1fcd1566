//! `GET /kv/{bucket}/{key}`: the value, byte for byte, or with `?meta` the whole entry as JSON.

use http::header::{CONTENT_TYPE, HeaderValue};

use super::write_response;
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::read::conditional_get;
use crate::web::read::conditional_get::ResponsePolicy;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::response::api_error::ApiError;
use crate::web::response::{cache_urls, entry_json, safe_types};

struct EntryFetch<'a> {
    ctx: RequestContext<'a>,
    name: EntryName<'a>,
    meta: bool,
}

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<Response, ApiError> {
    let cache = authorize::require_read(ctx, name.bucket).await?;
    let cache = cache_urls::shared_cache_policy(ctx, name, cache);
    let fetch = EntryFetch { ctx, name, meta: ctx.query.flag("meta")? };
    let timestamps = ctx.state.settings.policies.for_bucket(name.bucket).timestamps;
    conditional_get::answer(ctx, name.bucket, ResponsePolicy { cache, timestamps }, &fetch).await
}

impl Fetch for EntryFetch<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let EntryName { bucket, key } = self.name;
        let mut snapshot =
            self.ctx.state.store.get(bucket, std::slice::from_ref(key)).await.map_err(ApiError::from_read)?;
        let Some(entry) = snapshot.entries.pop().flatten() else {
            return Ok(Fetched { revision: snapshot.revision, expires: None, representation: None });
        };
        let tag = write_response::tag(self.ctx, bucket, &entry);
        let (modified, expires) = (Some(entry.last_modified()), entry.expires);
        let (headers, body) = if self.meta {
            let json = HeaderValue::from_static("application/json");
            (vec![(CONTENT_TYPE, json)], entry_json::entry_content(self.name, &entry, &self.ctx.responses())?)
        } else {
            (safe_types::headers(&entry.content_type), entry.value.into())
        };
        Ok(Fetched {
            revision: snapshot.revision,
            expires,
            representation: Some(Representation { tag, modified, headers, body }),
        })
    }
}
