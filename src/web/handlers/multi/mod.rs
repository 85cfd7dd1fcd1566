//! `/multi/{bucket}`: many keys in one request, as in Poky. POST gets, PUT sets, DELETE deletes; or POST with `?op=`
//! for hosts that allow no other method.
//!
//! The whole request is parsed before it is executed. Then each row is evaluated separately, and all accepted rows are
//! one commit.

mod get_entries;
pub(super) mod get_many;
pub(super) mod parse_rows;
pub(super) mod set_many;

use http::Method;

use crate::model::{Batch, Bucket, Key, Outcome, Returning, Write};
use crate::web::auth::authorize;
use crate::web::auth::authorize::Secrets;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, number};
use crate::web::response::api_error::ApiError;
use crate::web::response::json_response;

/// The operation on the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Get,
    Set,
    Delete,
}

impl Verb {
    fn parse(ctx: RequestContext<'_>) -> Result<Self, ApiError> {
        let in_query = match ctx.query.text("op")?.as_deref() {
            None => None,
            Some("get") => Some(Self::Get),
            Some("set") => Some(Self::Set),
            Some("delete") => Some(Self::Delete),
            Some(other) => {
                let other = number::quote(other);
                return Err(ApiError::invalid(format!("op must be get, set or delete, got {other}")));
            }
        };
        let by_method = if *ctx.method == Method::PUT {
            Self::Set
        } else if *ctx.method == Method::DELETE {
            Self::Delete
        } else {
            return Ok(in_query.unwrap_or(Self::Get));
        };
        if in_query.is_none_or(|verb| verb == by_method) {
            Ok(by_method)
        } else {
            Err(ApiError::invalid("op contradicts the request method; use POST with op"))
        }
    }
}

/// Whether this resource supports the method.
pub(crate) fn supports(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::DELETE].contains(method)
}

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    let verb = Verb::parse(ctx)?;
    match verb {
        Verb::Get => drop(authorize::require_read(ctx, Place::KeysInBody(bucket)).await?),
        Verb::Set | Verb::Delete => {
            authorize::require_write(ctx, Place::KeysInBody(bucket)).await?;
            WritePreconditions::none(ctx)?;
        }
    }
    let body = body::json(ctx, body).await?;
    match verb {
        Verb::Get => {
            let rows = parse_rows::keys(&body, ctx.now())?;
            authorize::check_read(ctx, bucket, rows.iter().map(|row| &row.key))?;
            if ctx.query.flag("meta")? {
                get_entries::answer(ctx, bucket, rows).await
            } else {
                get_many::answer(ctx, bucket, rows).await
            }
        }
        Verb::Set => {
            let rows = parse_rows::values(&body, ctx.max_value_bytes(bucket), ctx.now())?;
            check_write(ctx, bucket, rows.iter().map(|row| &row.key))?;
            set_many::answer(ctx, bucket, rows).await
        }
        Verb::Delete => {
            let rows = parse_rows::keys(&body, ctx.now())?;
            check_write(ctx, bucket, rows.iter().map(|row| &row.key))?;
            delete(ctx, bucket, rows).await
        }
    }
}

fn check_write<'k>(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    keys: impl IntoIterator<Item = &'k Key>,
) -> Result<(), ApiError> {
    authorize::check_write(ctx, &Secrets::in_headers(&ctx.parts.headers), bucket, keys)
}

async fn delete(ctx: RequestContext<'_>, bucket: &Bucket, rows: Vec<parse_rows::KeyRow>) -> Result<Response, ApiError> {
    if let Some(number) = rows.iter().position(|row| row.modified.is_some()) {
        return Err(parse_rows::row_error(number, "modified_at is not allowed in a row to delete; send only the key"));
    }
    let writes = rows.into_iter().map(|row| Write::Delete { key: row.key }).collect();
    match ctx.state.store.apply(bucket, Batch::new(writes).returning(Returning::Metadata)).await? {
        Outcome::Committed { changes, .. } => {
            let result = |existed: bool| serde_json::json!({ "result": if existed { "deleted" } else { "missing" } });
            json_response::json(&changes.iter().map(|change| result(change.before.is_some())).collect::<Vec<_>>())
        }
        Outcome::PreconditionFailed { .. } => {
            Err(ApiError::internal("the store rejected a batch without expectations"))
        }
    }
}
