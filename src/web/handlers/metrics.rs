//! `GET /metrics`: the metrics of this process for Prometheus (OpenMetrics text).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use super::health;
use crate::model::Bucket;
use crate::web::auth::authorize;
use crate::web::auth::authorize::Secrets;
use crate::web::auth::place::Place;
use crate::web::auth::secrets::Right;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::metrics::{MetricsAccess, Readings};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;

/// How long the metrics wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn answer(ctx: RequestContext<'_>) -> Result<Response, ApiError> {
    let settings = &ctx.state.settings;
    if settings.metrics.access() == MetricsAccess::Secret {
        let secrets = Secrets::in_headers(&ctx.parts.headers);
        authorize::authorize(ctx, &secrets, Right::Read, Place::Bucket(&Bucket::default())).await?;
    }
    let is_ready = timeout(STORE_TIMEOUT, health::check(ctx.state)).await.is_ok_and(|checked| checked.is_ok());
    let sizes = settings.metrics.sizes().await;
    let text = settings.metrics.text(&Readings { long_polls: &settings.long_polls.limit, is_ready, sizes });
    let text = text.map_err(|error| ApiError::internal(&format!("cannot write the metrics: {error}")))?;
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))];
    Ok(response::bytes(Bytes::from(text), Cache::Never, content_type))
}
