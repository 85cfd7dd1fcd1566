//! `GET /kv` and `GET /log`: the names of the buckets whose keys the client may list.

use serde_json::json;

use crate::model::Bucket;
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;
use crate::web::response::{json_response, name_list};

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
    let is_text = name_list::is_text(ctx.query)?;
    let mut buckets = buckets.await.map_err(ApiError::from_read)?;
    buckets.retain(|bucket| !bucket.is_reserved() && may_list(bucket));
    if is_text {
        return Ok(name_list::lines(buckets.iter().map(Bucket::as_str)));
    }
    let names: Vec<&str> = buckets.iter().map(Bucket::as_str).collect();
    json_response::json(&json!({ "buckets": names }))
}
