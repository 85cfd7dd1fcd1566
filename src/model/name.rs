//! Names of buckets and keys. A value of these types is a name that has been checked.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::error::{Error, Kind};

/// The name of a bucket: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Arc<str>);

impl Bucket {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    /// The checked name.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is empty, too long, or holds another character.
    pub fn new(name: &str) -> Result<Self, Error> {
        let rest = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let good = name.len() <= Self::MAX
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.as_bytes().iter().all(rest);
        if good {
            Ok(Self(name.into()))
        } else {
            Err(Error::new(
                Kind::Invalid,
                format!(
                    "bad bucket name {name:?}: use 1 to {} letters, digits, '_', '.' and '-', the first a letter, digit or '_'",
                    Self::MAX
                ),
            ))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether kvs keeps its own records in this bucket, so that clients may not touch it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("_kvs")
    }
}

impl Default for Bucket {
    /// `default`, the bucket of the classic form.
    fn default() -> Self {
        Self("default".into())
    }
}

/// The name of an entry within a bucket: 1 to 1024 bytes of UTF-8 without control characters, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes.
    pub const MAX: usize = 1024;

    /// The checked key.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is empty, too long, `.` or `..`, or holds a control character (C0, DEL or C1).
    pub fn new(key: &str) -> Result<Self, Error> {
        let fault = if key.is_empty() {
            "a key has at least one character".to_owned()
        } else if key.len() > Self::MAX {
            format!("a key has at most {} bytes, this one {}", Self::MAX, key.len())
        } else if key == "." || key == ".." {
            format!("{key:?} is no key")
        } else if let Some(c) = key.chars().find(|c| c.is_control()) {
            format!("a key holds no control characters, this one U+{:04X}", u32::from(c))
        } else {
            return Ok(Self(key.into()));
        };
        Err(Error::new(Kind::Invalid, format!("bad key: {fault}")))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that an ordered map of keys can be searched by text.
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
    fn bucket_names_are_what_a_file_and_a_path_can_carry() {
        for good in ["default", "a", "_x", "0", "a.b-c_d", &"a".repeat(64)] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n", &"a".repeat(65)] {
            assert!(Bucket::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_text_without_control_characters() {
        for good in ["a", "a/b", "ä b", "...", "🙂", "a,b=&", " ", &"k".repeat(1024)] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a\0", "a\n", "\u{7f}", "\u{85}", "\u{9f}", &"k".repeat(1025)] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
    }
}
