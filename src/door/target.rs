//! The target of a request: the bytes of a request line, or of `REQUEST_URI`, to a path and query. All doors read it
//! here, so that an address means the same through each of them.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::refusal::Refusal;

/// What a raw target may not carry although some clients send it; everything already escaped stays.
const TARGET: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// The longest target, once escaped: no [`Uri`] holds more.
pub(super) const LONGEST: usize = u16::MAX as usize - 1;

/// The path and query of a raw target. Bytes that a URI cannot carry are escaped, which says the same. One with a `#` is
/// refused (RFC 9112, section 3.2): what follows would be dropped, and another key answered than was asked for.
pub(super) fn normal(target: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    if target.contains(&b'#') {
        return Err(Refusal::BadTarget);
    }
    let text = match path_and_query(target) {
        Cow::Borrowed(target) => Cow::from(percent_encode(target, TARGET)),
        Cow::Owned(target) => percent_encode(&target, TARGET).to_string().into(),
    };
    if text.len() > LONGEST { Err(Refusal::LongTarget) } else { Ok(text) }
}

/// A path and query as a URI. Nothing stands for the root.
pub(super) fn uri(text: &str) -> Result<Uri, Refusal> {
    let text = if text.starts_with('/') || text == "*" { Cow::from(text) } else { format!("/{text}").into() };
    // Only a path and a query: `//x` must never be taken for a host.
    PathAndQuery::try_from(text.as_ref()).map(Uri::from).map_err(|_| Refusal::BadTarget)
}

/// Absolute form loses scheme and host.
fn path_and_query(target: &[u8]) -> Cow<'_, [u8]> {
    if target.first() == Some(&b'/') || target == b"*" {
        return Cow::Borrowed(target);
    }
    let Some(authority) = authority(target) else { return Cow::Owned([b"/", target].concat()) };
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(authority.len());
    let rest = authority.get(end..).unwrap_or_default();
    if rest.first() == Some(&b'/') { Cow::Borrowed(rest) } else { Cow::Owned([b"/", rest].concat()) }
}

/// What follows the scheme of a target in absolute form.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    target.get(scheme..).filter(|_| scheme > 0).and_then(|rest| rest.strip_prefix(b"://"))
}

/// Whether a client may send this in a request line: a path, a URL or `*`, and none of the bytes that end a line or a word.
pub(super) fn is_sendable(target: &[u8]) -> bool {
    let form = target.first() == Some(&b'/') || target == b"*" || authority(target).is_some();
    form && target.iter().all(|b| *b > b' ' && *b != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_a_path_when_absolute_or_with_two_slashes() {
        for (given, path) in [
            ("/x?y", "/x?y"),
            ("//x", "//x"),
            ("//x://y", "//x://y"),
            ("http://host/x?y", "/x?y"),
            ("http://host:80", "/"),
            ("https://host?k=a/b", "/?k=a/b"),
            ("*", "*"),
            ("x", "/x"),
            ("://x", "/://x"),
            ("?k=http://a/b", "/?k=http://a/b"),
        ] {
            assert_eq!(normal(given.as_bytes()).unwrap(), path, "{given}");
        }
    }

    #[test]
    fn bytes_are_escaped_when_a_uri_cannot_carry_them() {
        for byte in 0x21..=0xff_u8 {
            for target in [[b"/a", &[byte][..]].concat(), [b"/?k=", &[byte][..]].concat()] {
                let text = match normal(&target) {
                    Err(refusal) => {
                        assert_eq!((byte, refusal), (b'#', Refusal::BadTarget));
                        continue;
                    }
                    Ok(text) => text.into_owned(),
                };
                assert_eq!(percent_encoding::percent_decode_str(&text).collect::<Vec<_>>(), target);
                assert_eq!(uri(&text).unwrap().to_string(), text);
            }
        }
        assert!(matches!(normal(b"/%zz%2541^\\{}|"), Ok(Cow::Borrowed(_))), "the rest stays as it is");
    }

    #[test]
    fn target_is_refused_when_longer_than_a_uri_also_once_escaped() {
        let long = |byte: u8, count| [b"/".to_vec(), vec![byte; count]].concat();
        assert!(uri(&normal(&long(b'x', LONGEST - 1)).unwrap()).is_ok());
        assert_eq!(normal(&long(b'x', LONGEST)), Err(Refusal::LongTarget));
        assert_eq!(normal(&long(b'"', LONGEST / 2)), Err(Refusal::LongTarget));
    }

    #[test]
    fn target_is_sent_by_clients_when_it_is_a_path_a_url_or_a_star() {
        for target in ["/", "//x", "*", "http://h/x", "/\"\u{e4}<"] {
            assert!(is_sendable(target.as_bytes()), "{target}");
        }
        for target in ["", "x", "host:80", "?k=a", "**", "/a b", "/a\tb", "/a\u{7f}", "/a\0", "://x"] {
            assert!(!is_sendable(target.as_bytes()), "{target}");
        }
    }
}
