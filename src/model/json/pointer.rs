//! JSON Pointers (RFC 6901).

use std::fmt;
use std::str::FromStr;

use super::json_error::JsonError;

/// The path of a part of a JSON document: `/rooms/0/name`. The empty path is the whole document. In a name, `~1` is a
/// slash and `~0` a tilde.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// How many names and indexes a path may have. It bounds the recursion over a document.
    pub const MAX_TOKENS: usize = 128;

    /// The names and indexes, unescaped.
    pub(super) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Whether it is the whole document.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether `other` is a part of what this path names, and not the same.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.tokens.len() < other.tokens.len() && other.tokens.starts_with(&self.tokens)
    }
}

impl FromStr for Pointer {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, JsonError> {
        let invalid = |why: &str| JsonError::Invalid(format!("bad path {}: {why}", shortened(text)));
        let Some(rest) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(Self::default()),
                _ => Err(invalid("a JSON Pointer begins with /, as in /rooms/0/name")),
            };
        };
        let mut tokens = vec![];
        for escaped in rest.split('/') {
            if escaped.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
                return Err(invalid("write ~0 for ~ and ~1 for / in a name"));
            }
            tokens.push(escaped.replace("~1", "/").replace("~0", "~"));
        }
        if tokens.len() > Self::MAX_TOKENS {
            return Err(invalid(&format!(
                "it has {} parts, and at most {} are allowed",
                tokens.len(),
                Self::MAX_TOKENS
            )));
        }
        Ok(Self { text: text.to_owned(), tokens })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The beginning of a text, quoted, for an error.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 80;
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
