//! `PUT /kv/{bucket}/{key}`, and `POST` without an operation: the body is the value, its media type is kept.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::super::demand::Demand;
use super::super::reply::Refusal;
use super::super::{Asked, body, commit, expiry, guard};
use super::{Name, done, old, tagged};
use crate::model::{ContentType, Write};

/// Answers `PUT /kv/{bucket}/{key}`.
pub(crate) async fn answer(asked: Asked<'_>, (bucket, key): Name<'_>, body: Body) -> Result<Response, Refusal> {
    super::refuse_path(asked)?;
    super::refuse_operation(asked)?;
    guard::writer(asked, bucket).await?;
    let demand = Demand::new(asked, bucket)?;
    let return_old = old::asked(asked, bucket).await?;
    let expires = expiry::asked(asked.question, asked.now())?;
    let headers = &asked.parts.headers;
    // A copy of its own: the memory of a body is given back with the request.
    let value = Bytes::copy_from_slice(&body::collect(asked, body, asked.most(bucket)).await?);
    let content_type = content_type(headers, &value)?;
    let put = Write::Put { key: key.clone(), value, content_type, expires, modified: None };
    let changes = commit::commit(asked, bucket, vec![put], demand).await?;
    let change = changes.into_iter().next().ok_or_else(|| Refusal::internal("the store told of no change"))?;
    let is_new = change.before.is_none();
    let response = if return_old { old::answer(change.before) } else { done(asked, bucket, is_new) };
    Ok(tagged(asked, bucket, change.after.as_ref(), response))
}

/// The type of the value as its sender gives it. The type of a form is what `curl -d` says of anything, so it says
/// nothing. Without one it is text, if it is text.
fn content_type(headers: &HeaderMap, value: &[u8]) -> Result<ContentType, Refusal> {
    let given = headers.get(CONTENT_TYPE).map(|given| given.to_str().unwrap_or("?"));
    match given {
        _ if body::essence(headers) == body::FORM => Ok(ContentType::default()),
        Some(given) if !given.trim().is_empty() => Ok(ContentType::new(given)?),
        _ if std::str::from_utf8(value).is_ok() => Ok(ContentType::default()),
        _ => Ok(ContentType::new("application/octet-stream")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_kept_unless_it_says_nothing() {
        let kept = |given: Option<&str>, value: &[u8]| {
            let headers = given.into_iter().map(|given| (CONTENT_TYPE, given.parse().unwrap())).collect();
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
