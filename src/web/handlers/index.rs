//! `GET /`: the index page for browsers, and one line of usage for programs.
//!
//! The page is one file with one style and one script. Its Content-Security-Policy allows exactly these two, by their
//! hashes. So even a value that got into the page as markup could not run.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY};
use sha2::{Digest, Sha256};

use crate::web::body::Response;
use crate::web::request::accept_header;
use crate::web::response::response;
use crate::web::response::response::Cache;

const HTML: &str = include_str!("assets/index.html");
const USAGE: &str =
    "kvs: GET /?k=KEY[,KEY...] reads the newest of these keys; POST / with key=value&auth=SECRET stores\n";

/// The index page with its Content-Security-Policy, which is computed at its first use.
#[derive(Default)]
pub(crate) struct IndexPage {
    policy: OnceLock<HeaderValue>,
}

impl IndexPage {
    fn policy(&self) -> HeaderValue {
        let nothing = HeaderValue::from_static("default-src 'none'");
        self.policy.get_or_init(|| HeaderValue::try_from(policy(HTML)).unwrap_or(nothing)).clone()
    }

    /// The response to `GET /`: HTML only if `Accept` lists it.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let vary = (VARY, HeaderValue::from_static("Accept"));
        if !accept_header::lists(headers, &["text/html"]) {
            return response::bytes(Bytes::from_static(USAGE.as_bytes()), Cache::Revalidate, [vary]);
        }
        let html = Bytes::from_static(HTML.as_bytes());
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, self.policy()),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            vary,
        ];
        response::bytes(html, Cache::Revalidate, headers)
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

/// The content of the only element with this name.
fn content<'a>(html: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_allows_the_style_and_the_script_by_hash() {
        // The hashes of "a" and of an empty text.
        let policy = policy("<style>a</style><body><script></script>");
        assert!(policy.contains("style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=';"), "{policy}");
        assert!(policy.contains("script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';"), "{policy}");
        assert!(super::policy("<p>").contains("script-src 'none'"));
    }

    #[test]
    fn page_has_one_style_and_one_script_and_loads_nothing() {
        for tag in ["style", "script"] {
            assert_eq!(HTML.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(content(HTML, tag).is_some(), "{tag}");
        }
        // Browsers replace CR LF by LF before they hash.
        assert!(!HTML.contains('\r'));
        for foreign in ["src=\"http", "href=\"http", "url(", "@import", " onclick=", " style=\""] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
    }
}
