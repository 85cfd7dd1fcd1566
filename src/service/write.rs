//! `POST /`: a form of `key=value` pairs and the secret. All pairs are stored, or none.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::access::Right;
use super::demand;
use super::form::{self, Question};
use super::guard::{self, Secrets};
use super::reply::{self, Cache, Refusal};
use super::{Caller, Service};
use crate::model::{Batch, Bucket, ContentType, Outcome, Time, Write};

/// What a form may be larger than its values, which may be three times as long escaped as they are.
const FORM_OVERHEAD: usize = 64 << 10;
/// Pairs in one form.
const MOST_PAIRS: usize = 10_000;

/// Answers `POST /`.
pub(crate) async fn answer(
    service: &Service,
    parts: &Parts,
    question: Question<'_>,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    check_type(&parts.headers)?;
    let most = service.settings.max_value;
    let body = collect(&parts.headers, body, most.saturating_mul(3).saturating_add(FORM_OVERHEAD)).await?;
    let secrets = secrets(&parts.headers, &body)?;
    let bucket = Bucket::default();
    // Nothing of the form is judged for who may not write, so nothing can be learnt by trying.
    guard::admit(service, caller, &secrets, (Right::Write, &bucket)).await?;

    let expires = expiry(question, service.settings.clock.now())?;
    let writes = writes(&body, expires, most)?;
    let expectations = demand::expectations(&parts.headers, &writes)?;
    match service.store.apply(&bucket, Batch { expectations, writes }).await? {
        Outcome::Committed { .. } => Ok(reply::text("OK", Cache::Never)),
        Outcome::Refused { .. } => Err(Refusal::condition(Cache::Never)),
    }
}

/// A form is what has the type of one, or no type: small clients send none.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(Refusal::unsupported("send a form: key=value&auth=SECRET as application/x-www-form-urlencoded"))
}

/// The whole body, which has the length its header says.
async fn collect(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::too_large(format!("the form is too large; at most {most} bytes are taken"));
    let told: Option<usize> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if told.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let body = match Limited::new(body, most).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => {
            tracing::debug!("a body broke off: {error}");
            return Err(Refusal::invalid("the body broke off; nothing was stored"));
        }
    };
    if told.is_some_and(|length| length != body.len()) {
        return Err(Refusal::invalid("the body is not as long as its Content-Length; nothing was stored"));
    }
    Ok(body)
}

/// Those in the headers, and the one in the form.
fn secrets(headers: &HeaderMap, body: &[u8]) -> Result<Secrets, Refusal> {
    let mut secrets = Secrets::in_headers(headers);
    let mut given = form::pairs(body).filter(|(name, _)| form::is_auth(*name));
    if let Some((_, secret)) = given.next() {
        secrets.add(secret.bytes());
    }
    if given.next().is_some() {
        return Err(Refusal::invalid("auth stands twice in the form; nothing was stored"));
    }
    Ok(secrets)
}

/// `ttl=SECONDS` or `expires=UNIX`, for all pairs of the form.
fn expiry(question: Question<'_>, now: Time) -> Result<Option<Time>, Refusal> {
    let (ttl, expires) = (question.number("ttl", 1)?, question.number("expires", 0)?);
    match (ttl, expires) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::invalid("give ttl or expires, not both")),
        (Some(seconds), None) => Ok(Some(now.plus(Duration::from_secs(seconds)))),
        (None, Some(second)) => {
            let end = Time::from_secs(i64::try_from(second).unwrap_or(i64::MAX));
            if end <= now {
                return Err(Refusal::invalid("expires lies in the past; it is in seconds since 1970"));
            }
            Ok(Some(end))
        }
    }
}

fn writes(body: &[u8], expires: Option<Time>, most: usize) -> Result<Vec<Write>, Refusal> {
    let mut writes = vec![];
    for (name, value) in form::pairs(body).filter(|(name, _)| !form::is_auth(*name)) {
        let key = name.key()?;
        let value = value.bytes();
        if value.len() > most {
            let text = format!("the value of {key:?} has {} bytes; at most {most} are taken", value.len());
            return Err(Refusal::too_large(text));
        }
        if writes.len() == MOST_PAIRS {
            return Err(Refusal::too_large(format!("at most {MOST_PAIRS} pairs are taken in one form")));
        }
        let content_type = ContentType::default();
        writes.push(Write::Put { key, value: value.into(), content_type, expires, modified: None });
    }
    if writes.is_empty() {
        return Err(Refusal::invalid("the form holds no pair; send key=value&auth=SECRET"));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(body: &[u8]) -> Vec<(String, Bytes)> {
        let writes = writes(body, None, 1 << 20).unwrap();
        let pair = |write| match write {
            Write::Put { key, value, .. } => (key.to_string(), value),
            other => panic!("{other:?}"),
        };
        writes.into_iter().map(pair).collect()
    }

    #[test]
    fn pairs_in_their_order_without_the_secret() {
        let found = put(b"b=1+2&auth=x&a=%ff%00&b=50%&c&%C3%A4%2C=%3D");
        let expected: [(&str, &[u8]); 5] = [("b", b"1 2"), ("a", b"\xff\0"), ("b", b"50%"), ("c", b""), ("ä,", b"=")];
        assert_eq!(found.len(), expected.len());
        for ((key, value), (k, v)) in found.iter().zip(expected) {
            assert_eq!((key.as_str(), value.as_ref()), (k, v));
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused_as_a_whole() {
        let long = format!("a=1&{}=2", "k".repeat(1025));
        for bad in ["", "auth=x", "=1", "a=1&.=2", "a=1&%zz=2", "%=1", "%ff=1", "a%0a=1", &long, "a=12345"] {
            assert!(writes(bad.as_bytes(), None, 4).is_err(), "{bad}");
        }
        let many = "a&".repeat(MOST_PAIRS + 1);
        assert!(writes(many.as_bytes(), None, 4).is_err());
        assert!(writes(&many.as_bytes()[2..], None, 4).is_ok());
    }

    #[test]
    fn one_auth_wherever_it_stands() {
        for good in ["auth=x&a=1", "a=1&auth=x", "a=1&%61uth=x", "a=1"] {
            assert!(secrets(&HeaderMap::new(), good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["auth=x&auth=x", "auth=x&a=1&%61uth=", "auth&auth"] {
            assert!(secrets(&HeaderMap::new(), bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ends_lie_in_the_future() {
        let now = Time::from_secs(1000);
        let end = |q| expiry(Question::new(Some(q)).unwrap(), now);
        assert_eq!(end("ttl=60").unwrap(), Some(Time::from_secs(1060)));
        assert_eq!(end("expires=1001").unwrap(), Some(Time::from_secs(1001)));
        assert_eq!(end("").unwrap(), None);
        assert!(end("ttl=99999999999999999999").unwrap().is_some());
        for bad in ["ttl=0", "ttl=-1", "ttl=x", "expires=1000", "expires=", "ttl=1&expires=2000"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }
}
