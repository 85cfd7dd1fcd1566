//! A response with a value, whole or in part (RFC 9110, section 14), and its digest (RFC 9530).

use std::ops::Range;

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::api_error::ApiError;
use super::response;
use super::response::Cache;
use super::streamed::Content;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::request::byte_range::{Requested, requested};
use crate::web::request::content_digest;
use crate::web::request::content_digest::{CONTENT_DIGEST, REPR_DIGEST};

/// Larger parts are hashed only for clients that ask for it.
const MAX_HASHED_BYTES: usize = 1 << 20;

/// The header that says that parts of a value can be requested.
pub(crate) fn accept_ranges() -> (HeaderName, HeaderValue) {
    (ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

/// A representation with its tag, without quotes, and its headers.
pub(crate) struct Found {
    pub(crate) tag: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Content,
}

/// The response to a read: 200, 206 with the part that the client asks for, or 416. Only values have parts and a
/// digest; [`accept_ranges`] marks them.
pub(crate) fn answer(ctx: RequestContext<'_>, cache: Cache, found: Found) -> Response {
    let Found { tag, headers, body } = found;
    let is_value = headers.iter().any(|(name, _)| *name == ACCEPT_RANGES);
    let Some(length) = length_of_value(&body).filter(|_| is_value) else {
        return response::bytes(body, cache, headers);
    };
    // Only GET has parts (RFC 9110, section 14.2).
    let requested =
        if *ctx.method == Method::GET { requested(&ctx.parts.headers, length, &tag) } else { Requested::Whole };
    match requested {
        Requested::Whole => with_digest(ctx, body, cache, headers),
        Requested::Part(part) => {
            let range = HeaderValue::try_from(format!("bytes {}-{}/{length}", part.start, part.end - 1));
            // A shared cache that does not know ranges would send the part to other clients.
            let mut response = with_digest(ctx, slice(body, part), cache.unshared(), headers);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().extend(range.ok().map(|range| (CONTENT_RANGE, range)));
            response
        }
        Requested::Unsatisfiable => {
            let mut response = ApiError::range_not_satisfiable(length).response(&ctx.parts.headers);
            let range = HeaderValue::try_from(format!("bytes */{length}"));
            response.headers_mut().extend(range.ok().map(|range| (CONTENT_RANGE, range)));
            response
        }
    }
}

fn length_of_value(body: &Content) -> Option<u64> {
    match body {
        Content::Whole(bytes) => Some(bytes.len() as u64),
        Content::Blob(blob) => Some(blob.length()),
        Content::Composed(_) => None,
    }
}

/// A part of a value, which has at least so many bytes.
fn slice(body: Content, part: Range<u64>) -> Content {
    match body {
        Content::Blob(blob) => Content::Blob(blob.part(part)),
        Content::Whole(bytes) => {
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Content::Whole(bytes.slice(at(part.start)..at(part.end)))
        }
        composed @ Content::Composed(_) => composed,
    }
}

fn with_digest(
    ctx: RequestContext<'_>,
    body: Content,
    cache: Cache,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Response {
    let is_wanted = *ctx.method != Method::HEAD && content_digest::is_wanted(&ctx.parts.headers);
    let (representation, content) = match &body {
        // The name of a blob is the hash of the whole value, for a part too.
        Content::Blob(blob) => {
            let digest = content_digest::value_of(blob.id.sha_256());
            (digest.clone(), digest.filter(|_| blob.is_whole()))
        }
        Content::Whole(bytes) if bytes.len() <= MAX_HASHED_BYTES || is_wanted => (None, content_digest::sha_256(bytes)),
        _ => (None, None),
    };
    let mut response = response::bytes(body, cache, headers);
    response.headers_mut().extend(representation.map(|digest| (REPR_DIGEST, digest)));
    response.headers_mut().extend(content.map(|digest| (CONTENT_DIGEST, digest)));
    response
}
