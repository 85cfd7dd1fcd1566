//! Events as a signed JSON body.
//!
//! What is signed is the time of sending and the body, so that a request that somebody recorded cannot be sent again
//! later: `docs/hooks.md` says how to check it.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::Request;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http_body_util::Full;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::client::{AGENT, Answer};
use super::errand::Errand;
use super::retry::Verdict;
use super::settings::Secret;
use super::target::Target;
use crate::model::{Clock, Event};

const TIMESTAMP: HeaderName = HeaderName::from_static("kvs-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("kvs-signature");

/// A program that is told.
pub(super) struct Webhook {
    target: Target,
    secret: Secret,
    clock: Arc<dyn Clock>,
}

/// An event as it is told.
#[derive(Serialize)]
struct Told<'a> {
    id: String,
    event: String,
    bucket: &'a str,
    key: &'a str,
    revision: String,
    time: String,
}

impl Webhook {
    pub(super) fn new(target: Target, secret: Secret, clock: Arc<dyn Clock>) -> Self {
        Self { target, secret, clock }
    }
}

impl Errand for Webhook {
    type Item = Event;

    const MOST: usize = 100;

    const NAME: &'static str = "webhook";

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, items: &[Event]) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = body(items);
        let now = self.clock.now().secs().to_string();
        Request::post(self.target.uri()?)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(SIGNATURE, format!("sha256={}", signature(self.secret.bytes(), &now, &body)))
            .header(TIMESTAMP, now)
            .body(Full::from(body))
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        match answer.status {
            200..=299 => Verdict::Delivered,
            status => Verdict::of_failure(status, answer.retry_after),
        }
    }
}

/// The events as a JSON array.
fn body(events: &[Event]) -> Vec<u8> {
    let told: Vec<Told<'_>> = events
        .iter()
        .map(|event| Told {
            id: id(event),
            event: event.what.to_string(),
            bucket: event.bucket.as_str(),
            key: event.key.as_str(),
            revision: event.revision.to_string(),
            time: event.time().to_string(),
        })
        .collect();
    // Texts alone, which cannot fail.
    serde_json::to_vec(&told).unwrap_or_default()
}

/// The same for the same event, however often it is sent, and for no other.
fn id(event: &Event) -> String {
    let mut hash = Sha256::new();
    for part in [event.bucket.as_str(), event.key.as_str(), &event.revision.to_string()] {
        hash.update(part.as_bytes());
        // Neither names nor revisions hold one.
        hash.update(b"\n");
    }
    hex(hash.finalize().get(..16).unwrap_or_default())
}

/// HMAC-SHA256 (RFC 2104) over the timestamp, a dot and the body, in hex.
fn signature(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    // Keys of any length are taken, so there is no error.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(secret) else { return String::new() };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bucket, Key, Revision, What};

    fn event(key: &str, what: What) -> Event {
        let revision = Revision::new(1_795_305_600_500_000_000);
        Event { bucket: Bucket::default(), key: Key::new(key).unwrap(), what, revision }
    }

    #[test]
    fn events_are_an_array_of_objects() {
        let text = String::from_utf8(body(&[event("a\"/ä", What::Set), event("b", What::Touch)])).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let first = &whole[0];
        assert_eq!(first["event"], "set");
        assert_eq!(first["bucket"], "default");
        assert_eq!(first["key"], "a\"/ä");
        assert_eq!(first["revision"], Revision::new(1_795_305_600_500_000_000).to_string());
        assert_eq!(first["time"], "2026-11-22T00:00:00.5Z");
        assert_eq!(first["id"].as_str().unwrap().len(), 32);
        assert_eq!(whole[1]["event"], "touch");
        assert_ne!(first["id"], whole[1]["id"]);
    }

    #[test]
    fn signature_is_the_known_one() {
        // echo -n '1700000000.[]' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "c91545d09b999c13267144ab89f40da36c784c2397a9684263e82122a502a910";
        assert_eq!(signature(b"0123456789abcdef", "1700000000", b"[]"), expected);
        assert_ne!(signature(b"0123456789abcdef", "1700000001", b"[]"), expected);
    }
}
