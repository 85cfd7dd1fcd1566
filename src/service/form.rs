//! Names and values as `application/x-www-form-urlencoded` writes them, in a query or in the body of a form.
//!
//! Bytes in, bytes out: nothing is replaced that is not UTF-8, so that a value arrives as it was sent. Who needs text
//! asks for [`Piece::text`], which is strict.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode;

use super::number;
use super::reply::Refusal;
use crate::model::Key;

/// A name or a value, still encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a>(&'a [u8]);

impl<'a> Piece<'a> {
    /// The bytes meant. As browsers have it, a `%` that two hexadecimal digits do not follow stands for itself.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let spaced: Cow<'a, [u8]> = if self.0.contains(&b'+') {
            self.0.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect::<Vec<u8>>().into()
        } else {
            self.0.into()
        };
        percent_decode(&spaced).collect()
    }

    /// The text meant.
    ///
    /// # Errors
    /// A stray `%`, or bytes that are not UTF-8.
    pub(crate) fn text(self) -> Result<String, Refusal> {
        if !is_well_formed(self.0) {
            return Err(Refusal::invalid(format!(
                "{} holds a % without two hexadecimal digits; write %25",
                self.shown()
            )));
        }
        String::from_utf8(self.bytes()).map_err(|_| Refusal::invalid(format!("{} is not UTF-8", self.shown())))
    }

    /// The key meant.
    ///
    /// # Errors
    /// What [`Piece::text`] says, or that it is no key; the text names it.
    pub(crate) fn key(self) -> Result<Key, Refusal> {
        let text = self.text()?;
        Key::new(&text).map_err(|error| Refusal::invalid(format!("{}: {error}", self.shown())))
    }

    fn is(self, name: &str) -> bool {
        self.0 == name.as_bytes() || self.bytes() == name.as_bytes()
    }

    /// As it was sent, shortened, fit for a line of text.
    fn shown(self) -> String {
        const MOST: usize = 80;
        let cut = self.0.get(..MOST).unwrap_or(self.0);
        let more = if self.0.len() > MOST { "..." } else { "" };
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

/// The pairs in their order. A name without `=` has an empty value; nothing between two `&` is no pair.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (Piece<'_>, Piece<'_>)> {
    encoded.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |&b| b == b'=');
        let name = halves.next().unwrap_or_default();
        (Piece(name), Piece(halves.next().unwrap_or_default()))
    })
}

/// The secret's name in a form, and the one name a query may not have.
pub(crate) const AUTH: &str = "auth";

/// Whether this name is the one reserved for the secret.
pub(crate) fn is_auth(name: Piece<'_>) -> bool {
    name.is(AUTH)
}

/// The query of a request. Parameters that are not asked for are ignored: clients add some to defeat caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a>(&'a [u8]);

impl<'a> Question<'a> {
    /// The query as sent, without `?`.
    ///
    /// # Errors
    /// A secret in it: addresses end up in logs and histories.
    pub(crate) fn new(query: Option<&'a str>) -> Result<Self, Refusal> {
        let this = Self(query.unwrap_or("").as_bytes());
        if pairs(this.0).any(|(name, _)| is_auth(name)) {
            return Err(Refusal::invalid(
                "a secret does not belong into an address; send it as form field auth or as header X-KVS-Auth",
            ));
        }
        Ok(this)
    }

    /// Every value of that name, in their order.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Piece<'a>> {
        pairs(self.0).filter(move |(given, _)| given.is(name)).map(|(_, value)| value)
    }

    /// The value of that name as text; of several the last.
    pub(crate) fn text(self, name: &str) -> Result<Option<String>, Refusal> {
        self.all(name).last().map(Piece::text).transpose()
    }

    /// The value of that name as a whole number in that range.
    pub(crate) fn number(self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        number::read(name, &text, range).map(Some).map_err(Refusal::invalid)
    }

    /// Whether that flag is raised: it is there, and neither `0` nor `false`.
    pub(crate) fn flag(self, name: &str) -> Result<bool, Refusal> {
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
    fn text_is_strict() {
        for good in ["", "a", "%C3%A4", "a+b", "%25"] {
            assert!(Piece(good.as_bytes()).text().is_ok(), "{good}");
        }
        for bad in ["%", "%1", "%zz", "a%2", "%ff", "%C3"] {
            assert!(Piece(bad.as_bytes()).text().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_in_a_query_is_refused_however_it_is_written() {
        for bad in ["auth=x", "k=a&auth=x", "%61uth=x", "auth"] {
            let refusal = Question::new(Some(bad)).unwrap_err();
            assert!(!format!("{refusal:?}").contains("=x"));
        }
        for good in ["k=auth", "author=x", ""] {
            assert!(Question::new(Some(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn numbers_and_flags_are_read_or_refused() {
        let ask = |q| Question::new(Some(q)).unwrap();
        assert_eq!(ask("n=25&n=3").number("n", 1..=9).unwrap(), Some(3));
        assert_eq!(ask("m=1").number("n", 1..=9).unwrap(), None);
        for bad in ["n=", "n=-1", "n=1.5", "n=0", "n=10", "n=x", "n=+1", "n=%2B1", "n=99999999999999999999999"] {
            assert!(ask(bad).number("n", 1..=9).is_err(), "{bad}");
        }
        assert!(ask("reverse").flag("reverse").unwrap());
        assert!(ask("reverse=1").flag("reverse").unwrap());
        assert!(!ask("reverse=0").flag("reverse").unwrap());
        assert!(!ask("reverse=false").flag("reverse").unwrap());
    }
}
