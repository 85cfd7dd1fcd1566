//! Names and values in `application/x-www-form-urlencoded`, in a query or in the body of a form.
//!
//! Values are bytes: bytes that are not UTF-8 are kept, so a value is stored as it was sent. [`RawParam::text`] returns
//! text and is strict.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode;

use super::number;
use crate::model::Key;
use crate::web::response::api_error::ApiError;

/// A name or a value, still encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawParam<'a>(&'a [u8]);

impl<'a> RawParam<'a> {
    /// The decoded bytes. As in browsers, a `%` without two hexadecimal digits after it is kept.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let spaced: Cow<'a, [u8]> = if self.0.contains(&b'+') {
            self.0.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect::<Vec<u8>>().into()
        } else {
            self.0.into()
        };
        percent_decode(&spaced).collect()
    }

    /// The decoded text.
    ///
    /// # Errors
    /// If a `%` has no two hexadecimal digits after it, or the bytes are not UTF-8.
    pub(crate) fn text(self) -> Result<String, ApiError> {
        if !is_well_formed(self.0) {
            return Err(ApiError::invalid(format!(
                "{} contains a % without two hexadecimal digits; write %25 for %",
                self.quote()
            )));
        }
        String::from_utf8(self.bytes()).map_err(|_| ApiError::invalid(format!("{} is not UTF-8", self.quote())))
    }

    /// The decoded key.
    ///
    /// # Errors
    /// As for [`RawParam::text`], or if it is not a valid key. The error contains the text that was sent.
    pub(crate) fn key(self) -> Result<Key, ApiError> {
        let text = self.text()?;
        Key::new(&text).map_err(|error| ApiError::invalid(format!("{}: {error}", self.quote())))
    }

    fn equals(self, name: &str) -> bool {
        self.0 == name.as_bytes() || self.bytes() == name.as_bytes()
    }

    /// The encoded text in quotes, escaped and shortened.
    fn quote(self) -> String {
        const MAX_SHOWN_BYTES: usize = 80;
        let cut = self.0.get(..MAX_SHOWN_BYTES).unwrap_or(self.0);
        let more = if self.0.len() > MAX_SHOWN_BYTES { "..." } else { "" };
        format!("\"{}{more}\"", cut.escape_ascii())
    }
}

/// Whether each `%` is followed by two hexadecimal digits.
pub(crate) fn is_well_formed(encoded: &[u8]) -> bool {
    let mut rest = encoded;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return false,
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    true
}

/// The pairs in their order. A name without `=` has an empty value. Empty parts between two `&` are ignored.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (RawParam<'_>, RawParam<'_>)> {
    encoded.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |&b| b == b'=');
        let name = halves.next().unwrap_or_default();
        (RawParam(name), RawParam(halves.next().unwrap_or_default()))
    })
}

/// The name of the secret in a form. A query must not contain it.
pub(crate) const AUTH: &str = "auth";

/// Whether this is the name of the secret.
pub(crate) fn is_auth(name: RawParam<'_>) -> bool {
    name.equals(AUTH)
}

/// The query of a request. Unknown parameters are ignored, because clients add some to bypass caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryString<'a>(&'a [u8]);

impl<'a> QueryString<'a> {
    /// The query as it was sent, without `?`.
    ///
    /// # Errors
    /// If it contains a secret. URLs are kept in logs and histories.
    pub(crate) fn new(query: Option<&'a str>) -> Result<Self, ApiError> {
        let this = Self(query.unwrap_or("").as_bytes());
        if pairs(this.0).any(|(name, _)| is_auth(name)) {
            return Err(ApiError::invalid(
                "a URL must not contain a secret; send it in the form field auth or in the header X-KVS-Auth",
            ));
        }
        Ok(this)
    }

    /// All values of this name, in their order.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = RawParam<'a>> {
        pairs(self.0).filter(move |(other, _)| other.equals(name)).map(|(_, value)| value)
    }

    /// The value of this name as text. If the name is repeated, the last value is used.
    pub(crate) fn text(self, name: &str) -> Result<Option<String>, ApiError> {
        self.all(name).last().map(RawParam::text).transpose()
    }

    /// The value of this name as an integer in the range.
    pub(crate) fn number(self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        number::parse(name, &text, range).map(Some).map_err(ApiError::invalid)
    }

    /// The first parameter with another name than these, in quotes.
    pub(crate) fn other_than(self, names: &[&str]) -> Option<String> {
        let mut all = pairs(self.0).map(|(name, _)| name);
        all.find(|name| !names.iter().any(|known| name.equals(known))).map(RawParam::quote)
    }

    /// Rejects a request with this parameter.
    ///
    /// # Errors
    /// With `text`, if the query has the parameter.
    pub(crate) fn reject(self, name: &str, text: &'static str) -> Result<(), ApiError> {
        match self.all(name).next() {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid(text)),
        }
    }

    /// Whether this flag is set: the query has it, with a value other than `0` and `false`.
    pub(crate) fn flag(self, name: &str) -> Result<bool, ApiError> {
        Ok(self.text(name)?.is_some_and(|text| text != "0" && text != "false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_their_bytes() {
        let found: Vec<_> = pairs(b"a=1&&b=%00%ff+x&c&d=e=f&=g&a=100%").map(|(n, v)| (n.bytes(), v.bytes())).collect();
        let expected: [(&[u8], &[u8]); 6] =
            [(b"a", b"1"), (b"b", b"\0\xff x"), (b"c", b""), (b"d", b"e=f"), (b"", b"g"), (b"a", b"100%")];
        assert_eq!(found.len(), expected.len());
        for ((name, value), (n, v)) in found.iter().zip(expected) {
            assert_eq!((name.as_slice(), value.as_slice()), (n, v));
        }
    }

    #[test]
    fn malformed_text_is_rejected() {
        for good in ["", "a", "%C3%A4", "a+b", "%25"] {
            assert!(RawParam(good.as_bytes()).text().is_ok(), "{good}");
        }
        for bad in ["%", "%1", "%zz", "a%2", "%ff", "%C3"] {
            assert!(RawParam(bad.as_bytes()).text().is_err(), "{bad}");
        }
    }

    #[test]
    fn secret_in_a_query_is_rejected_in_every_spelling() {
        for bad in ["auth=x", "k=a&auth=x", "%61uth=x", "auth"] {
            let error = QueryString::new(Some(bad)).unwrap_err();
            assert!(!format!("{error:?}").contains("=x"));
        }
        for good in ["k=auth", "author=x", ""] {
            assert!(QueryString::new(Some(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn numbers_and_flags_are_parsed_or_rejected() {
        let query = |q| QueryString::new(Some(q)).unwrap();
        assert_eq!(query("n=25&n=3").number("n", 1..=9).unwrap(), Some(3));
        assert_eq!(query("m=1").number("n", 1..=9).unwrap(), None);
        for bad in ["n=", "n=-1", "n=1.5", "n=0", "n=10", "n=x", "n=+1", "n=%2B1", "n=99999999999999999999999"] {
            assert!(query(bad).number("n", 1..=9).is_err(), "{bad}");
        }
        assert!(query("reverse").flag("reverse").unwrap());
        assert!(query("reverse=1").flag("reverse").unwrap());
        assert!(!query("reverse=0").flag("reverse").unwrap());
        assert!(!query("reverse=false").flag("reverse").unwrap());
    }
}
