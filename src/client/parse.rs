//! Checks the keys that callers give, and converts values to text.

use bytes::Bytes;

use crate::model::{Error, ErrorKind, Key, Result};

/// Checks keys, in their order.
pub(crate) fn keys(names: &[impl AsRef<str>]) -> Result<Vec<Key>> {
    names.iter().map(|name| Key::new(name.as_ref())).collect()
}

/// Converts a value to text.
pub(crate) fn text(key: &str, value: Bytes) -> Result<String> {
    String::from_utf8(value.into()).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the value of {key:?} is not UTF-8; read it as bytes"))
            .with_source(error)
    })
}
