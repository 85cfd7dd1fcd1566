//! `GET /kv/{bucket}/{key}`: the value, byte for byte; with `?path=` a part of a JSON value; with `?meta` the whole entry
//! as JSON.

use http::header::{CONTENT_TYPE, HeaderValue};

use super::written::EntryName;
use super::{json_part, written};
use crate::model::json::Pointer;
use crate::model::{Bucket, ContentType, Key};
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
    (bucket, key): EntryName<'_>,
    path: Option<Pointer>,
) -> Result<Response, ApiError> {
    let cache = cache_urls::shared_cache_policy(ctx, (bucket, key), authorize::require_read(ctx, bucket).await?);
    let shown = match (ctx.query.flag("meta")?, path) {
        (false, None) => Shown::Value,
        (false, Some(path)) => Shown::Part(path),
        (true, None) => Shown::Meta,
        (true, Some(_)) => return Err(ApiError::invalid("meta shows the whole entry; leave out meta or path")),
    };
    let one = One { ctx, bucket, key, shown };
    let timestamps = ctx.state.settings.policies.for_bucket(bucket).timestamps;
    let not_found = match one.shown {
        Shown::Part(_) => "no such key, or its value has nothing at this path",
        _ => "no such key",
    };
    conditional_get::answer(ctx, bucket, ResponsePolicy { cache, timestamps, not_found }, &one).await
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
        let json = || vec![(CONTENT_TYPE, HeaderValue::from_static(ContentType::JSON))];
        let (headers, body) = match &self.shown {
            Shown::Value => (safe_types::headers(&entry.content_type), entry.value.into()),
            Shown::Part(path) => match json_part::find(&entry, path)? {
                Some(part) => (json(), part.into()),
                None => return Ok(Fetched { revision: snapshot.revision, expires, shown: None }),
            },
            Shown::Meta => (json(), entry_json::alone((self.bucket, self.key), &entry, &self.ctx.responses())?),
        };
        Ok(Fetched {
            revision: snapshot.revision,
            expires,
            shown: Some(Representation { tag, modified, headers, body }),
        })
    }
}
