//! The keys of an encrypted store.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::model::{Error, ErrorKind, Result};

/// The length of a key in bytes.
pub(super) const KEY_BYTES: usize = 32;

/// The keys of an encrypted store, each with an id. The first one encrypts; all of them decrypt.
///
/// As text each key is a line: its id (letters, digits, `-` and `_`), a space, and 32 random bytes in base64. Empty
/// lines and lines that begin with `#` are ignored.
///
/// ```
/// use kvs::layers::EncryptionKeys;
///
/// let keys: EncryptionKeys = "2026 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n".parse()?;
/// assert_eq!(keys.current_id(), "2026");
/// # Ok::<(), kvs::model::Error>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKeys(Arc<Vec<EncryptionKey>>);

pub(super) struct EncryptionKey {
    pub(super) id: String,
    pub(super) key: Zeroizing<[u8; KEY_BYTES]>,
}

impl EncryptionKeys {
    /// The id of the key that encrypts.
    #[must_use]
    pub fn current_id(&self) -> &str {
        self.current().map_or("", |key| &key.id)
    }

    pub(super) fn current(&self) -> Option<&EncryptionKey> {
        self.0.first()
    }

    pub(super) fn find(&self, id: &str) -> Option<&EncryptionKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl FromStr for EncryptionKeys {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut keys: Vec<EncryptionKey> = vec![];
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid =
                |why: &str| Error::new(ErrorKind::Invalid, format!("encryption keys, line {}: {why}", number + 1));
            let form = "write an id, a space and 32 random bytes in base64, as from `openssl rand -base64 32`";
            let (id, encoded) = line.split_once(char::is_whitespace).ok_or_else(|| invalid(form))?;
            let is_id = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !is_id {
                return Err(invalid("an id has at most 64 letters, digits, - and _"));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(invalid(&format!("the id {id} occurs twice; every key needs an id of its own")));
            }
            let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| invalid(form))?);
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            if bytes.len() != KEY_BYTES {
                return Err(invalid(&format!("the key has {} bytes; it must have {KEY_BYTES}", bytes.len())));
            }
            key.copy_from_slice(&bytes);
            keys.push(EncryptionKey { id: id.to_owned(), key });
        }
        if keys.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "there is no encryption key; write one on a line: an id, a space and 32 random bytes in base64",
            ));
        }
        Ok(Self(Arc::new(keys)))
    }
}

/// Only the ids.
impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}
