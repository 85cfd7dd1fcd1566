//! `PUT /kv/{bucket}/{key}`, and `POST` without `op`: stores the body as the value, with its media type.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::return_old;
use super::write_response::{ok, with_etag};
use crate::model::{ContentType, Write};
use crate::web::auth::authorize;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, ttl};
use crate::web::response::api_error::ApiError;
use crate::web::write::commit;

pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    EntryName { bucket, key }: EntryName<'_>,
    body: Body,
) -> Result<Response, ApiError> {
    authorize::require_write(ctx, bucket).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let return_old = return_old::parse(ctx, bucket).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let headers = &ctx.parts.headers;
    // A copy, because the memory of the body is charged to a budget and given back with the request.
    let value = Bytes::copy_from_slice(&body::collect(ctx, body, ctx.max_value_bytes(bucket)).await?);
    let content_type = content_type(headers, &value)?;
    let put = Write::Put { key: key.clone(), value, content_type, expires, modified: None };
    let changes = commit::commit(ctx, bucket, vec![put], preconditions).await?;
    let change =
        changes.into_iter().next().ok_or_else(|| ApiError::internal("the store returned no change for a write"))?;
    let is_new = change.before.is_none();
    let response = if return_old { return_old::answer(change.before) } else { ok(ctx, bucket, is_new) };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}

/// The media type of the value. The type of a form is ignored, because `curl -d` always sends it. Without a type, a
/// value in UTF-8 is text and any other value is bytes.
fn content_type(headers: &HeaderMap, value: &[u8]) -> Result<ContentType, ApiError> {
    let sent = headers.get(CONTENT_TYPE).map(|sent| sent.to_str().unwrap_or("?"));
    match sent {
        _ if body::essence(headers) == body::FORM_TYPE => Ok(ContentType::default()),
        Some(sent) if !sent.trim().is_empty() => Ok(ContentType::new(sent)?),
        _ if std::str::from_utf8(value).is_ok() => Ok(ContentType::default()),
        _ => Ok(ContentType::new("application/octet-stream")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_is_kept_except_that_of_a_form() {
        let kept = |sent: Option<&str>, value: &[u8]| {
            let headers = sent.into_iter().map(|sent| (CONTENT_TYPE, sent.parse().unwrap())).collect();
            content_type(&headers, value).map(|kept| kept.as_str().to_owned())
        };
        let text = ContentType::TEXT;
        assert_eq!(kept(Some("image/png"), b"\x89").unwrap(), "image/png");
        assert_eq!(kept(Some("application/json; charset=utf-8"), b"1").unwrap(), "application/json; charset=utf-8");
        assert_eq!(kept(Some("Application/X-WWW-Form-Urlencoded"), b"a=1").unwrap(), text);
        assert_eq!(kept(Some(""), b"a").unwrap(), text);
        assert_eq!(kept(None, "ä".as_bytes()).unwrap(), text);
        assert_eq!(kept(None, b"\xff").unwrap(), "application/octet-stream");
        assert!(kept(Some("png"), b"").is_err());
    }
}
