//! Detects requests that a page of another site sent. Browsers send `Sec-Fetch-Site` (W3C Fetch Metadata; over https
//! and to localhost) and `Origin` (RFC 6454), and a page cannot change these headers. Other clients send neither.

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};

use crate::web::response::cors::Cors;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of another site sent the request, and CORS does not allow that site.
pub(crate) fn is_cross_site(headers: &HeaderMap, cors: &Cors) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        // `Host` is not compared, because a proxy may have changed it.
        Some(b"same-origin" | b"none") => false,
        Some(b"cross-site") if headers.contains_key(ORIGIN) => !origins.all(|origin| cors.allows(origin)),
        Some(b"cross-site") => *cors != Cors::Any,
        _ => !origins.all(|origin| is_own(origin, headers.get(HOST)) || cors.allows(origin)),
    }
}

/// Whether an origin is the host of the request. The scheme is ignored, because a server in front may terminate TLS.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let (Some(origin), Some(host)) = (text(origin), host.and_then(text)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| without_usual_port(authority) == without_usual_port(&host))
}

fn without_usual_port(authority: &str) -> &str {
    authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80")).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cross_site(cors: &Cors, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        is_cross_site(&headers, cors)
    }

    #[test]
    fn requests_without_these_headers_are_not_cross_site() {
        assert!(!cross_site(&Cors::Off, &[]));
        assert!(!cross_site(&Cors::Off, &[("host", "kvs.example")]));
    }

    #[test]
    fn origin_is_compared_with_host() {
        for (origin, host, own) in [
            ("https://kvs.example", "kvs.example", true),
            ("http://kvs.example", "KVS.example:443", true),
            ("https://kvs.example:443", "kvs.example:80", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[2001:db8::80]", "[2001:db8::80]", true),
            ("http://127.0.0.1:9", "127.0.0.1:8080", false),
            ("http://kvs.example:8080", "kvs.example", false),
            ("https://www.kvs.example", "kvs.example", false),
            ("https://kvs.example.evil", "kvs.example", false),
            ("https://evil/kvs.example", "kvs.example", false),
            ("null", "null", false),
            ("", "", false),
            ("kvs.example", "kvs.example", false),
        ] {
            assert_eq!(!cross_site(&Cors::Off, &[("origin", origin), ("host", host)]), own, "{origin} {host}");
        }
        assert!(cross_site(&Cors::Off, &[("origin", "http://a")]), "HTTP/1.0 without a host");
        assert!(cross_site(&Cors::Off, &[("origin", "http://a"), ("origin", "http://b"), ("host", "a")]));
    }

    #[test]
    fn sec_fetch_site_takes_precedence_over_origin() {
        let (own, other) = (("origin", "http://a"), ("origin", "http://b"));
        for (site, origin, expected) in [
            ("same-origin", other, false),
            ("same-origin", ("origin", "null"), false),
            ("none", other, false),
            ("cross-site", own, true),
            ("cross-site", other, true),
            ("same-site", own, false),
            ("same-site", other, true),
            ("nonsense", other, true),
        ] {
            assert_eq!(cross_site(&Cors::Off, &[("sec-fetch-site", site), origin, ("host", "a")]), expected, "{site}");
        }
        assert!(cross_site(&Cors::Off, &[("sec-fetch-site", "cross-site"), ("host", "a")]));
    }

    #[test]
    fn origins_that_cors_allows_are_not_cross_site() {
        let cors = Cors::Of(vec!["https://app.example".parse().unwrap()]);
        let (site, app) = (("sec-fetch-site", "cross-site"), ("origin", "https://app.example"));
        assert!(!cross_site(&cors, &[site, app, ("host", "a")]));
        assert!(!cross_site(&cors, &[app, ("host", "a")]));
        assert!(cross_site(&cors, &[site, ("host", "a")]));
        assert!(cross_site(&cors, &[site, ("origin", "null"), ("host", "a")]));
        assert!(cross_site(&cors, &[app, ("origin", "https://b"), ("host", "a")]));
        for origin in ["null", "https://b"] {
            assert!(!cross_site(&Cors::Any, &[site, ("origin", origin), ("host", "a")]));
        }
        assert!(!cross_site(&Cors::Any, &[site, ("host", "a")]));
    }
}
