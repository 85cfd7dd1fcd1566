//! `PURGE` of the addresses of a changed key, as Varnish, nginx with a purge module, and Squid take it.

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Method, Request};
use http_body_util::Full;

use super::client::{AGENT, Answer};
use super::errand::Errand;
use super::retry::Verdict;
use super::target::Target;

/// A cache.
pub(super) struct Purge {
    target: Target,
}

impl Purge {
    pub(super) fn new(target: Target) -> Self {
        Self { target }
    }
}

impl Errand for Purge {
    type Item = String;

    const MOST: usize = 1;

    const NAME: &'static str = "purge";

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, items: &[String]) -> Result<Request<Full<Bytes>>, http::Error> {
        let address = items.first().map_or("/", String::as_str);
        let method = Method::from_bytes(b"PURGE")?;
        Request::builder()
            .method(method)
            .uri(self.target.join(address)?)
            .header(USER_AGENT, AGENT)
            .body(Full::default())
    }

    /// Caches differ in what they say of something that they do not hold: 404, 410, or 412 (the purge module of nginx).
    fn judge(&self, answer: &Answer) -> Verdict {
        match answer.status {
            200..=299 | 404 | 410 | 412 => Verdict::Delivered,
            status @ (403 | 405 | 501) => Verdict::Never {
                why: format!("it answered {status}: it takes no PURGE, or not from this machine; see deploy/varnish"),
            },
            status => Verdict::of_failure(status, answer.retry_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_in_the_request_as_it_is() {
        let purge = Purge::new("http://cache:6081/base".parse().unwrap());
        let request = purge.request(&["/?k=%C3%A4%20b".to_owned()]).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("PURGE", "http://cache:6081/base/?k=%C3%A4%20b")
        );
    }

    #[test]
    fn what_is_not_cached_is_purged() {
        let purge = Purge::new("http://cache".parse().unwrap());
        let judge = |status| purge.judge(&Answer { status, retry_after: None });
        for status in [200, 204, 404, 410, 412] {
            assert_eq!(judge(status), Verdict::Delivered, "{status}");
        }
        for status in [301, 400, 401, 403, 405, 501] {
            assert!(matches!(judge(status), Verdict::Never { .. }), "{status}");
        }
        for status in [429, 500, 503] {
            assert!(matches!(judge(status), Verdict::Later { .. }), "{status}");
        }
    }
}
