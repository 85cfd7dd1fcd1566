//! `PUT /kv/{bucket}/{key}`, and `POST` without `op`: stores the body as the value, with its media type.

use super::return_old;
use super::write_response::{ok, with_etag};
use crate::model::{Batch, Write};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::value_body::ReceivedValue;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{ttl, value_body};
use crate::web::response::api_error::ApiError;
use crate::web::write::commit;

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    let EntryName { bucket, key } = name;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let return_old = return_old::parse(ctx, name).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let ReceivedValue { value, content_type, blob } = value_body::receive(ctx, bucket, body).await?;
    let put = Write::Put { key: key.clone(), value, content_type, expires, modified: None };
    let batch = Batch::new(vec![put]).returning(return_old::returning(return_old));
    let committed = commit::commit(ctx, bucket, batch, preconditions).await;
    if let (Some(blob), Some(blobs)) = (blob, ctx.state.store.blobs()) {
        value_body::release(blobs, bucket, blob, committed.is_ok()).await;
    }
    let changes = committed?;
    let change =
        changes.into_iter().next().ok_or_else(|| ApiError::internal("the store returned no change for a write"))?;
    let is_new = change.before.is_none();
    let response = if return_old { return_old::answer(change.before) } else { ok(ctx, bucket, is_new) };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}
