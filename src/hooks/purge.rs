//! Sends `PURGE` for the addresses of a changed key, for Varnish, nginx with a purge module, and Squid.

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Method, Request};
use http_body_util::Full;

use super::http_client::HookResponse;
use super::kind::HookKind;
use super::retry::DeliveryResult;
use super::target::HookUrl;
use crate::https::KVS_USER_AGENT;

/// The purges of one cache.
pub(crate) struct Purge {
    url: HookUrl,
}

impl Purge {
    pub(crate) fn new(url: HookUrl) -> Self {
        Self { url }
    }
}

impl HookKind for Purge {
    /// The path and query of an address.
    type Item = String;

    const MAX_ITEMS_PER_REQUEST: usize = 1;

    const NAME: &'static str = "purge";

    const ITEMS: &'static str = "purge requests";

    fn url(&self) -> &HookUrl {
        &self.url
    }

    fn request(&self, items: &[String]) -> Result<Request<Full<Bytes>>, http::Error> {
        let address = items.first().map_or("/", String::as_str);
        let method = Method::from_bytes(b"PURGE")?;
        Request::builder()
            .method(method)
            .uri(self.url.join(address)?)
            .header(USER_AGENT, KVS_USER_AGENT)
            .body(Full::default())
    }

    /// Caches respond differently to the purge of something that they do not have: 404, 410, or 412 (the purge module
    /// of nginx).
    fn result(&self, response: &HookResponse) -> DeliveryResult {
        match response.status {
            200..=299 | 404 | 410 | 412 => DeliveryResult::Delivered,
            status @ (403 | 405 | 501) => DeliveryResult::GiveUp {
                why: format!(
                    "the cache responded with status {status}: it does not accept PURGE, or not from this machine; see \
                     deploy/varnish"
                ),
            },
            status => DeliveryResult::from_error_status(status, response.retry_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_contains_the_encoded_address_unchanged() {
        let purge = Purge::new("http://cache:6081/base".parse().unwrap());
        let request = purge.request(&["/?k=%C3%A4%20b".to_owned()]).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("PURGE", "http://cache:6081/base/?k=%C3%A4%20b")
        );
    }

    #[test]
    fn an_address_that_is_not_cached_counts_as_purged() {
        let purge = Purge::new("http://cache".parse().unwrap());
        let result = |status| purge.result(&HookResponse { status, retry_after: None });
        for status in [200, 204, 404, 410, 412] {
            assert_eq!(result(status), DeliveryResult::Delivered, "{status}");
        }
        for status in [301, 400, 401, 403, 405, 501] {
            assert!(matches!(result(status), DeliveryResult::GiveUp { .. }), "{status}");
        }
        for status in [429, 500, 503] {
            assert!(matches!(result(status), DeliveryResult::RetryLater { .. }), "{status}");
        }
    }
}
