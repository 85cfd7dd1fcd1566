//! Marks: short keyed hashes by which the rate limit recognizes secrets. Many secrets have the same mark.
//!
//! A mark only shows that a secret was probably checked before. It is too short to reveal the secret to somebody who
//! reads the file. Two secrets with the same mark do no harm: a right secret is checked each time anyway, and one guess
//! in sixteen million is not counted.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::model::{Entry, Error, ErrorKind, Result};

/// A function that fills a key with random bytes.
pub(crate) type FillRandom = fn(&mut [u8; KEY_BYTES]) -> Result<()>;

const KEY_BYTES: usize = 16;
const MARK_BYTES: usize = 3;

/// Random bytes of the operating system.
pub(crate) fn random(bytes: &mut [u8; KEY_BYTES]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|e| Error::new(ErrorKind::Unavailable, format!("the operating system returned no random bytes: {e}")))
}

/// The key of all marks of a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkKey([u8; KEY_BYTES]);

/// The mark of the secrets of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark([u8; MARK_BYTES]);

impl MarkKey {
    pub(crate) fn new(random: FillRandom) -> Result<Self> {
        let mut key = [0; KEY_BYTES];
        random(&mut key)?;
        Ok(Self(key))
    }

    /// Reads a stored key; `None` if it is not a valid key.
    pub(crate) fn parse(entry: &Entry) -> Option<Self> {
        unhex(entry.as_text()?).map(Self)
    }

    /// The mark of the secrets of one request, in their order.
    pub(crate) fn mark(&self, secrets: &[Vec<u8>]) -> Result<Mark> {
        let bad_length = |_| Error::new(ErrorKind::Unavailable, "the key of the marks has an invalid length");
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.0).map_err(bad_length)?;
        for secret in secrets {
            // The length comes first, so that different lists never give the same bytes.
            hash.update(&(secret.len() as u64).to_be_bytes());
            hash.update(secret);
        }
        let [a, b, c, ..] = <[u8; 32]>::from(hash.finalize().into_bytes());
        Ok(Mark([a, b, c]))
    }
}

impl Mark {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl fmt::Display for MarkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if digits.len() != 2 * N || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (slot, pair) in out.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_depends_on_the_key_and_on_all_secrets() {
        let [one, other] = [MarkKey([1; KEY_BYTES]), MarkKey([2; KEY_BYTES])];
        let mark = |key: &MarkKey, secrets: &[&str]| {
            key.mark(&secrets.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap()
        };
        let first = mark(&one, &["ab", "c"]);
        assert_eq!(first, mark(&one, &["ab", "c"]));
        assert_eq!(Mark::parse(&first.to_string()), Some(first));
        for different in
            [mark(&other, &["ab", "c"]), mark(&one, &["a", "bc"]), mark(&one, &["abc"]), mark(&one, &["ab"])]
        {
            assert_ne!(first, different);
        }
    }

    #[test]
    fn keys_of_two_stores_differ() {
        let keys = [(); 2].map(|()| MarkKey::new(random).unwrap().to_string());
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn malformed_marks_are_ignored() {
        for bad in ["", "12345", "1234567", "12345g", "ä1234"] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
    }
}
