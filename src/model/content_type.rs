//! The media type of a value.

use std::fmt;
use std::sync::Arc;

use super::error::{Error, ErrorKind};

/// A media type such as `text/plain` or `application/json; charset=utf-8` (RFC 9110 section 8.3).
///
/// Kept as written: at most 255 visible ASCII characters and spaces, with a `/` among them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ContentType(Option<Arc<str>>);

impl ContentType {
    /// The default type of a value.
    pub const TEXT: &'static str = "text/plain; charset=utf-8";

    /// The type of JSON.
    pub const JSON: &'static str = "application/json";

    /// How the types begin that layers use as marks.
    pub const LAYER_PREFIX: &'static str = "application/vnd.kvs.";

    /// The type of JSON, without parameters.
    #[must_use]
    pub fn json() -> Self {
        Self(Some(Self::JSON.into()))
    }

    /// Checks a content type.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it has no `/`, is too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if text.len() > 255 || !visible || !text.contains('/') {
            return Err(Error::new(ErrorKind::Invalid, format!("bad content type {text:?}: write it as type/subtype")));
        }
        Ok(if text == Self::TEXT { Self(None) } else { Self(Some(text.into())) })
    }

    /// A content type from the text of one that is not the default.
    pub(crate) fn of_valid(text: &str) -> Self {
        Self(Some(text.into()))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(Self::TEXT)
    }

    /// The `type/subtype` without parameters, in lower case.
    #[must_use]
    pub fn essence(&self) -> String {
        self.as_str().split(';').next().unwrap_or("").trim().to_ascii_lowercase()
    }

    /// Whether it is a JSON type: `application/json`, or one like `application/geo+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let Some(text) = &self.0 else { return false };
        text.contains("json") && (self.essence() == Self::JSON || self.essence().ends_with("+json"))
    }

    /// Whether it marks a value that a layer has stored in another form, as by compression or encryption. The same value
    /// may have several such forms.
    #[must_use]
    pub fn is_of_a_layer(&self) -> bool {
        self.0.as_ref().is_some_and(|text| text.starts_with(Self::LAYER_PREFIX))
    }

    /// Whether it is the default, plain text in UTF-8. Stores leave it out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
