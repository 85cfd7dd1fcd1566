//! `POST /`: a form of `key=value` pairs and the secret. All pairs are stored, or none.

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;

use super::access::Right;
use super::demand::Demand;
use super::form;
use super::guard::{self, Secrets};
use super::reply::{self, Cache, Refusal};
use super::{Asked, body, commit, expiry};
use crate::model::{Bucket, ContentType, Time, Write};

/// Pairs in one form.
const MOST_PAIRS: usize = 10_000;

/// Answers `POST /`.
pub(crate) async fn answer(asked: Asked<'_>, body: Body) -> Result<Response, Refusal> {
    let headers = &asked.parts.headers;
    check_type(headers)?;
    let bucket = Bucket::default();
    let most = asked.most(&bucket);
    // Who shows a secret in a header is judged before the form is read, and who has none in it is not judged twice.
    let shown = Secrets::in_headers(headers);
    if !shown.is_empty() || asked.service.settings.access.is_empty() {
        guard::admit(asked, &shown, (Right::Write, &bucket)).await?;
    }
    let body = body::collect(asked, body, body::notation(most)).await?;
    let secrets = secrets(shown, &body)?;
    // Nothing of the form is judged for who may not write, so nothing can be learnt by trying.
    if let Some(secrets) = secrets {
        guard::admit(asked, &secrets, (Right::Write, &bucket)).await?;
    }

    let demand = Demand::new(asked, &bucket)?;
    let expires = expiry::asked(asked.question, asked.now())?;
    let writes = writes(&body, expires, most)?;
    commit::commit(asked, &bucket, writes, demand).await?;
    Ok(reply::text("OK", Cache::Never))
}

/// A form is what has the type of one, or no type: small clients send none.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    match body::essence(headers).as_str() {
        "" | body::FORM => Ok(()),
        _ => Err(Refusal::unsupported(
            "the body must be a form: key=value&auth=SECRET as application/x-www-form-urlencoded",
        )),
    }
}

/// The secrets that are still to be judged: those in the headers have been, alone. None if there are no others.
fn secrets(shown: Secrets, body: &[u8]) -> Result<Option<Secrets>, Refusal> {
    let is_judged = !shown.is_empty();
    let mut secrets = Secrets::default();
    let mut given = form::pairs(body).filter(|(name, _)| form::is_auth(*name));
    if let Some((_, secret)) = given.next() {
        secrets.add(secret.bytes());
    }
    if given.next().is_some() {
        return Err(Refusal::invalid("auth stands twice in the form; send one secret"));
    }
    Ok((!is_judged || !secrets.is_empty()).then_some(secrets))
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
            return Err(Refusal::too_large(format!("a form must have at most {MOST_PAIRS} pairs; send several")));
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
            assert!(secrets(Secrets::default(), good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["auth=x&auth=x", "auth=x&a=1&%61uth=", "auth&auth"] {
            assert!(secrets(Secrets::default(), bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
