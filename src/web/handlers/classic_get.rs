//! `GET /?k=a,b`: the value of the key that was written last, byte for byte. Keys that do not exist are ignored.
//! `?bucket=` names another bucket, and `?default=` is the response if no key exists.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::model::{Bucket, Key};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::Response;
use crate::web::context::{ApiState, RequestContext};
use crate::web::entry_name::EntryName;
use crate::web::read::conditional_get;
use crate::web::read::conditional_get::ResponsePolicy;
use crate::web::read::fetch::{Fetch, Fetched, Representation};
use crate::web::read::newest_value;
use crate::web::read::newest_value::NewestValue;
use crate::web::request::form::QueryString;
use crate::web::response::api_error::ApiError;
use crate::web::response::{cache_urls, safe_types};
use crate::web::route;

/// How many keys a request may have. Each one costs the store a lookup.
const MAX_KEYS: usize = 1000;
/// The header with the key that was written last.
const KVS_KEY: HeaderName = HeaderName::from_static("kvs-key");
/// The characters that are not allowed in a header, and the `%` of their escapes.
const ENCODED_IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

struct NewestFetch<'a> {
    state: &'a ApiState,
    bucket: Bucket,
    keys: Vec<Key>,
}

pub(crate) async fn answer(ctx: RequestContext<'_>) -> Result<Response, ApiError> {
    let keys = keys(ctx.query)?;
    let bucket = route::bucket_in_query(ctx.query)?;
    let text_if_missing = ctx.query.text("default")?;
    let cache = authorize::require_read(ctx, Place::Keys(&bucket, &keys)).await?;
    let cache = if let [key] = keys.as_slice() {
        cache_urls::shared_cache_policy(ctx, EntryName { bucket: &bucket, key }, cache)
    } else {
        cache
    };
    let newest = NewestFetch { state: ctx.state, bucket, keys };
    let policy = ResponsePolicy { text_if_missing: text_if_missing.as_deref(), ..cache.into() };
    conditional_get::answer(ctx, &newest.bucket, policy, &newest).await
}

/// The requested keys: every `k`, decoded, then split at commas. Empty parts are ignored.
fn keys(query: QueryString<'_>) -> Result<Vec<Key>, ApiError> {
    let mut keys = vec![];
    for param in query.all("k") {
        let text = param.text()?;
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let key = Key::new(name).map_err(|e| ApiError::invalid(format!("{e}; write ?k=KEY or ?k=KEY,KEY")))?;
            keys.push(key);
        }
    }
    match keys.len() {
        0 => Err(ApiError::invalid("k contains no key; write ?k=KEY or ?k=KEY,KEY")),
        1..=MAX_KEYS => Ok(keys),
        count => Err(ApiError::invalid(format!("k must have at most {MAX_KEYS} keys, got {count}"))),
    }
}

impl Fetch for NewestFetch<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let (revision, newest) = newest_value::find(&self.state.store, &self.bucket, &self.keys).await?;
        let expires = newest.as_ref().and_then(|newest| newest.entry.expires);
        Ok(Fetched { revision, expires, representation: newest.map(representation) })
    }
}

fn representation(newest: NewestValue<'_>) -> Representation {
    let NewestValue { key, entry, content_type, content } = newest;
    let mut headers = safe_types::headers(&content_type);
    let name = Cow::from(utf8_percent_encode(key.as_str(), ENCODED_IN_HEADER));
    headers.extend(HeaderValue::from_str(&name).ok().map(|value| (KVS_KEY, value)));
    Representation { tag: entry.revision.to_string(), modified: Some(entry.last_modified()), headers, body: content }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str) -> Result<Vec<String>, ApiError> {
        keys(QueryString::new(Some(query))?).map(|keys| keys.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_are_decoded_then_split() {
        assert_eq!(names("k=a,b").unwrap(), ["a", "b"]);
        assert_eq!(names("k=a%2Cb+c%2C%C3%A4").unwrap(), ["a", "b c", "ä"]);
        assert_eq!(names("x=1&k=a&_=123&k=b,,").unwrap(), ["a", "b"]);
        assert_eq!(names("k=a%252C").unwrap(), ["a%2C"]);
        assert_eq!(names("%6b=a").unwrap(), ["a"]);
    }

    #[test]
    fn malformed_keys_are_rejected() {
        let long = format!("k={}", "a".repeat(1025));
        let many = format!("k={}", "a,".repeat(1001));
        for bad in ["k=", "k", "k=,", "k=.", "k=a,..", "k=%00", "k=a%0a", "k=%zz", "k=%ff", "k=%C2%85", &long, &many] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kvs_key_header_is_percent_encoded() {
        let entry = crate::model::Entry {
            value: "v".into(),
            content_type: crate::model::ContentType::default(),
            revision: crate::model::Revision::new(72),
            created: crate::model::Time::default(),
            modified: None,
            expires: None,
        };
        let (key, content_type) = (&Key::new(" ä%,b").unwrap(), entry.content_type.clone());
        let content = entry.value.clone().into();
        let representation = representation(NewestValue { key, entry, content_type, content });
        let name = representation.headers.iter().find(|(name, _)| *name == KVS_KEY).unwrap();
        assert_eq!(name.1, "%20%C3%A4%25,b");
        assert_eq!(representation.tag, "20");
    }
}
