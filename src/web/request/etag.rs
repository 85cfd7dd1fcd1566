//! Entity tags in headers and in URLs (RFC 9110, section 8.8.3).

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::web::response::api_error::ApiError;

/// Another name for If-Match, for caches in front of kvs that do not pass on If-Match.
pub(crate) const X_IF_MATCH: HeaderName = HeaderName::from_static("x-if-match");

/// The tags in a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tags {
    /// `*`.
    Any,
    List(Vec<Tag>),
}

/// A tag, without quotes and without the suffix of a compression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) weak: bool,
    pub(crate) opaque: String,
}

/// A tag in quotes, for a header.
pub(crate) fn quoted(tag: &str) -> Option<HeaderValue> {
    let mut quoted = Vec::with_capacity(tag.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(tag.as_bytes());
    quoted.push(b'"');
    HeaderValue::from_maybe_shared(Bytes::from(quoted)).ok()
}

/// A tag as a client may write it in a URL: with or without `W/` and quotes.
pub(crate) fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    without_compression_suffix(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text))
}

/// The tag without the suffix that a web server adds when it compresses a response.
fn without_compression_suffix(opaque: &str) -> &str {
    opaque.strip_suffix("-gzip").or_else(|| opaque.strip_suffix("-br")).unwrap_or(opaque)
}

/// The tags in a header; `None` if it is missing or malformed.
pub(crate) fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.to_str().ok()?.trim();
    if first == "*" {
        // `*` is not allowed in a list.
        return lines.next().is_none().then_some(Tags::Any);
    }
    let mut list = parse_tags(first)?;
    for line in lines {
        list.extend(parse_tags(line.to_str().ok()?.trim())?);
    }
    Some(Tags::List(list))
}

/// The tags in a header of a write; `None` if it is missing.
///
/// # Errors
/// If it is neither `*` nor tags. Ignoring a malformed precondition would overwrite an entry without a check.
pub(crate) fn strict_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, ApiError> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let invalid = || ApiError::invalid(format!("{name} must be * or ETags in quotes, such as \"dn0n56z1fq2r\""));
    tags(headers, name).map(Some).ok_or_else(invalid)
}

/// Parses a list such as `"a", W/"b"`.
fn parse_tags(text: &str) -> Option<Vec<Tag>> {
    let mut tags = vec![];
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { weak, opaque: without_compression_suffix(opaque).to_owned() });
        let next = after.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with(',') {
            return None;
        }
        rest = next.trim_start_matches([' ', '\t', ',']);
    }
    if tags.is_empty() { None } else { Some(tags) }
}
