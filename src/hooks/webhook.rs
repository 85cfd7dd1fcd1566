//! Sends events as signed JSON.
//!
//! The signature covers the time of sending and the body, so an attacker who records a request cannot send it again
//! later. `docs/hooks.md` says how a receiver checks it.

use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::Request;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http_body_util::Full;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::http_client::HookResponse;
use super::kind::HookKind;
use super::retry::DeliveryResult;
use super::settings::Secret;
use super::target::HookUrl;
use crate::https::KVS_USER_AGENT;
use crate::model::{Clock, Event};

const TIMESTAMP: HeaderName = HeaderName::from_static("kvs-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("kvs-signature");

/// The events for one URL.
pub(crate) struct Webhook {
    url: HookUrl,
    secret: Secret,
    clock: Arc<dyn Clock>,
}

/// An event in the body.
#[derive(Serialize)]
struct EventJson<'a> {
    id: String,
    event: String,
    bucket: &'a str,
    key: &'a str,
    revision: String,
    time: String,
}

impl Webhook {
    pub(crate) fn new(url: HookUrl, secret: Secret, clock: Arc<dyn Clock>) -> Self {
        Self { url, secret, clock }
    }
}

impl HookKind for Webhook {
    type Item = Event;

    const MAX_ITEMS_PER_REQUEST: usize = 100;

    const NAME: &'static str = "webhook";

    const ITEMS: &'static str = "webhook events";

    fn url(&self) -> &HookUrl {
        &self.url
    }

    fn request(&self, items: &[Event]) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = body(items);
        let now = self.clock.now().secs().to_string();
        Request::post(self.url.uri()?)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, KVS_USER_AGENT)
            .header(SIGNATURE, format!("sha256={}", signature(self.secret.bytes(), &now, &body)))
            .header(TIMESTAMP, now)
            .body(Full::from(body))
    }

    fn result(&self, response: &HookResponse) -> DeliveryResult {
        match response.status {
            200..=299 => DeliveryResult::Delivered,
            status => DeliveryResult::from_error_status(status, response.retry_after),
        }
    }
}

/// The events as a JSON array.
fn body(events: &[Event]) -> Vec<u8> {
    let items: Vec<EventJson<'_>> = events
        .iter()
        .map(|event| EventJson {
            id: id(event),
            event: event.kind.to_string(),
            bucket: event.bucket.as_str(),
            key: event.key.as_str(),
            revision: event.revision.to_string(),
            time: event.time().to_string(),
        })
        .collect();
    // Serializing strings cannot fail.
    serde_json::to_vec(&items).unwrap_or_default()
}

/// The id of an event: the same in every attempt, and different from that of any other event.
fn id(event: &Event) -> String {
    let mut hash = Sha256::new();
    for part in [event.bucket.as_str(), event.key.as_str(), &event.revision.to_string()] {
        hash.update(part.as_bytes());
        // Neither names nor revisions contain a newline.
        hash.update(b"\n");
    }
    format!("{:.32x}", hash.finalize())
}

/// HMAC-SHA256 (RFC 2104) over the timestamp, a dot and the body, in hex.
fn signature(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    // HMAC accepts keys of any length, so there is no error.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(secret) else { return String::new() };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("{:x}", mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bucket, ChangeKind, Key, Revision};

    fn event(key: &str, kind: ChangeKind) -> Event {
        let revision = Revision::new(1_795_305_600_500_000_000);
        Event { bucket: Bucket::default(), key: Key::new(key).unwrap(), kind, revision }
    }

    #[test]
    fn the_body_is_an_array_of_events() {
        let text = String::from_utf8(body(&[event("a\"/ä", ChangeKind::Set), event("b", ChangeKind::Touch)])).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let first = &whole[0];
        assert_eq!(first["event"], "set");
        assert_eq!(first["bucket"], "default");
        assert_eq!(first["key"], "a\"/ä");
        assert_eq!(first["revision"], Revision::new(1_795_305_600_500_000_000).to_string());
        assert_eq!(first["time"], "2026-11-22T00:00:00.5Z");
        // sha256 of "default\na\"/ä\nREVISION\n", the first half.
        assert_eq!(first["id"], "41b7251d245606017fa0920b1e2f9238");
        assert_eq!(whole[1]["event"], "touch");
        assert_ne!(first["id"], whole[1]["id"]);
    }

    #[test]
    fn signature_matches_openssl() {
        // echo -n '1700000000.[]' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "c91545d09b999c13267144ab89f40da36c784c2397a9684263e82122a502a910";
        assert_eq!(signature(b"0123456789abcdef", "1700000000", b"[]"), expected);
        assert_ne!(signature(b"0123456789abcdef", "1700000001", b"[]"), expected);
    }
}
