//! The secrets of `auth.txt` and their permissions.
//!
//! Secrets are kept only as their SHA-256, and are never printed. A presented secret is hashed and compared with every
//! line, in constant time and without stopping at a match. So the time does not depend on the content, the length or
//! the line of a secret.

use std::fmt;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::place::Place;
use crate::model::{Bucket, Error, ErrorKind, Key, Result};

/// The secret in the sample file, which is never accepted.
const SAMPLE: &str = "yourauthorizationhere";

/// The right that a request needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    Read,
    Write,
}

/// The secrets, each with its permissions.
#[derive(Clone, Default)]
pub struct SecretList {
    lines: Vec<Line>,
    is_unreadable: bool,
}

#[derive(Clone)]
struct Line {
    hash: [u8; 32],
    read: bool,
    write: bool,
    /// `None`: every bucket.
    buckets: Option<Vec<Bucket>>,
    /// `None`: every key. Otherwise those that begin with one of these.
    prefixes: Option<Vec<String>>,
}

/// Whether a presented secret allows a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Permission {
    /// The secret is wrong.
    Unknown,
    /// The secret is valid, but does not allow this.
    NotPermitted,
    /// The secret allows this.
    Permitted,
}

impl SecretList {
    /// No secrets. Writes are rejected.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Secrets that cannot be read. Every request that needs a secret is rejected with 500.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { is_unreadable: true, ..Self::default() }
    }

    /// Parses the text of an `auth.txt`.
    ///
    /// Each line has a secret, or `sha256:` and the hexadecimal hash of one. `read`, `write`, `buckets=a,b` and
    /// `prefix=kitchen/` may follow, separated by spaces. Without `read` and `write` the secret has both rights; without
    /// `buckets` they apply to every bucket, and without `prefix` to every key. `#` begins a comment at the start of a
    /// line or after a space. The secret of the sample file is ignored.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the number of the line, but never its content.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = vec![];
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let invalid = |cause: &str| Error::new(ErrorKind::Invalid, format!("auth file, line {number}: {cause}"));
            lines.extend(Line::parse(line).map_err(invalid)?);
        }
        Ok(Self { lines, is_unreadable: false })
    }

    /// The number of secrets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    // Not inlined, so that a test can count its instructions.
    #[inline(never)]
    pub(crate) fn permission(&self, secret: &[u8], right: Right, place: Place<'_>) -> Permission {
        self.permission_by(secret, |line| line.allows(right, place))
    }

    /// Whether the secret has the right in any bucket.
    pub(crate) fn permission_in_any_bucket(&self, secret: &[u8], right: Right) -> Permission {
        self.permission_by(secret, |line| line.has(right))
    }

    fn permission_by(&self, secret: &[u8], allows: impl Fn(&Line) -> bool) -> Permission {
        let hash = hash(secret);
        let (mut is_known, mut is_permitted) = (false, false);
        for line in &self.lines {
            let equal = bool::from(line.hash.ct_eq(&hash));
            is_known |= equal;
            is_permitted |= equal & allows(line);
        }
        match (is_known, is_permitted) {
            (_, true) => Permission::Permitted,
            (true, false) => Permission::NotPermitted,
            (false, false) => Permission::Unknown,
        }
    }
}

impl Line {
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let mut tokens = line.split_whitespace().take_while(|token| !token.starts_with('#'));
        let Some(secret) = tokens.next() else { return Ok(None) };
        let hash = match secret.strip_prefix("sha256:") {
            Some(digits) => unhex(digits).ok_or("sha256: must be followed by 64 hexadecimal digits")?,
            None => hash(secret.as_bytes()),
        };
        let mut this = Self { hash, read: false, write: false, buckets: None, prefixes: None };
        for token in tokens {
            match token.split_once('=') {
                None if token == "read" => this.read = true,
                None if token == "write" => this.write = true,
                Some(("buckets", names)) => this.buckets.get_or_insert_default().extend(buckets(names)?),
                Some(("prefix", prefix)) => this.prefixes.get_or_insert_default().push(self::prefix(prefix)?),
                _ => return Err("unknown right; after a secret write read, write, buckets=NAME,NAME or prefix=TEXT"),
            }
        }
        if !this.read && !this.write {
            (this.read, this.write) = (true, true);
        }
        let ignored = [hash_of_sample(), self::hash(b"")];
        Ok((!ignored.contains(&this.hash)).then_some(this))
    }

    fn has(&self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
        }
    }

    fn allows(&self, right: Right, place: Place<'_>) -> bool {
        self.has(right)
            && self.buckets.as_ref().is_none_or(|buckets| buckets.contains(place.bucket()))
            && self.prefixes.as_deref().is_none_or(|prefixes| place.is_below(prefixes))
    }
}

fn buckets(names: &str) -> Result<Vec<Bucket>, &'static str> {
    names.split(',').map(|name| Bucket::new(name).map_err(|_| "buckets= must be followed by bucket names")).collect()
}

