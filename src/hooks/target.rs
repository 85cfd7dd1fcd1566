//! The URL of a hook, checked. Its path may be a secret, so only scheme, host and port are ever shown.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::model::{Error, ErrorKind};

/// An `http` or `https` URL with a host.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    scheme: Scheme,
    authority: Authority,
    path: String,
    query: Option<String>,
}

impl HookUrl {
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The whole URL.
    pub(crate) fn uri(&self) -> Result<Uri, http::Error> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        self.build(&format!("{}{query}", self.path))
    }

    /// The URL of an address (a path with its query) below this URL.
    pub(crate) fn join(&self, address: &str) -> Result<Uri, http::Error> {
        self.build(&format!("{}{address}", self.path.trim_end_matches('/')))
    }

    /// Whether the URL has a query. Then no address can be appended to its path.
    pub fn has_query(&self) -> bool {
        self.query.is_some()
    }

    fn build(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
    }
}

impl FromStr for HookUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The error does not repeat the text, which may contain a secret.
        let bad =
            |why: &str| Error::new(ErrorKind::Invalid, format!("{why}; write it as http://HOST:PORT/PATH or https://"));
        if text.contains('#') {
            return Err(bad("a hook URL must not contain a #"));
        }
        let uri: Uri = text.parse().map_err(|_| bad("invalid hook URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| bad("a hook URL must begin with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| bad("a hook URL must contain a host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a hook URL must not contain a user or a password"));
        }
        let (path, query) = parts
            .path_and_query
            .map_or((String::new(), None), |both| (both.path().to_owned(), both.query().map(ToOwned::to_owned)));
        Ok(Self { scheme, authority, path: if path.is_empty() { "/".to_owned() } else { path }, query })
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_appended_to_the_path_of_the_url() {
        for (base, expected) in [
            ("http://127.0.0.1:6081", "http://127.0.0.1:6081/kv/default/a?x"),
            ("http://cache/", "http://cache/kv/default/a?x"),
            ("https://cache.example/kvs/", "https://cache.example/kvs/kv/default/a?x"),
        ] {
            assert_eq!(base.parse::<HookUrl>().unwrap().join("/kv/default/a?x").unwrap(), expected);
        }
        let hook: HookUrl = "https://h.example/in?token=abc".parse().unwrap();
        assert_eq!(hook.uri().unwrap(), "https://h.example/in?token=abc");
        assert!("http://[::1]:6081".parse::<HookUrl>().is_ok());
    }

    #[test]
    fn invalid_urls_are_refused_without_showing_them() {
        for bad in
            ["", "/hunter2", "hunter2", "ftp://hunter2", "http://me:hunter2@h/", "http:///hunter2", "http://h/#hunter2"]
        {
            let text = bad.parse::<HookUrl>().unwrap_err().to_string();
            assert!(text.contains("http://HOST:PORT") && !text.contains("hunter2"), "{bad}: {text}");
        }
        let shown = format!("{:?}", "https://h.example:8443/hunter2?hunter2".parse::<HookUrl>().unwrap());
        assert_eq!(shown, "https://h.example:8443");
    }
}
