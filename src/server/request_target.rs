//! The target of a request: the bytes of a request line or of `REQUEST_URI` as a path and query.
//!
//! All servers parse it here, so that an address means the same over every protocol.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::error_response::TransportError;

/// Bytes that some clients send although a URI cannot contain them. Existing escapes stay.
const TARGET_ESCAPES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// The longest target after escaping, in bytes. A [`Uri`] cannot hold more.
pub(crate) const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;

/// The path and query of a raw target. Bytes that a URI cannot contain are escaped, which does not change the meaning.
/// A target with a `#` is rejected (RFC 9112, section 3.2): the text after it would be dropped, and the response would
/// be for another key.
pub(crate) fn normalize(target: &[u8]) -> Result<Cow<'_, str>, TransportError> {
    if target.contains(&b'#') {
        return Err(TransportError::BadTarget);
    }
    let text = match path_and_query(target) {
        Cow::Borrowed(target) => Cow::from(percent_encode(target, TARGET_ESCAPES)),
        Cow::Owned(target) => percent_encode(&target, TARGET_ESCAPES).to_string().into(),
    };
    if text.len() > MAX_TARGET_BYTES { Err(TransportError::TargetTooLong) } else { Ok(text) }
}

/// A path and query as a URI. Empty text is the root.
pub(crate) fn uri(text: &str) -> Result<Uri, TransportError> {
    let text = if text.starts_with('/') || text == "*" { Cow::from(text) } else { format!("/{text}").into() };
    // Parsed only as a path and query: `//x` must not be taken for a host.
    PathAndQuery::try_from(text.as_ref()).map(Uri::from).map_err(|_| TransportError::BadTarget)
}

/// Removes scheme and host from the absolute form.
fn path_and_query(target: &[u8]) -> Cow<'_, [u8]> {
    if target.first() == Some(&b'/') || target == b"*" {
        return Cow::Borrowed(target);
    }
    let Some(authority) = authority(target) else { return Cow::Owned([b"/", target].concat()) };
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(authority.len());
    let rest = authority.get(end..).unwrap_or_default();
    if rest.first() == Some(&b'/') { Cow::Borrowed(rest) } else { Cow::Owned([b"/", rest].concat()) }
}

/// The text after the `://` of a target in absolute form.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    target.get(scheme..).filter(|_| scheme > 0).and_then(|rest| rest.strip_prefix(b"://"))
}

/// Whether a client may send this in a request line: a path, a URL or `*`, without spaces and control characters.
pub(crate) fn is_sendable(target: &[u8]) -> bool {
    let form = target.first() == Some(&b'/') || target == b"*" || authority(target).is_some();
    form && target.iter().all(|b| *b > b' ' && *b != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_a_path_when_absolute_or_with_two_slashes() {
        for (raw, path) in [
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
            assert_eq!(normalize(raw.as_bytes()).unwrap(), path, "{raw}");
        }
    }

    #[test]
    fn bytes_are_escaped_when_a_uri_cannot_contain_them() {
        for byte in 0x21..=0xff_u8 {
            for target in [[b"/a", &[byte][..]].concat(), [b"/?k=", &[byte][..]].concat()] {
                let text = match normalize(&target) {
                    Err(error) => {
                        assert_eq!((byte, error), (b'#', TransportError::BadTarget));
                        continue;
                    }
                    Ok(text) => text.into_owned(),
                };
                assert_eq!(percent_encoding::percent_decode_str(&text).collect::<Vec<_>>(), target);
                assert_eq!(uri(&text).unwrap().to_string(), text);
            }
        }
        assert!(matches!(normalize(b"/%zz%2541^\\{}|"), Ok(Cow::Borrowed(_))), "the rest is unchanged");
    }

    #[test]
    fn target_is_rejected_when_too_long_before_or_after_escaping() {
        let long = |byte: u8, count| [b"/".to_vec(), vec![byte; count]].concat();
        assert!(uri(&normalize(&long(b'x', MAX_TARGET_BYTES - 1)).unwrap()).is_ok());
        assert_eq!(normalize(&long(b'x', MAX_TARGET_BYTES)), Err(TransportError::TargetTooLong));
        assert_eq!(normalize(&long(b'"', MAX_TARGET_BYTES / 2)), Err(TransportError::TargetTooLong));
    }

    #[test]
    fn target_is_sendable_when_it_is_a_path_a_url_or_an_asterisk() {
        for target in ["/", "//x", "*", "http://h/x", "/\"\u{e4}<"] {
            assert!(is_sendable(target.as_bytes()), "{target}");
        }
        for target in ["", "x", "host:80", "?k=a", "**", "/a b", "/a\tb", "/a\u{7f}", "/a\0", "://x"] {
            assert!(!is_sendable(target.as_bytes()), "{target}");
        }
    }
}