/// A prefix of keys. A space cannot be written, so it is `%20`, as in a URL.
fn prefix(text: &str) -> Result<String, &'static str> {
    let bad = "prefix= must be followed by the beginning of keys, such as kitchen/; write %20 for a space";
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| bad)?;
    Key::new(&decoded).map_err(|_| bad)?;
    Ok(decoded.into_owned())
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn hash_of_sample() -> [u8; 32] {
    hash(SAMPLE.as_bytes())
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (slot, pair) in out.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

impl fmt::Debug for SecretList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretList({} secrets)", self.lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(text: &str, secret: &str, right: Right, bucket: &str) -> Permission {
        let bucket = Bucket::new(bucket).unwrap();
        SecretList::parse(text).unwrap().permission(secret.as_bytes(), right, Place::Bucket(&bucket))
    }

    #[test]
    fn comments_and_line_ends_are_not_part_of_a_secret() {
        let text = "\u{feff}# who\r\n\r\n  s3cret\t\r\nother # the ESP32\r\npa#ss\r\n";
        for good in ["s3cret", "other", "pa#ss"] {
            assert_eq!(permission(text, good, Right::Write, "default"), Permission::Permitted, "{good}");
        }
        for wrong in ["", "S3cret", "s3cret ", "who", "#", "the", "s3cre", "s3crett"] {
            assert_eq!(permission(text, wrong, Right::Write, "default"), Permission::Unknown, "{wrong}");
        }
    }

    #[test]
    fn rights_limit_a_secret() {
        use Permission::{NotPermitted, Permitted};
        use Right::{Read, Write};
        let text = "r read\nw write buckets=a,b\nb buckets=a\nx read buckets=a\nx write buckets=b\nrw write read";
        let cases = [
            ("r", Read, "a", Permitted),
            ("r", Write, "a", NotPermitted),
            ("w", Write, "b", Permitted),
            ("w", Read, "b", NotPermitted),
            ("w", Write, "c", NotPermitted),
            ("b", Read, "a", Permitted),
            ("b", Write, "a", Permitted),
            ("b", Write, "b", NotPermitted),
            ("x", Write, "b", Permitted),
            ("x", Write, "a", NotPermitted),
            ("rw", Write, "z", Permitted),
        ];
        for (secret, right, bucket, expected) in cases {
            assert_eq!(permission(text, secret, right, bucket), expected, "{secret} {right:?} {bucket}");
        }
    }

    #[test]
    fn a_prefix_limits_a_secret_to_keys() {
        fn is_permitted_by(secrets: &SecretList, secret: &str, place: Place<'_>) -> bool {
            secrets.permission(secret.as_bytes(), Right::Write, place) == Permission::Permitted
        }
        let secrets = SecretList::parse("k prefix=kitchen/ prefix=a%20b\nboth write prefix=x buckets=b").unwrap();
        let (bucket, b) = (Bucket::default(), Bucket::new("b").unwrap());
        let of_keys = |names: &[&str]| {
            let keys: Vec<Key> = names.iter().map(|name| Key::new(name).unwrap()).collect();
            is_permitted_by(&secrets, "k", Place::Keys(&bucket, &keys))
        };
        assert!(of_keys(&["kitchen/temp"]) && of_keys(&["a b"]) && of_keys(&["kitchen/a", "a bc"]));
        assert!(!of_keys(&["hall"]) && !of_keys(&["kitchen/a", "kitchen"]));
        let of_prefix = |prefix| is_permitted_by(&secrets, "k", Place::Prefix(&bucket, prefix));
        assert!(of_prefix("kitchen/oven/") && !of_prefix("kit") && !of_prefix(""));
        assert!(is_permitted_by(&secrets, "k", Place::KeysInBody(&bucket)));
        assert!(!is_permitted_by(&secrets, "k", Place::Bucket(&bucket)));
        let both = |bucket| is_permitted_by(&secrets, "both", Place::Prefix(bucket, "x"));
        assert!(both(&b) && !both(&bucket));
        for bad in ["k prefix=", "k prefix=a%0ab", "k prefix=%ff", "k prefix"] {
            assert!(SecretList::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hash_can_replace_its_secret() {
        // SHA-256 of "abc".
        let text = "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad read";
        assert_eq!(permission(text, "abc", Right::Read, "default"), Permission::Permitted);
        assert_eq!(permission(text, text.split(' ').next().unwrap(), Right::Read, "default"), Permission::Unknown);
        let digits = "0".repeat(64);
        assert_eq!(SecretList::parse(&format!("a\nsha256:{digits}\n\nb")).unwrap().len(), 3);
        for bad in [&digits[1..], &digits[2..], &format!("{digits}00"), &digits.replacen("00", "+0", 1)] {
            assert!(SecretList::parse(&format!("sha256:{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn sample_secret_is_never_accepted() {
        let hash = hash_of_sample();
        let half = |at: usize| u128::from_be_bytes(hash[at..at + 16].try_into().unwrap());
        let hashed = format!("{:032x}{:032x}", half(0), half(16));
        for text in ["yourauthorizationhere", &format!("sha256:{hashed} write"), "", "# only a comment"] {
            let secrets = SecretList::parse(text).unwrap();
            assert!(secrets.is_empty(), "{text}");
        }
        assert_eq!(permission("yourauthorizationhere\nx", SAMPLE, Right::Write, "default"), Permission::Unknown);
    }

    #[test]
    fn errors_name_the_line_and_not_the_secret() {
        for bad in ["hunter2 admin", "hunter2 buckets=", "hunter2 buckets=a/b", "sha256:hunter2", "hunter2 Read"] {
            let error = SecretList::parse(&format!("ok\n\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("line 3") && !error.contains("hunter2") && !error.contains("admin"), "{error}");
        }
        assert_eq!(format!("{:?}", SecretList::parse("hunter2").unwrap()), "SecretList(1 secrets)");
    }
}
