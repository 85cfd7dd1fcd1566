//! `GET /?k=a,b`: the value of the key that was written last, of those that exist. Byte for byte.

use async_trait::async_trait;
use axum::response::Response;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::form::Question;
use super::reply::Refusal;
use super::view::{self, Look, Shown, View};
use super::{Asked, Service, address, guard, media};
use crate::model::{Bucket, Entry, Key};

/// More keys than this are refused: each one costs the store a search.
const MOST_KEYS: usize = 1000;
/// The header that names the key that won.
const KVS_KEY: HeaderName = HeaderName::from_static("kvs-key");
/// What a header cannot carry, and the `%` that stands for it.
const NOT_IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

struct Newest {
    bucket: Bucket,
    keys: Vec<Key>,
}

/// Answers `GET /?k=a,b`.
pub(crate) async fn answer(asked: Asked<'_>) -> Result<Response, Refusal> {
    let keys = keys(asked.question)?;
    let bucket = Bucket::default();
    let cache = guard::reader(asked, &bucket).await?;
    let cache = if let [key] = keys.as_slice() { address::kept(asked, (&bucket, key), cache) } else { cache };
    let newest = Newest { bucket, keys };
    view::answer(asked, &newest.bucket, cache.into(), &newest).await
}

/// The keys asked for: every `k`, decoded, then split at commas. Nothing between two commas is no key.
fn keys(question: Question<'_>) -> Result<Vec<Key>, Refusal> {
    let mut keys = vec![];
    for piece in question.all("k") {
        let text = piece.text()?;
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let key = Key::new(name).map_err(|e| Refusal::invalid(format!("{e}; write ?k=KEY or ?k=KEY,KEY")))?;
            keys.push(key);
        }
    }
    match keys.len() {
        0 => Err(Refusal::invalid("k names no key; write ?k=KEY or ?k=KEY,KEY")),
        1..=MOST_KEYS => Ok(keys),
        _ => Err(Refusal::invalid(format!("at most {MOST_KEYS} keys are read at once"))),
    }
}

#[async_trait]
impl Look for Newest {
    async fn look(&self, service: &Service) -> Result<View, Refusal> {
        let snapshot = service.store.get(&self.bucket, &self.keys).await.map_err(Refusal::unread)?;
        let found = self.keys.iter().zip(snapshot.entries).filter_map(|(key, entry)| Some((key, entry?)));
        let newest = found.max_by_key(|(_, entry)| entry.revision);
        let ends = newest.as_ref().and_then(|(_, entry)| entry.expires);
        Ok(View { moved: snapshot.revision, ends, shown: newest.map(|(key, entry)| shown(key, entry)) })
    }
}

fn shown(key: &Key, entry: Entry) -> Shown {
    let mut headers = media::headers(&entry.content_type);
    let name = utf8_percent_encode(key.as_str(), NOT_IN_HEADER).to_string();
    headers.extend(HeaderValue::try_from(name).ok().map(|value| (KVS_KEY, value)));
    Shown { tag: entry.revision.to_string(), modified: Some(entry.last_modified()), headers, body: entry.value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str) -> Result<Vec<String>, Refusal> {
        keys(Question::new(Some(query))?).map(|keys| keys.iter().map(ToString::to_string).collect())
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
    fn what_names_no_key_is_refused() {
        let long = format!("k={}", "a".repeat(1025));
        let many = format!("k={}", "a,".repeat(1001));
        for bad in ["k=", "k", "k=,", "k=.", "k=a,..", "k=%00", "k=a%0a", "k=%zz", "k=%ff", "k=%C2%85", &long, &many] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_winner_is_named_in_ascii() {
        let entry = Entry {
            value: "v".into(),
            content_type: crate::model::ContentType::default(),
            revision: crate::model::Revision::new(72),
            created: crate::model::Time::default(),
            modified: None,
            expires: None,
        };
        let shown = shown(&Key::new(" ä%,b").unwrap(), entry);
        let name = shown.headers.iter().find(|(name, _)| *name == KVS_KEY).unwrap();
        assert_eq!(name.1, "%20%C3%A4%25,b");
        assert_eq!(shown.tag, "20");
    }
}
