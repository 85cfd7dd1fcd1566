//! `/kv/{bucket}/{key}`: one entry.

mod delete_entry;
mod get_entry;
mod json_part;
mod patch_entry;
mod post_entry;
mod put_entry;
mod return_old;
mod write_response;

use http::Method;
use http::header::HeaderValue;

use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::ACCEPT_PATCH;
use crate::web::route::Route;

/// The response to OPTIONS.
pub(crate) fn options() -> Response {
    let mut response = response::options(Route::ENTRY_METHODS);
    response.headers_mut().insert(ACCEPT_PATCH, HeaderValue::from_static(patch_entry::TYPES));
    response
}

pub(crate) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    if matches!(*ctx.method, Method::PUT | Method::DELETE | Method::PATCH) {
        // If it were ignored, a PUT would overwrite the value.
        ctx.query.reject("op", "op is only allowed with POST; use POST, or leave it out")?;
    }
    let path = json_part::path(ctx.query)?;
    match (ctx.method, path) {
        (&Method::GET | &Method::HEAD, path) => get_entry::answer(ctx, name, path).await,
        (&Method::PUT, None) => Box::pin(put_entry::answer(ctx, name, body)).await,
        (&Method::PUT, Some(path)) => Box::pin(json_part::put(ctx, name, path, body)).await,
        (&Method::POST, path) => Box::pin(post_entry::answer(ctx, name, path, body)).await,
        (&Method::DELETE, None) => Box::pin(delete_entry::answer(ctx, name, body)).await,
        (&Method::DELETE, Some(path)) => Box::pin(json_part::delete(ctx, name, path, body)).await,
        (&Method::PATCH, None) => Box::pin(patch_entry::answer(ctx, name, body)).await,
        (&Method::PATCH, Some(_)) => {
            Err(ApiError::invalid("path is not allowed with PATCH; a patch has the paths in its body"))
        }
        _ => Err(ApiError::method_not_allowed(Route::ENTRY_METHODS)),
    }
}
