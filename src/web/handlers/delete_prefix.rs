//! `DELETE /kv/{bucket}?prefix=`: deletes all keys that begin with a prefix, in one commit.

use std::collections::BTreeMap;

use crate::model::{Batch, Bucket, Key, Outcome, Projection, Returning, Scan, Write};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::request::body;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;
use crate::web::response::json_response;

/// How many keys one scan returns.
const MAX_PAGE_KEYS: usize = 10_000;

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    let prefix = ctx.query.text("prefix")?;
    authorize::require_write(ctx, Place::Prefix(bucket, prefix.as_deref().unwrap_or_default())).await?;
    // If it were ignored, whole values would be deleted.
    ctx.query.reject("path", "path needs one key; write /kv/BUCKET/KEY")?;
    let Some(prefix) = prefix else {
        let text = "prefix is missing; send ?prefix=TEXT for the keys that begin with TEXT, or ?prefix= for all keys";
        return Err(ApiError::invalid(text));
    };
    WritePreconditions::none(ctx)?;
    body::drain(ctx, body).await?;
    let store = &ctx.state.store;
    let mut writes = vec![];
    let mut query = Scan { prefix, limit: MAX_PAGE_KEYS, projection: Projection::Keys, ..Scan::default() };
    loop {
        let page = store.scan(bucket, query.clone()).await.map_err(ApiError::from_read)?;
        writes.extend(page.entries.into_iter().map(|(key, _)| Write::Delete { key }));
        let Some(cursor) = page.cursor else { break };
        query.after = Some(Key::as_str(&cursor).to_owned());
    }
    let deleted = match store.apply(bucket, Batch::new(writes).returning(Returning::Metadata)).await? {
        Outcome::Committed { changes, .. } => changes.iter().filter(|change| change.before.is_some()).count(),
        Outcome::PreconditionFailed { .. } => {
            return Err(ApiError::internal("the store rejected a batch without expectations"));
        }
    };
    json_response::json(&BTreeMap::from([("deleted", deleted)]))
}
