//! Who may do what: the secrets of `auth.txt` and the rights behind them.
//!
//! Secrets are kept as their SHA-256 only, and are never printed. A presented one is hashed and compared with every line,
//! in constant time and without stopping at the first that fits, so neither content nor length nor place shows in the
//! time it takes.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::{Bucket, Error, Kind, Result};

/// The text of the sample file: who copied it without editing it has no secret.
const SAMPLE: &str = "yourauthorizationhere";

/// What a request wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    /// See what is stored.
    Read,
    /// Change it.
    Write,
}

/// The secrets and what each allows.
#[derive(Clone, Default)]
pub struct Access {
    lines: Vec<Line>,
    is_unreadable: bool,
}

#[derive(Clone)]
struct Line {
    hash: [u8; 32],
    read: bool,
    write: bool,
    /// None: every bucket.
    buckets: Option<Vec<Bucket>>,
}

/// What a presented secret is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Nobody's.
    Wrong,
    /// Somebody's, who may not do this.
    Short,
    /// Good for this.
    Good,
}

impl Access {
    /// No secrets: nobody may write.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// There may be secrets, but they cannot be read: nobody may do what needs one.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { is_unreadable: true, ..Self::default() }
    }

    /// The secrets in the text of an `auth.txt`.
    ///
    /// Each line holds a secret or `sha256:` and the hexadecimal hash of one; behind it, apart by blanks, may stand `read`,
    /// `write` and `buckets=a,b`. Without `read` and `write` it has both, without `buckets` every bucket. `#` begins a
    /// comment at the start of a line or behind a blank. The text of the sample file is no secret and is passed over.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the line and never what stands in it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = vec![];
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let fault = |what: &str| Error::new(Kind::Invalid, format!("auth file, line {number}: {what}"));
            lines.extend(Line::parse(line).map_err(fault)?);
        }
        Ok(Self { lines, is_unreadable: false })
    }

    /// How many secrets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no secret at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    pub(crate) fn judge(&self, secret: &[u8], (right, bucket): (Right, &Bucket)) -> Standing {
        let hash = hash(secret);
        let (mut known, mut good) = (false, false);
        for line in &self.lines {
            let equal = bool::from(line.hash.ct_eq(&hash));
            known |= equal;
            good |= equal & line.allows(right, bucket);
        }
        match (known, good) {
            (_, true) => Standing::Good,
            (true, false) => Standing::Short,
            (false, false) => Standing::Wrong,
        }
    }
}

impl Line {
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(secret) = words.next() else { return Ok(None) };
        let hash = match secret.strip_prefix("sha256:") {
            Some(digits) => unhex(digits).ok_or("sha256: is followed by 64 hexadecimal digits")?,
            None => hash(secret.as_bytes()),
        };
        let mut this = Self { hash, read: false, write: false, buckets: None };
        for word in words {
            match (word, word.strip_prefix("buckets=")) {
                ("read", _) => this.read = true,
                ("write", _) => this.write = true,
                (_, Some(names)) => this.buckets.get_or_insert_default().extend(buckets(names)?),
                _ => return Err("unknown right; behind a secret stand read, write or buckets=NAME,NAME"),
            }
        }
        if !this.read && !this.write {
            (this.read, this.write) = (true, true);
        }
        let never = [hash_of_sample(), self::hash(b"")];
        Ok((!never.contains(&this.hash)).then_some(this))
    }

    fn allows(&self, right: Right, bucket: &Bucket) -> bool {
        let may = match right {
            Right::Read => self.read,
            Right::Write => self.write,
        };
        may && self.buckets.as_ref().is_none_or(|buckets| buckets.contains(bucket))
    }
}

fn buckets(names: &str) -> Result<Vec<Bucket>, &'static str> {
    names.split(',').map(|name| Bucket::new(name).map_err(|_| "buckets= is followed by names of buckets")).collect()
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

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({} secrets)", self.lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, secret: &str, right: Right, bucket: &str) -> Standing {
        let bucket = Bucket::new(bucket).unwrap();
        Access::parse(text).unwrap().judge(secret.as_bytes(), (right, &bucket))
    }

    #[test]
    fn lines_comments_and_line_ends() {
        let text = "\u{feff}# who\r\n\r\n  s3cret\t\r\nother # the ESP32\r\npa#ss\r\n";
        for good in ["s3cret", "other", "pa#ss"] {
            assert_eq!(judge(text, good, Right::Write, "default"), Standing::Good, "{good}");
        }
        for wrong in ["", "S3cret", "s3cret ", "who", "#", "the", "s3cre", "s3crett"] {
            assert_eq!(judge(text, wrong, Right::Write, "default"), Standing::Wrong, "{wrong}");
        }
    }

    #[test]
    fn rights_behind_a_secret() {
        use Right::{Read, Write};
        use Standing::{Good, Short};
        let text = "r read\nw write buckets=a,b\nb buckets=a\nx read buckets=a\nx write buckets=b\nrw write read";
        let cases = [
            ("r", Read, "a", Good),
            ("r", Write, "a", Short),
            ("w", Write, "b", Good),
            ("w", Read, "b", Short),
            ("w", Write, "c", Short),
            ("b", Read, "a", Good),
            ("b", Write, "a", Good),
            ("b", Write, "b", Short),
            ("x", Write, "b", Good),
            ("x", Write, "a", Short),
            ("rw", Write, "z", Good),
        ];
        for (secret, right, bucket, expected) in cases {
            assert_eq!(judge(text, secret, right, bucket), expected, "{secret} {right:?} {bucket}");
        }
    }

    #[test]
    fn a_hash_stands_for_its_secret() {
        // SHA-256 of "abc".
        let text = "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad read";
        assert_eq!(judge(text, "abc", Right::Read, "default"), Standing::Good);
        assert_eq!(judge(text, text.split(' ').next().unwrap(), Right::Read, "default"), Standing::Wrong);
    }

    #[test]
    fn the_sample_is_never_a_secret() {
        let hash = hash_of_sample();
        let half = |at: usize| u128::from_be_bytes(hash[at..at + 16].try_into().unwrap());
        let hashed = format!("{:032x}{:032x}", half(0), half(16));
        for text in ["yourauthorizationhere", &format!("sha256:{hashed} write"), "", "# only a comment"] {
            let access = Access::parse(text).unwrap();
            assert!(access.is_empty(), "{text}");
        }
        assert_eq!(judge("yourauthorizationhere\nx", SAMPLE, Right::Write, "default"), Standing::Wrong);
    }

    #[test]
    fn a_fault_names_the_line_and_not_the_secret() {
        for bad in ["hunter2 admin", "hunter2 buckets=", "hunter2 buckets=a/b", "sha256:hunter2", "hunter2 Read"] {
            let error = Access::parse(&format!("ok\n\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("line 3") && !error.contains("hunter2") && !error.contains("admin"), "{error}");
        }
        assert_eq!(format!("{:?}", Access::parse("hunter2").unwrap()), "Access(1 secrets)");
    }
}
