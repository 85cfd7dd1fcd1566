//! `POST /`: stores the `key=value` pairs of a form, all or none, in the bucket `default` or in that of `?bucket=`. The
//! secret is in the form as `auth`, or in a header.

use http::HeaderMap;

use crate::model::{Batch, ContentType, Returning, Time, Write};
use crate::web::auth::authorize;
use crate::web::auth::authorize::Secrets;
use crate::web::auth::place::Place;
use crate::web::auth::secrets::Right;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, form, ttl};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;
use crate::web::route;
use crate::web::write::commit;

/// How many pairs a form may have.
const MAX_PAIRS: usize = 10_000;

pub(crate) async fn answer(ctx: RequestContext<'_>, body: Body) -> Result<Response, ApiError> {
    let headers = &ctx.parts.headers;
    check_type(headers)?;
    let bucket = route::bucket_in_query(ctx.query)?;
    let max_value_bytes = ctx.max_value_bytes(&bucket);
    // A secret in a header is checked before the form is read. A second check follows only if the form has a secret.
    let in_headers = Secrets::in_headers(headers);
    if !in_headers.is_empty() || ctx.state.settings.secrets.is_empty() {
        authorize::authorize(ctx, &in_headers, Right::Write, Place::KeysInBody(&bucket)).await?;
    }
    let body = body::collect(ctx, body, body::max_encoded_bytes(max_value_bytes)).await?;
    let secrets = secrets(in_headers, &body)?;
    // The secret is checked before the form, so that the errors of the form reveal nothing without it.
    if let Some(secrets) = &secrets {
        authorize::authorize(ctx, secrets, Right::Write, Place::KeysInBody(&bucket)).await?;
    }

    let preconditions = WritePreconditions::new(ctx, &bucket)?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let writes = writes(&body, expires, max_value_bytes)?;
    for secrets in [Some(Secrets::in_headers(headers)), secrets].into_iter().flatten() {
        authorize::check_write(ctx, &secrets, &bucket, writes.iter().map(Write::key))?;
    }
    commit::commit(ctx, &bucket, Batch::new(writes).returning(Returning::Nothing), preconditions).await?;
    Ok(response::text("OK", Cache::Never))
}

/// Accepts the type of a form, and no type, because small clients send none.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    match body::essence(headers).as_str() {
        "" | body::FORM_TYPE => Ok(()),
        _ => Err(ApiError::unsupported_media_type(
            "the body must be a form; send key=value&auth=SECRET as application/x-www-form-urlencoded",
        )),
    }
}

/// The secrets that must still be checked; `None` if there are none. Those in the headers were checked before.
fn secrets(in_headers: Secrets, body: &[u8]) -> Result<Option<Secrets>, ApiError> {
    let is_checked = !in_headers.is_empty();
    let mut secrets = Secrets::default();
    let mut in_form = form::pairs(body).filter(|(name, _)| form::is_auth(*name));
    if let Some((_, secret)) = in_form.next() {
        secrets.add(secret.bytes());
    }
    if in_form.next().is_some() {
        return Err(ApiError::invalid("auth is given twice in the form; send one secret"));
    }
    Ok((!is_checked || !secrets.is_empty()).then_some(secrets))
}

fn writes(body: &[u8], expires: Option<Time>, max_value_bytes: usize) -> Result<Vec<Write>, ApiError> {
    let mut writes = vec![];
    for (name, value) in form::pairs(body).filter(|(name, _)| !form::is_auth(*name)) {
        let key = name.key()?;
        let value = value.bytes();
        if value.len() > max_value_bytes {
            let text = format!("the value of {key:?} has {} bytes; the limit is {max_value_bytes}", value.len());
            return Err(ApiError::too_large(text));
        }
        if writes.len() == MAX_PAIRS {
            return Err(ApiError::too_large(format!("the form has more than {MAX_PAIRS} pairs; send several forms")));
        }
        let content_type = ContentType::default();
        writes.push(Write::Put { key, value: value.into(), content_type, expires, modified: None });
    }
    if writes.is_empty() {
        return Err(ApiError::invalid("the form contains no key; send key=value&auth=SECRET"));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(body: &[u8]) -> Vec<(String, Bytes)> {
        let writes = writes(body, None, 1 << 20).unwrap();
        let pair = |write| match write {
            Write::Put { key, value, .. } => (key.to_string(), value),
            other => panic!("{other:?}"),
        };
        writes.into_iter().map(pair).collect()
    }

    #[test]
    fn pairs_are_stored_in_their_order_without_the_secret() {
        let found = put(b"b=1+2&auth=x&a=%ff%00&b=50%&c&%C3%A4%2C=%3D");
        let expected: [(&str, &[u8]); 5] = [("b", b"1 2"), ("a", b"\xff\0"), ("b", b"50%"), ("c", b""), ("ä,", b"=")];
        assert_eq!(found.len(), expected.len());
        for ((key, value), (k, v)) in found.iter().zip(expected) {
            assert_eq!((key.as_str(), value.as_ref()), (k, v));
        }
    }

    #[test]
    fn form_is_rejected_when_one_pair_is_invalid() {
        let long = format!("a=1&{}=2", "k".repeat(1025));
        for bad in ["", "auth=x", "=1", "a=1&.=2", "a=1&%zz=2", "%=1", "%ff=1", "a%0a=1", &long, "a=12345"] {
            assert!(writes(bad.as_bytes(), None, 4).is_err(), "{bad}");
        }
        let many = "a&".repeat(MAX_PAIRS + 1);
        assert!(writes(many.as_bytes(), None, 4).is_err());
        assert!(writes(&many.as_bytes()[2..], None, 4).is_ok());
    }

    #[test]
    fn auth_is_allowed_once_at_any_position() {
        for good in ["auth=x&a=1", "a=1&auth=x", "a=1&%61uth=x", "a=1"] {
            assert!(secrets(Secrets::default(), good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["auth=x&auth=x", "auth=x&a=1&%61uth=", "auth&auth"] {
            assert!(secrets(Secrets::default(), bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
