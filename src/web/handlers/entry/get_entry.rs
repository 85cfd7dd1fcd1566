//! `GET /kv/{bucket}/{key}`: the value, byte for byte, or the part in `Range`; with `?path=` a part of a JSON value; with `?meta` the whole
//! entry as JSON.

use http::header::{CONTENT_TYPE, HeaderValue};

use super::{json_part, write_response};
use crate::model::ContentType;
use crate::model::json::Pointer;
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::read::conditional_get;
use crate::web::read::conditional_get::ResponsePolicy;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::response::api_error::ApiError;
use crate::web::response::{cache_urls, entry_json, safe_types, value_response};

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
    let cache = authorize::require_read(ctx, name.bucket).await?;
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
    conditional_get::answer(ctx, name.bucket, ResponsePolicy { cache, timestamps, not_found }, &fetch).await
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
        let json = || vec![(CONTENT_TYPE, HeaderValue::from_static(ContentType::JSON))];
        let (headers, body) = match &self.shown {
            Shown::Value => {
                let mut headers = safe_types::headers(&entry.content_type);
                headers.push(value_response::accept_ranges());
                (headers, entry.value.into())
            }
            Shown::Part(path) => match json_part::find(&entry, path)? {
                Some(part) => (json(), part.into()),
                None => return Ok(Fetched { revision: snapshot.revision, expires, representation: None }),
            },
            Shown::Meta => (json(), entry_json::entry_content(self.name, &entry, &self.ctx.responses())?),
        };
        Ok(Fetched {
            revision: snapshot.revision,
            expires,
            representation: Some(Representation { tag, modified, headers, body }),
        })
    }
}
