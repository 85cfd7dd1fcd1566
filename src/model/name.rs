//! Names of buckets and keys. A value of these types is a valid name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::error::{Error, ErrorKind};

/// The name of a bucket: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Arc<str>);

impl Bucket {
    /// The maximum length in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks the name of a bucket.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, Error> {
        let rest = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let good = name.len() <= Self::MAX_BYTES
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.as_bytes().iter().all(rest);
        if good {
            Ok(Self(name.into()))
        } else {
            Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "bad bucket name {name:?}: use 1 to {} letters, digits, '_', '.' and '-', first a letter, digit or \
                     '_'",
                    Self::MAX_BYTES
                ),
            ))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the reserved bucket in which a copy records its progress.
    pub(crate) const COPY_RECORDS: &'static str = "_kvs.copy";

    /// Whether the bucket is reserved for records of kvs itself. Clients cannot use it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("_kvs")
    }
}

impl Default for Bucket {
    /// `default`, the bucket of `GET /?k=` and `POST /`.
    fn default() -> Self {
        Self("default".into())
    }
}

/// The name of an entry within a bucket: 1 to 1024 bytes of UTF-8 without control characters, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The maximum length in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Checks a key.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is empty, too long, `.` or `..`, or has a control character (C0, DEL or C1).
    pub fn new(key: &str) -> Result<Self, Error> {
        let fault = if key.is_empty() {
            "a key must not be empty".to_owned()
        } else if key.len() > Self::MAX_BYTES {
            format!("a key must have at most {} bytes, got {}", Self::MAX_BYTES, key.len())
        } else if key == "." || key == ".." {
            "a key cannot be \".\" or \"..\"".to_owned()
        } else if let Some(c) = key.chars().find(|c| c.is_control()) {
            format!("a key cannot have control characters, got U+{:04X}", u32::from(c))
        } else {
            return Ok(Self(key.into()));
        };
        Err(Error::new(ErrorKind::Invalid, format!("bad key: {fault}")))
    }

    /// A key from the text of a key.
    pub(crate) fn of_valid(key: &str) -> Self {
        Self(key.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lets an ordered map of keys be searched by text.
impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! name_traits {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
name_traits!(Bucket);
name_traits!(Key);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_safe_in_file_names_and_paths() {
        for good in ["default", "a", "_x", "0", "a.b-c_d", &"a".repeat(64)] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n", &"a".repeat(65)] {
            assert!(Bucket::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn control_characters_and_dots_are_not_valid_keys() {
        for good in ["a", "a/b", "ä b", "...", "🙂", "a,b=&", " ", &"k".repeat(1024)] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a\0", "a\n", "\u{7f}", "\u{85}", "\u{9f}", &"k".repeat(1025)] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
    }
}
