//! An address to listen on, as a person writes it. Nothing is opened here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::model::{Error, ErrorKind};

/// An address to listen on: `127.0.0.1:8080`, `localhost:8080`, `:8080` (all addresses), `[::1]:80`, `unix:/path`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A host (empty for all addresses) and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let expected = "expected HOST:PORT, :PORT, [IPV6]:PORT or unix:PATH";
            Error::new(ErrorKind::Invalid, format!("cannot listen at {text:?}: {expected}"))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // `u16` would accept a sign.
        let port = Some(port).filter(|p| p.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse().ok());
        let port = port.ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':')).ok_or_else(wrong)?,
            None if host.contains([':', '/', ' ']) => return Err(wrong()),
            None => host,
        };
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_forms_are_parsed_and_printed() {
        for (text, address) in [
            ("127.0.0.1:8080", Address::Tcp("127.0.0.1".into(), 8080)),
            (":8080", Address::Tcp(String::new(), 8080)),
            ("localhost:0", Address::Tcp("localhost".into(), 0)),
            ("[::1]:80", Address::Tcp("::1".into(), 80)),
            ("unix:/run/kvs.sock", Address::Unix("/run/kvs.sock".into())),
            ("unix:kvs.sock", Address::Unix("kvs.sock".into())),
        ] {
            let read: Address = text.parse().unwrap();
            assert_eq!(read, address);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn invalid_address_is_rejected_with_the_valid_forms() {
        for text in
            ["", "8080", "unix:", "host:", "host:x", "host:+80", "host:65536", "::1:80", "[::1]", "[h]:80", "a b:1"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("unix:PATH"), "{text}: {error}");
        }
    }
}
