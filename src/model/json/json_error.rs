//! Why a JSON document could not be read or changed.

use std::fmt;

use crate::model::error::{Error, ErrorKind};

/// Why a part of a JSON document could not be read or changed. Each has a text that says what is wrong and where.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    NotJson(String),
    /// The path is not a JSON Pointer, or the patch is malformed.
    Invalid(String),
    /// The path does not exist.
    Missing(String),
    /// The document is not as the change needs it: something on the way is neither an object nor an array, or a `test`
    /// failed.
    Conflict(String),
    /// A limit is exceeded.
    TooLarge(String),
}

impl JsonError {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::NotJson(text)
            | Self::Invalid(text)
            | Self::Missing(text)
            | Self::Conflict(text)
            | Self::TooLarge(text) => text,
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for JsonError {}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        let kind = match error {
            JsonError::TooLarge(_) => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.text().to_owned())
    }
}
