//! The address of the client behind a proxy, over plain HTTP: from `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! Any client can send these headers, so only the parts from trusted proxies are believed. The headers are read from
//! the end, where the nearest proxy adds its part, up to the first address that is not trusted. If a part cannot be
//! parsed, or if the two headers disagree, neither is believed: a proxy that writes one of them may pass on the other
//! one as the client sent it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::header::{FORWARDED, HeaderMap, HeaderName};

use crate::model::{Error, ErrorKind};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A proxy, or a network of proxies, that is trusted to report the addresses of its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proxy {
    /// All peers that connect over a Unix socket.
    Unix,
    /// The peers with an address in this network. The number is the length of the prefix in bits.
    Network(IpAddr, u32),
}

impl FromStr for Proxy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::new(ErrorKind::Invalid, format!("bad proxy {text:?}: {why}"));
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let form = "expected an address (192.0.2.1), a network (10.0.0.0/8, fd00::/8) or unix";
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad(form))?;
        let width = address_bits(address);
        let bits = match bits {
            None => width,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(|| bad("the prefix is too long"))?
            }
            Some(_) => return Err(bad(form)),
        };
        if bits < width && number(address) << (128 - width + bits) != 0 {
            return Err(bad("the address has bits that are set after the prefix"));
        }
        Ok(Self::Network(address, bits))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Network(address, bits) if *bits == address_bits(*address) => write!(f, "{address}"),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

impl Proxy {
    fn contains(self, peer: Option<IpAddr>) -> bool {
        match (self, peer.map(|peer| peer.to_canonical())) {
            (Self::Unix, None) => true,
            (Self::Network(network, bits), Some(peer)) => {
                let width = address_bits(network);
                let differing = number(network) ^ number(peer);
                width == address_bits(peer) && (bits == 0 || differing >> (width - bits) == 0)
            }
            _ => false,
        }
    }
}

fn address_bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether this peer is one of the proxies.
pub(crate) fn is_trusted(proxies: &[Proxy], peer: Option<IpAddr>) -> bool {
    proxies.iter().any(|proxy| proxy.contains(peer))
}

/// The address of the client: the one that the trusted proxies report, else that of the peer.
pub(crate) fn client(proxies: &[Proxy], peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    if !is_trusted(proxies, peer) {
        return peer;
    }
    let client_in = |name: HeaderName, parse: fn(&str) -> Option<IpAddr>| {
        headers.contains_key(&name).then(|| {
            let mut last = None;
            for element in elements(headers, &name)?.iter().rev() {
                last = Some(parse(element)?);
                if !is_trusted(proxies, last) {
                    break;
                }
            }
            last
        })
    };
    let found = match (client_in(FORWARDED, forwarded_for), client_in(X_FORWARDED_FOR, node)) {
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) | (None, None) => None,
        (Some(one), None) | (None, Some(one)) => one,
    };
    found.or(peer)
}

/// The elements of a list header, over all its lines; `None` if a line is not text.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut all = vec![];
    for line in headers.get_all(name) {
        all.extend(split_unquoted(line.to_str().ok()?, ','));
    }
    Some(all)
}

/// The parts of a text between separators outside of quotes, without spaces around them and without empty parts.
fn split_unquoted(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part) = (vec![], String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == separator && !quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        part.push(c);
    }
    parts.push(part);
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The address in an element of `Forwarded`: `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = split_unquoted(element, ';').into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().to_owned())
    });
    let value = found.next()?;
    if found.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(rest) => node(&rest.strip_suffix('"')?.replace('\\', "")),
        None => node(&value),
    }
}

/// An address, optionally with a port: `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let is_port =
        |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let address: IpAddr = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        IpAddr::V6(address.parse().ok()?)
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_seen(peer: &str, header_lines: &[(&'static str, &str)]) -> String {
        let proxies = ["10.0.0.0/8", "::1", "fd00::/8", "unix"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in header_lines {
            headers.append(*name, value.parse().unwrap());
        }
        let peer = (peer != "unix").then(|| peer.parse().unwrap());
        client(&proxies, peer, &headers).map_or("unix".to_owned(), |address| address.to_string())
    }

    #[test]
    fn only_addresses_from_trusted_proxies_are_believed() {
        for (peer, value, client) in [
            ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("::1", "192.0.2.1", "192.0.2.1"),
            ("unix", "192.0.2.1", "192.0.2.1"),
            ("11.0.0.1", "192.0.2.1", "11.0.0.1"),
            ("::2", "192.0.2.1", "::2"),
            // A client cannot hide its address by sending the header itself.
            ("10.0.0.1", "1.1.1.1, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "1.1.1.1, 192.0.2.1, 10.9.9.9, fd00::7", "192.0.2.1"),
            ("10.0.0.1", "garbage, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.1, unknown, 10.0.0.2", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("unix", "", "unix"),
            ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
            ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "::ffff:192.0.2.1 ,", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.1:", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.256", "10.0.0.1"),
            ("10.0.0.1", "[::1", "10.0.0.1"),
        ] {
            assert_eq!(client_seen(peer, &[("x-forwarded-for", value)]), client, "{peer} {value}");
        }
        assert_eq!(client_seen("10.0.0.1", &[]), "10.0.0.1");
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client_seen("10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn forwarded_is_parsed_with_quotes_and_pairs() {
        for (value, client) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\";proto=http;by=203.0.113.43", "2001:db8::1"),
            ("by=\"a,b;for=9.9.9.9\"; for = 192.0.2.1 ;proto=https", "192.0.2.1"),
            ("for=1.1.1.1, for=\"192.0.2.1:_x\"", "192.0.2.1"),
            ("for=1.1.1.1;by=\"a\\\"b,\", for=192.0.2.1, for=10.2.3.4", "192.0.2.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=\"192.0.2.1", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ] {
            assert_eq!(client_seen("10.0.0.1", &[("forwarded", value)]), client, "{value}");
        }
    }

    #[test]
    fn headers_that_disagree_are_not_believed() {
        let both = |one, other| client_seen("10.0.0.1", &[("forwarded", one), ("x-forwarded-for", other)]);
        assert_eq!(both("for=192.0.2.1", "9.9.9.9, 192.0.2.1"), "192.0.2.1");
        assert_eq!(both("for=9.9.9.9", "192.0.2.1"), "10.0.0.1");
        assert_eq!(both("for=192.0.2.1", "unknown"), "10.0.0.1");
        assert_eq!(both("nonsense", "192.0.2.1"), "10.0.0.1");
    }

    #[test]
    fn proxies_are_addresses_networks_or_unix() {
        for good in ["192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8", "::/0", "unix", "10.1.2.3/32"] {
            let proxy: Proxy = good.parse().unwrap();
            assert_eq!(proxy.to_string(), good.trim_end_matches("/32"));
        }
        let all: Proxy = "::/0".parse().unwrap();
        assert!(all.contains(Some("2001:db8::1".parse().unwrap())) && !all.contains(Some("1.1.1.1".parse().unwrap())));
        for bad in
            ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "fd00::1/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "*"]
        {
            let error = bad.parse::<Proxy>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
