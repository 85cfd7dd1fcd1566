//! `GET /`: the index page for people, one line of usage for programs.
//!
//! The page is one file with one style and one script in it. The policy that goes with it allows exactly those two, by
//! their hashes, so a value that got into the page as markup could still do nothing.

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY};
use sha2::{Digest, Sha256};

use super::accept;
use super::reply::{self, Cache};

const HTML: &str = include_str!("index.html");
const USAGE: &str =
    "kvs: GET /?k=KEY[,KEY...] reads the newest of these keys; POST / with key=value&auth=SECRET stores\n";

/// The index page and its policy.
pub(crate) struct IndexPage {
    policy: HeaderValue,
}

impl IndexPage {
    pub(crate) fn new() -> Self {
        let policy = policy(HTML);
        Self {
            policy: HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
        }
    }

    /// Answers `GET /`: HTML only to who lists it.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let vary = (VARY, HeaderValue::from_static("Accept"));
        if !accept::lists(headers, &["text/html"]) {
            return reply::bytes(Bytes::from_static(USAGE.as_bytes()), Cache::Revalidate, [vary]);
        }
        let html = Bytes::from_static(HTML.as_bytes());
        let what = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            vary,
        ];
        reply::bytes(html, Cache::Revalidate, what)
    }
}

fn policy(html: &str) -> String {
    let source = |tag: &str| match content(html, tag) {
        Some(text) => format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text))),
        None => "'none'".to_owned(),
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; form-action 'self'; img-src data:; \
         base-uri 'none'; frame-ancestors 'none'",
        source("script"),
        source("style")
    )
}

/// What stands between the start and the end of the one element of that name.
fn content<'a>(html: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_what_is_in_the_page() {
        // The hashes of "a" and of nothing.
        let policy = policy("<style>a</style><body><script></script>");
        assert!(policy.contains("style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=';"), "{policy}");
        assert!(policy.contains("script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';"), "{policy}");
        assert!(super::policy("<p>").contains("script-src 'none'"));
    }

    #[test]
    fn the_page_has_one_style_and_one_script_and_nothing_foreign() {
        for tag in ["style", "script"] {
            assert_eq!(HTML.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(content(HTML, tag).is_some(), "{tag}");
        }
        // A browser hashes what it has read, and it reads CR LF as LF.
        assert!(!HTML.contains('\r'));
        for foreign in ["src=\"http", "href=\"http", "url(", "@import", " onclick=", " style=\""] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
    }
}
