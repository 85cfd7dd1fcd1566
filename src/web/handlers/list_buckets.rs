//! `GET /kv` and `GET /log`: the names of the buckets whose keys the client may list.

use bytes::Bytes;
use serde_json::json;

use crate::model::Bucket;
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;
use crate::web::response::response::Cache;
use crate::web::response::{json_response, response};

/// The buckets with entries.
pub(crate) async fn of_entries(ctx: RequestContext<'_>) -> Result<Response, ApiError> {
    answer(ctx, ctx.state.store.buckets()).await
}

/// The buckets with logs.
pub(crate) async fn of_logs(ctx: RequestContext<'_>) -> Result<Response, ApiError> {
    let logs = super::log::logs(&ctx.state.store)?;
    answer(ctx, logs.buckets()).await
}

async fn answer(
    ctx: RequestContext<'_>,
    buckets: impl Future<Output = crate::model::Result<Vec<Bucket>>>,
) -> Result<Response, ApiError> {
    let may_list = authorize::require_list_of_buckets(ctx).await?;
    let is_text = match ctx.query.text("format")?.as_deref() {
        None | Some("json") => false,
        Some("text") => true,
        Some(other) => {
            return Err(ApiError::invalid(format!("format must be json or text, got {}", number::quote(other))));
        }
    };
    let mut buckets = buckets.await.map_err(ApiError::from_read)?;
    buckets.retain(|bucket| !bucket.is_reserved() && may_list(bucket));
    if is_text {
        let lines: String = buckets.iter().flat_map(|bucket| [bucket.as_str(), "\n"]).collect();
        return Ok(response::text(Bytes::from(lines), Cache::Never));
    }
    let names: Vec<&str> = buckets.iter().map(Bucket::as_str).collect();
    json_response::json(&json!({ "buckets": names }))
}
