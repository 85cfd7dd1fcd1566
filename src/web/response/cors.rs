//! CORS: which pages of other origins may read responses in a browser (Fetch standard, section 3.2).
//!
//! Off by default. Never with credentials, because the page sends the secret, not the browser. A preflight gets the
//! usual response to `OPTIONS`, with the methods of its path. Existing CORS layers respond before routing, with one
//! list of methods for all paths, and treat every `OPTIONS` as a preflight.

use std::str::FromStr;

use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderValue, ORIGIN,
};
use http::request::Parts;

use super::response;
use crate::model::{Error, ErrorKind, Result};
use crate::web::body::Response;

/// The response headers that a page may read.
const EXPOSED_HEADERS: &str = "ETag, Last-Modified, Allow, Retry-After, Accept-Ranges, Content-Range, \
                               Content-Digest, Repr-Digest, KVS-Key, KVS-Cursor, KVS-Revision, KVS-First, \
                               KVS-Next, KVS-End, X-Request-Id";
/// The request headers that a page may send.
const ALLOWED_HEADERS: &str = "Content-Type, Authorization, X-KVS-Auth, If-Match, X-If-Match, If-None-Match, \
                               If-Modified-Since, If-Unmodified-Since, Last-Event-ID, Prefer, Range, \
                               If-Range, Content-Digest, Repr-Digest, Want-Content-Digest, X-HTTP-Method-Override, \
                               X-Request-Id";
/// How many seconds a browser may keep the result of a preflight.
const MAX_AGE: &str = "3600";

/// The origin of a page, as browsers send it: `https://app.example`, `http://localhost:3000`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let value = is_origin(text).then(|| HeaderValue::from_str(text).ok()).flatten();
        value.map(Self).ok_or_else(|| {
            let form = "write it as browsers send it, such as https://app.example or http://localhost:3000: \
                        in lower case, without a path and without the default port";
            Error::new(ErrorKind::Invalid, format!("bad origin {text:?}: {form}"))
        })
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_lower_or_digit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_scheme = scheme.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && scheme.bytes().all(|b| is_lower_or_digit(b) || b"+-.".contains(&b));
    let (host, port) = match authority.rsplit_once(':') {
        // Colons in brackets are part of an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            address.parse::<std::net::Ipv6Addr>().is_ok() && !address.bytes().any(|b| b.is_ascii_uppercase())
        }
        None => !host.is_empty() && host.bytes().all(|b| is_lower_or_digit(b) || b"-._".contains(&b)),
    };
    let is_port = port.is_none_or(|port| {
        let is_default = matches!((scheme, port), ("https", "443") | ("http", "80"));
        !is_default && !port.starts_with('0') && !port.starts_with('+') && port.parse::<u16>().is_ok()
    });
    is_scheme && is_host && is_port
}

/// The origins whose pages may read responses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Cors {
    /// Only the origin of kvs itself.
    #[default]
    Off,
    /// All origins.
    Any,
    /// These origins.
    Of(Vec<Origin>),
}

/// The parts of a request that CORS needs.
pub(crate) struct CorsRequest {
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl CorsRequest {
    pub(crate) fn new(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let is_preflight = parts.method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin: headers.get(ORIGIN).cloned(), is_preflight }
    }
}

impl Cors {
    /// Whether pages of this origin may read responses.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Of(origins) => origins.iter().any(|allowed| allowed.0 == *origin),
        }
    }

    /// Adds the CORS headers to a response, also to an error, if the origin of the request is allowed.
    pub(crate) fn add_headers(&self, request: CorsRequest, response: &mut Response) {
        let allowed = match self {
            Self::Off => return,
            // Also without an `Origin`, so that caches can use one response for all clients.
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Of(_) => {
                response::vary(response, "Origin");
                request.origin.filter(|origin| self.allows(origin))
            }
        };
        let Some(allowed) = allowed else { return };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        if !request.is_preflight {
            return;
        }
        if let Some(methods) = headers.get(ALLOW).cloned() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_as_browsers_send_them_are_valid() {
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "http://192.168.1.10:8080",
            "http://[::1]:8080",
            "http://[fe80::1]",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
            "https://a:80",
        ] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
            "https://App.example",
            "HTTPS://app.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://app.example:99999",
            "https://app.example:08",
            "https://app.example:+8",
            "https://me@app.example",
            "https://app.example?x",
            "https://*.example",
            "https://[::1",
            "https://[::g]",
            "https://a b",
            "https://a\r\nb",
            "1https://a",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }
}
