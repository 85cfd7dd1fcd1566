//! A URL that hooks are sent to, checked. Its path may be a secret, so only scheme, host and port are ever shown.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::model::{Error, Kind};

/// An `http` or `https` URL with a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    path: String,
    query: Option<String>,
}

impl Target {
    /// Whether a certificate will be needed.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URL itself.
    pub(super) fn uri(&self) -> Result<Uri, http::Error> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        self.build(&format!("{}{query}", self.path))
    }

    /// An address below it.
    pub(super) fn join(&self, address: &str) -> Result<Uri, http::Error> {
        self.build(&format!("{}{address}", self.path.trim_end_matches('/')))
    }

    /// Whether nothing may stand behind its path.
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

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The text is not repeated: it may hold a secret.
        let bad =
            |why: &str| Error::new(Kind::Invalid, format!("{why}; write it as http://HOST:PORT/PATH or https://"));
        if text.contains('#') {
            return Err(bad("a URL of a hook has no #"));
        }
        let uri: Uri = text.parse().map_err(|_| bad("this is no URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| bad("a URL of a hook begins with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| bad("this URL names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a URL of a hook holds no user and no password"));
        }
        let (path, query) = parts
            .path_and_query
            .map_or((String::new(), None), |both| (both.path().to_owned(), both.query().map(ToOwned::to_owned)));
        Ok(Self { scheme, authority, path: if path.is_empty() { "/".to_owned() } else { path }, query })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_below_the_base() {
        for (base, expected) in [
            ("http://127.0.0.1:6081", "http://127.0.0.1:6081/kv/default/a?x"),
            ("http://cache/", "http://cache/kv/default/a?x"),
            ("https://cache.example/kvs/", "https://cache.example/kvs/kv/default/a?x"),
        ] {
            assert_eq!(base.parse::<Target>().unwrap().join("/kv/default/a?x").unwrap(), expected);
        }
        let hook: Target = "https://h.example/in?token=abc".parse().unwrap();
        assert_eq!(hook.uri().unwrap(), "https://h.example/in?token=abc");
        assert!("http://[::1]:6081".parse::<Target>().is_ok());
    }

    #[test]
    fn what_is_no_url_of_a_hook_is_refused_and_never_shown() {
        for bad in
            ["", "/hunter2", "hunter2", "ftp://hunter2", "http://me:hunter2@h/", "http:///hunter2", "http://h/#hunter2"]
        {
            let text = bad.parse::<Target>().unwrap_err().to_string();
            assert!(text.contains("http://HOST:PORT") && !text.contains("hunter2"), "{bad}: {text}");
        }
        let shown = format!("{:?}", "https://h.example:8443/hunter2?hunter2".parse::<Target>().unwrap());
        assert_eq!(shown, "https://h.example:8443");
    }
}
