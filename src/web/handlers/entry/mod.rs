//! `/kv/{bucket}/{key}`: one entry.

mod delete_entry;
mod get_entry;
mod post_entry;
mod put_entry;
mod return_old;
mod write_response;

use http::Method;

use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::response::api_error::ApiError;
use crate::web::route::Route;

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    if !matches!(*ctx.method, Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE) {
        return Err(ApiError::method_not_allowed(Route::ENTRY_METHODS));
    }
    // The parameter reaches into a value. If it were ignored, the whole value would be returned or overwritten.
    ctx.query.reject("path", "path is not supported: a value is read and written as a whole; leave it out")?;
    if matches!(*ctx.method, Method::PUT | Method::DELETE) {
        // If it were ignored, a PUT would overwrite the value.
        ctx.query.reject("op", "op is only allowed with POST; use POST, or leave it out")?;
    }
    match *ctx.method {
        Method::PUT => Box::pin(put_entry::answer(ctx, name, body)).await,
        Method::POST => Box::pin(post_entry::answer(ctx, name, body)).await,
        Method::DELETE => Box::pin(delete_entry::answer(ctx, name, body)).await,
        _ => get_entry::answer(ctx, name).await,
    }
}
