//! CORS: which pages of other origins a browser lets read our answers (the Fetch standard, section 3.2).
//!
//! Off unless it is set. Never with credentials: a secret is sent by the page, not by the browser. A preflight is an
//! `OPTIONS` that was answered anyway, with the methods that its path knows; ready-made layers answer it before the path
//! is looked at, with one list for all, and take every `OPTIONS` for a preflight.

use std::str::FromStr;

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderValue, ORIGIN,
};
use http::{HeaderMap, Method};

use super::reply;
use crate::model::{Error, Kind, Result};

/// What a page may read of an answer beside its body.
const EXPOSED: &str = "ETag, Last-Modified, Allow, Retry-After, KVS-Key, KVS-Cursor";
/// What a page may send.
const TAKEN: &str = "Content-Type, Authorization, X-KVS-Auth, If-Match, X-If-Match, If-None-Match, If-Modified-Since, \
                     If-Unmodified-Since, Prefer, X-HTTP-Method-Override";
/// For how many seconds a browser need not ask again what it may send.
const MAX_AGE: &str = "3600";

/// The origin of a page, as browsers send it: `https://app.example`, `http://localhost:3000`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let value = is_origin(text).then(|| HeaderValue::from_str(text).ok()).flatten();
        value.map(Self).ok_or_else(|| {
            let form = "write it as browsers send it, https://app.example or http://localhost:3000: in small letters, \
                        without a path, and without a port that goes without saying";
            Error::new(Kind::Invalid, format!("bad origin {text:?}: {form}"))
        })
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_scheme = scheme.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && scheme.bytes().all(|b| small(b) || b"+-.".contains(&b));
    let (host, port) = match authority.rsplit_once(':') {
        // Colons within brackets part the groups of an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            address.parse::<std::net::Ipv6Addr>().is_ok() && !address.bytes().any(|b| b.is_ascii_uppercase())
        }
        None => !host.is_empty() && host.bytes().all(|b| small(b) || b"-._".contains(&b)),
    };
    let is_port = port.is_none_or(|port| {
        let said = matches!((scheme, port), ("https", "443") | ("http", "80"));
        !said && !port.starts_with('0') && !port.starts_with('+') && port.parse::<u16>().is_ok()
    });
    is_scheme && is_host && is_port
}

/// Whose pages may read our answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Cors {
    /// Our own only.
    #[default]
    Off,
    /// All.
    Any,
    /// Those of these origins.
    Of(Vec<Origin>),
}

/// What a request says of where it comes from.
pub(crate) struct From {
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl From {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let is_preflight = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin: headers.get(ORIGIN).cloned(), is_preflight }
    }
}

impl Cors {
    /// Whether pages of this origin may read our answers.
    pub(crate) fn allows(&self, given: &HeaderValue) -> bool {
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Of(origins) => origins.iter().any(|origin| origin.0 == *given),
        }
    }

    /// Opens an answer, whatever it is, to the page that asked, if that is one of those.
    pub(crate) fn open(&self, from: From, response: &mut Response) {
        let allowed = match self {
            Self::Off => return,
            // Also to who names no origin: then caches need not tell apart who asks.
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Of(_) => {
                reply::vary(response, "Origin");
                from.origin.filter(|given| self.allows(given))
            }
        };
        let Some(allowed) = allowed else { return };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        if !from.is_preflight {
            return;
        }
        if let Some(methods) = headers.get(ALLOW).cloned() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(TAKEN));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
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
