//! `?path=`: a part of a JSON value, named by a JSON Pointer (RFC 6901).
//!
//! A value counts as JSON if it is JSON, whatever its type: `curl -d` stores text. The type and the expiry of the entry
//! stay as they are. The size limit is that of the whole value.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::write_response::{is_by_date, ok, with_etag};
use super::{delete_entry, return_old};
use crate::model::json::{JsonError, JsonValue, Pointer};
use crate::model::{ContentType, Entry, Time, Write};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::form::QueryString;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, ttl};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;
use crate::web::write::update;

/// The path in the query.
pub(super) fn path(query: QueryString<'_>) -> Result<Option<Pointer>, ApiError> {
    let Some(text) = query.text("path")? else { return Ok(None) };
    text.parse().map(Some).map_err(of_request)
}

/// The part of a value; `None` if the path does not exist.
pub(super) fn find(entry: &Entry, path: &Pointer) -> Result<Option<Bytes>, ApiError> {
    match document(&entry.value)?.get(path) {
        // A part of the value, not a copy.
        Ok(part) => Ok(Some(entry.value.slice_ref(part.to_text().as_bytes()))),
        Err(JsonError::Missing(_)) => Ok(None),
        Err(error) => Err(of_value(error)),
    }
}

pub(super) async fn put(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    path: Pointer,
    body: Body,
) -> Result<Response, ApiError> {
    let bucket = name.bucket;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let returns_old = return_old::parse(ctx, name).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let body = body::collect(ctx, body, ctx.max_value_bytes(bucket)).await?;
    let part = json_body(&body)?;
    let change = update::update(ctx, name, preconditions, |found| {
        let mut document = found.map_or_else(|| Ok(JsonValue::empty_for(&path)), |entry| document(&entry.value))?;
        document.put(&path, part.clone()).map_err(of_value)?;
        replacement(ctx, name, found, expires, document.to_string())
    })
    .await?;
    // A part of a missing key was missing as well, the whole document too.
    let before = change.before.as_ref().map(|entry| find(entry, &path)).transpose()?.flatten();
    let response = if returns_old { old_part(before) } else { ok(ctx, bucket, before.is_none()) };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}

pub(super) async fn delete(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    path: Pointer,
    body: Body,
) -> Result<Response, ApiError> {
    if path.is_whole() {
        return delete_entry::answer(ctx, name, body).await;
    }
    let bucket = name.bucket;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let returns_old = return_old::parse(ctx, name).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    body::drain(ctx, body).await?;
    let change = update::update(ctx, name, preconditions, |found| {
        let missing = || ApiError::not_found("no such key", Cache::Never).without_body(is_by_date(ctx, bucket));
        let mut document = document(&found.ok_or_else(missing)?.value)?;
        document.remove(&path).map_err(of_value)?;
        replacement(ctx, name, found, expires, document.to_string())
    })
    .await?;
    let before = change.before.as_ref().map(|entry| find(entry, &path)).transpose()?.flatten();
    let response = if returns_old { old_part(before) } else { ok(ctx, bucket, false) };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}

/// The previous value of the part; 204 if there was none.
fn old_part(before: Option<Bytes>) -> Response {
    match before {
        Some(part) => {
            let json = (CONTENT_TYPE, HeaderValue::from_static(ContentType::JSON));
            response::bytes(part, Cache::Never, [json])
        }
        None => response::no_content(),
    }
}

/// The stored value as JSON.
pub(super) fn document(value: &[u8]) -> Result<JsonValue<'_>, ApiError> {
    JsonValue::from_bytes(value).map_err(|why| ApiError::conflict(format!("the stored value is not JSON: {why}")))
}

/// The body of a request as JSON.
pub(super) fn json_body(body: &[u8]) -> Result<JsonValue<'_>, ApiError> {
    let not_json = |why| ApiError::invalid(format!("the body must be JSON (a text needs quotes): {why}"));
    JsonValue::from_bytes(body).map_err(not_json)
}

/// The response to an error in the request.
pub(super) fn of_request(error: JsonError) -> ApiError {
    match error {
        JsonError::TooLarge(text) => ApiError::too_large(text),
        JsonError::Conflict(text) | JsonError::Missing(text) => ApiError::conflict(text),
        error => ApiError::invalid(error.to_string()),
    }
}

/// The response to an error that depends on the stored value.
fn of_value(error: JsonError) -> ApiError {
    match error {
        JsonError::Missing(text) => ApiError::not_found(text, Cache::Never),
        JsonError::NotJson(text) => ApiError::conflict(format!("the stored value is not JSON: {text}")),
        error => of_request(error),
    }
}

/// The write that replaces the value of an entry and, unless the request has another one, keeps the expiry.
pub(super) fn replacement(
    ctx: RequestContext<'_>,
    EntryName { bucket, key }: EntryName<'_>,
    found: Option<&Entry>,
    expires: Option<Time>,
    value: String,
) -> Result<Write, ApiError> {
    let limit = ctx.max_value_bytes(bucket);
    if value.len() > limit {
        let text = format!("the value would have {} bytes; the limit is {limit} bytes", value.len());
        return Err(ApiError::too_large(text));
    }
    let expires = expires.or(found.and_then(|entry| entry.expires));
    let content_type = found.map_or_else(ContentType::json, |entry| entry.content_type.clone());
    Ok(Write::Put { key: key.clone(), value: value.into(), content_type, expires, modified: None })
}
