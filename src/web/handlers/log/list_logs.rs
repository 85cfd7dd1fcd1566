//! `GET /log/{bucket}`: the keys of the logs of a bucket.

use serde::Serialize;

use super::store_logs::logs;
use crate::model::{Bucket, Key, LogKeysQuery};
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::read::page_limits;
use crate::web::response::api_error::ApiError;
use crate::web::response::{json_response, name_list, response};

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<&'a str>,
    cursor: Option<&'a str>,
}

pub(super) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Response, ApiError> {
    let prefix = ctx.query.text("prefix")?.unwrap_or_default();
    authorize::require_list(ctx, bucket, &prefix).await?;
    let is_text = name_list::is_text(ctx.query)?;
    let limit = page_limits::limit(ctx.query)?;
    let after = ctx.query.text("after")?.map(|after| Key::new(&after)).transpose()?;
    // One more shows whether there is another page.
    let query = LogKeysQuery { prefix, after, limit: limit + 1 };
    let mut keys = logs(&ctx.state.store)?.keys(bucket, query).await.map_err(ApiError::from_read)?;
    let has_more = keys.len() > limit;
    keys.truncate(limit);
    if is_text {
        let mut answer = name_list::lines(keys.iter().map(Key::as_str));
        answer.headers_mut().extend(keys.last().filter(|_| has_more).and_then(response::cursor));
        return Ok(answer);
    }
    let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
    let cursor = keys.last().copied().filter(|_| has_more);
    json_response::json(&Keys { keys, cursor })
}
