//! Blobs: values that are stored on their own, because they are large.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::content_type::ContentType;
use super::entry::Entry;
use super::error::{Error, ErrorKind, Result};

/// The name of a blob: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The name of a blob with this hash.
    #[must_use]
    pub fn new(sha_256: [u8; 32]) -> Self {
        Self(sha_256)
    }

    /// The SHA-256 of the bytes.
    #[must_use]
    pub fn sha_256(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] unless the text has 64 hexadecimal digits in lower case.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Invalid, "the name of a blob has 64 hexadecimal digits in lower case");
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() {
            return Err(invalid());
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else { return Err(invalid()) };
            *byte = digit(high).ok_or_else(invalid)? << 4 | digit(low).ok_or_else(invalid)?;
        }
        Ok(Self(hash))
    }
}

/// A value that is stored as a blob.
///
/// The entry has a reference in its place: a value with the type [`BlobRef::MARK`], as JSON.
///
/// ```
/// use kvs::model::{BlobRef, ContentType};
///
/// let id = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
/// let blob = BlobRef { id, bytes: 4, content_type: ContentType::new("image/png")? };
/// let (value, content_type) = blob.reference();
/// assert_eq!(value, format!(r#"{{"sha-256":"{id}","bytes":4,"type":"image/png"}}"#));
/// assert_eq!(BlobRef::parse(&value, &content_type), Some(blob));
/// # Ok::<_, kvs::model::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobRef {
    /// The name of the blob.
    pub id: BlobId,
    /// The length of the value in bytes.
    pub bytes: u64,
    /// The media type of the value.
    pub content_type: ContentType,
}

/// A reference as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredReference<'a> {
    #[serde(rename = "sha-256")]
    sha_256: String,
    bytes: u64,
    #[serde(rename = "type")]
    content_type: Cow<'a, str>,
}

impl BlobRef {
    /// Longer values are stored as blobs: 64 KiB.
    pub const FROM_BYTES: usize = 64 << 10;

    /// The longest blob: 10 GiB.
    pub const MAX_BYTES: u64 = 10 << 30;

    /// The media type that marks a reference.
    pub const MARK: &'static str = "application/vnd.kvs.blob";

    /// The value and the type that an entry has in place of the blob.
    #[must_use]
    pub fn reference(&self) -> (Bytes, ContentType) {
        let (sha_256, content_type) = (self.id.to_string(), self.content_type.as_str().into());
        let stored = StoredReference { sha_256, bytes: self.bytes, content_type };
        // Texts and numbers can always be written to memory, and the mark is a valid type.
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        (text.into(), ContentType::new(Self::MARK).unwrap_or_default())
    }

    /// The blob of a value that is a reference; `None` if it is none.
    #[must_use]
    pub fn parse(value: &[u8], content_type: &ContentType) -> Option<Self> {
        if !content_type.is_of_a_layer() || content_type.essence() != Self::MARK {
            return None;
        }
        let StoredReference { sha_256, bytes, content_type } = serde_json::from_slice(value).ok()?;
        Some(Self { id: sha_256.parse().ok()?, bytes, content_type: ContentType::new(&content_type).ok()? })
    }

    /// The blob of an entry whose value is a reference.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        Self::parse(&entry.value, &entry.content_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn names_are_hashes_in_lower_case() {
        assert_eq!(HASH.parse::<BlobId>().unwrap().to_string(), HASH);
        for bad in ["", "9f", &HASH.to_uppercase(), &format!("{HASH}0"), &HASH.replace('9', "g"), "../../etc/passwd"] {
            assert!(bad.parse::<BlobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references_are_read_back_whatever_the_type() {
        for name in ["image/png", "a/b; c=\"\\d\"", ContentType::TEXT] {
            let content_type = ContentType::new(name).unwrap();
            let blob = BlobRef { id: HASH.parse().unwrap(), bytes: u64::MAX, content_type };
            let (value, mark) = blob.reference();
            assert_eq!(BlobRef::parse(&value, &mark), Some(blob));
            assert_eq!(BlobRef::parse(&value, &ContentType::json()), None, "without the mark it is a value");
        }
    }

    #[test]
    fn anything_else_is_no_reference() {
        let mark = ContentType::new(BlobRef::MARK).unwrap();
        for bad in ["", "{}", "[]", "{\"sha-256\":\"x\",\"bytes\":1,\"type\":\"a/b\"}", HASH] {
            assert_eq!(BlobRef::parse(bad.as_bytes(), &mark), None, "{bad}");
        }
    }
}
