//! `GET /kv/{bucket}/{key}`: the value, byte for byte, or with `?meta` the whole entry as JSON.

use http::header::{CONTENT_TYPE, HeaderValue};

use super::written;
use super::written::EntryName;
use crate::model::{Bucket, Key};
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::read::conditional_get;
use crate::web::read::conditional_get::ResponsePolicy;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::response::api_error::ApiError;
use crate::web::response::{cache_urls, entry_json, safe_types};

struct One<'a> {
    ctx: RequestContext<'a>,
    bucket: &'a Bucket,
    key: &'a Key,
    meta: bool,
}

pub(crate) async fn answer(ctx: RequestContext<'_>, (bucket, key): EntryName<'_>) -> Result<Response, ApiError> {
    let cache = cache_urls::shared_cache_policy(ctx, (bucket, key), authorize::require_read(ctx, bucket).await?);
    let one = One { ctx, bucket, key, meta: ctx.query.flag("meta")? };
    let timestamps = ctx.state.settings.policies.for_bucket(bucket).timestamps;
    conditional_get::answer(ctx, bucket, ResponsePolicy { cache, timestamps }, &one).await
}

impl Fetch for One<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let mut snapshot =
            self.ctx.state.store.get(self.bucket, std::slice::from_ref(self.key)).await.map_err(ApiError::unread)?;
        let Some(entry) = snapshot.entries.pop().flatten() else {
            return Ok(Fetched { revision: snapshot.revision, expires: None, shown: None });
        };
        let tag = written::tag(self.ctx, self.bucket, &entry);
        let (modified, expires) = (Some(entry.last_modified()), entry.expires);
        let (headers, body) = if self.meta {
            let json = HeaderValue::from_static("application/json");
            (vec![(CONTENT_TYPE, json)], entry_json::alone((self.bucket, self.key), &entry, &self.ctx.responses())?)
        } else {
            (safe_types::headers(&entry.content_type), entry.value.into())
        };
        Ok(Fetched {
            revision: snapshot.revision,
            expires,
            shown: Some(Representation { tag, modified, headers, body }),
        })
    }
}
