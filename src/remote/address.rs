//! The address of a server: `https://HOST[:PORT]/PATH/`, without a secret.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{Error, ErrorKind, Result};

/// The bytes that stay as they are in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The address of a kvs server.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Ends with a slash.
    text: String,
    is_https: bool,
    is_loopback: bool,
}

impl RemoteAddress {
    /// Whether requests are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether somebody else on the network could read the requests.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.is_https && !self.is_loopback
    }

    /// The URL of a path below the address, with a query.
    pub(super) fn url(&self, path: &str, query: &[(&str, String)]) -> Result<Uri> {
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{}", self.text, encoded(query));
        url.parse().map_err(|error| Error::new(ErrorKind::Invalid, format!("{self}: no URL is possible: {error}")))
    }
}

/// Parameters as a query or a form has them.
pub(super) fn encoded(parameters: &[(&str, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
    pairs.collect::<Vec<_>>().join("&")
}

impl FromStr for RemoteAddress {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] if the text is no URL of a server, or has a user name, a query or a fragment. The text is
    /// not repeated, because it may hold a secret.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(ErrorKind::Invalid, format!("the address of the server {why}"));
        let form = "must be like https://example.org/kvs/";
        if text.contains('@') {
            let why = "must not hold a secret; use KVS_SECRET or --secret-file (in the library: RemoteOptions)";
            return Err(invalid(why));
        }
        if text.contains(['?', '#']) {
            return Err(invalid("must have no query and no fragment; write only https://example.org/kvs/"));
        }
        let url: Uri = text.parse().map_err(|_| invalid(form))?;
        let is_https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid(form)),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid(form))?;
        let bare = host.trim_matches(['[', ']']);
        let is_loopback = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let end = if text.ends_with('/') { "" } else { "/" };
        Ok(Self { text: format!("{text}{end}"), is_https, is_loopback })
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_with_a_slash() {
        let of = |text: &str| text.parse::<RemoteAddress>().unwrap();
        assert_eq!(of("https://example.org").to_string(), "https://example.org/");
        let below = of("https://example.org:8443/a/kvs");
        assert_eq!(below.to_string(), "https://example.org:8443/a/kvs/");
        let url = below.url("kv/default", &[("key", "a/b c&ä".to_owned()), ("wait", "1".to_owned())]).unwrap();
        assert_eq!(url, "https://example.org:8443/a/kvs/kv/default?key=a%2Fb%20c%26%C3%A4&wait=1");
    }

    #[test]
    fn only_unencrypted_requests_to_another_machine_are_exposed() {
        let is_exposed = |text: &str| text.parse::<RemoteAddress>().unwrap().is_exposed();
        assert!(is_exposed("http://example.org/") && is_exposed("http://10.0.0.1"));
        for safe in ["https://example.org", "http://localhost:8080", "http://127.0.0.1:1/", "http://[::1]:1/"] {
            assert!(!is_exposed(safe), "{safe}");
        }
    }

    #[test]
    fn errors_do_not_repeat_a_secret() {
        for bad in ["https://me:hunter2@host/", "https://host/?auth=hunter2", "https://", "ftp://hunter2/", "x"] {
            let error = bad.parse::<RemoteAddress>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
