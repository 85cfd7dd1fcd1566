//! `DELETE /log/{bucket}/{key}`: removes a log; with `before=INDEX` only the entries before an index.

use std::collections::BTreeMap;

use super::store_logs::logs;
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::body;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;
use crate::web::response::json_response;
use crate::web::response::response::Cache;

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    authorize::require_write(ctx, Place::Key(name)).await?;
    WritePreconditions::none(ctx)?;
    let before = ctx.query.number("before", 0..=i64::MAX)?.map(i64::unsigned_abs);
    // If a misspelled parameter were ignored, the whole log would be removed.
    if let Some(other) = ctx.query.other_than(&["before", "key"]) {
        return Err(ApiError::invalid(format!("unknown parameter {other}; DELETE of a log accepts only before=INDEX")));
    }
    body::drain(ctx, body).await?;
    match logs(&ctx.state.store)?.remove(name, before).await? {
        Some(removed) => json_response::json(&BTreeMap::from([("removed", removed)])),
        None => Err(ApiError::not_found("no such log", Cache::Never)),
    }
}
