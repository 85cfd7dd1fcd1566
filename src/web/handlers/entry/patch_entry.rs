//! `PATCH /kv/{bucket}/{key}`: changes a JSON value by a JSON Patch (RFC 6902) or a JSON Merge Patch (RFC 7396), all of
//! it or nothing. The type and the expiry of the entry stay as they are.

use super::json_part;
use super::return_old;
use super::write_response::{ok, with_etag};
use crate::model::Entry;
use crate::model::json::JsonValue;
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, ttl};
use crate::web::response::api_error::ApiError;
use crate::web::response::response::Cache;
use crate::web::write::update;

/// The types of patches, as `Accept-Patch` lists them (RFC 5789, section 3.1).
pub(super) const TYPES: &str = "application/json-patch+json, application/merge-patch+json";

/// How many times the largest value the parts that a patch copies and moves may have in bytes.
const MAX_WORK_FACTOR: usize = 10;

/// The two kinds of patches.
#[derive(Clone, Copy)]
enum Kind {
    JsonPatch,
    MergePatch,
}

impl Kind {
    /// The kind that `Content-Type` names.
    fn parse(ctx: RequestContext<'_>) -> Result<Self, ApiError> {
        match body::essence(&ctx.parts.headers).as_str() {
            "application/json-patch+json" => Ok(Self::JsonPatch),
            "application/merge-patch+json" => Ok(Self::MergePatch),
            _ => Err(ApiError::unsupported_patch(TYPES)),
        }
    }

    /// The value of an entry after the patch. A merge patch of a missing key creates it.
    fn apply(self, found: Option<&Entry>, patch: JsonValue<'_>, limit: usize) -> Result<String, ApiError> {
        let document = found.map(|entry| json_part::document(&entry.value)).transpose()?;
        match (self, document) {
            (Self::JsonPatch, None) => Err(ApiError::not_found("no such key", Cache::Never)),
            (Self::JsonPatch, Some(mut document)) => {
                document.patch(patch, limit.saturating_mul(MAX_WORK_FACTOR)).map_err(json_part::of_request)?;
                Ok(document.to_string())
            }
            (Self::MergePatch, document) => {
                let mut document = document.unwrap_or_else(JsonValue::object);
                document.merge_patch(patch).map_err(json_part::of_request)?;
                Ok(document.to_string())
            }
        }
    }
}

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    let bucket = name.bucket;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let kind = Kind::parse(ctx)?;
    if matches!(kind, Kind::JsonPatch) {
        // A `test` reveals what is stored, as a check of a transaction does.
        authorize::require_read(ctx, Place::Key(name)).await?;
    }
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let returns_old = return_old::parse(ctx, name).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let limit = ctx.max_value_bytes(bucket);
    let body = body::collect(ctx, body, body::max_encoded_bytes(limit)).await?;
    let patch = json_part::json_body(&body)?;
    let change = update::update(ctx, name, preconditions, |found| {
        let value = kind.apply(found, patch.clone(), limit)?;
        json_part::replacement(ctx, name, found, expires, value)
    })
    .await?;
    let is_new = change.before.is_none();
    let response = if returns_old { return_old::answer(change.before) } else { ok(ctx, bucket, is_new) };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}
