//! `DELETE /kv/{bucket}/{key}`: deletes an entry.

use super::return_old;
use super::write_response::{is_by_date, ok};
use crate::model::{Batch, Write};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::body;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;
use crate::web::response::response::Cache;
use crate::web::write::commit;

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    let EntryName { bucket, key } = name;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let return_old = return_old::parse(ctx, name).await?;
    body::drain(ctx, body).await?;
    let batch = Batch::new(vec![Write::Delete { key: key.clone() }]).returning(return_old::returning(return_old));
    let changes = commit::commit(ctx, bucket, batch, preconditions).await?;
    match changes.into_iter().next().and_then(|change| change.before) {
        None => Err(ApiError::not_found("no such key", Cache::Never).without_body(is_by_date(ctx, bucket))),
        Some(before) if return_old => Ok(return_old::answer(Some(before))),
        Some(_) => Ok(ok(ctx, bucket, false)),
    }
}
