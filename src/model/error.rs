//! The one error type: its kind says what the caller can do, its text what failed, and it keeps its cause.

use std::borrow::Cow;
use std::fmt;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong; correct it.
    Invalid,
    /// The value exceeds the limit of the store.
    TooLarge,
    /// Others are using the store; nothing was done, try again shortly.
    Busy,
    /// The storage is full; try again when there is room.
    StorageFull,
    /// The system denies the store access to its data; nothing was done, and a person must grant it.
    PermissionDenied,
    /// The stored data cannot be read or trusted, so writes are refused; a person must repair it.
    Corrupt,
    /// The operating system or another server failed; a write may or may not have been done.
    Unavailable,
}

impl ErrorKind {
    /// The names of the kinds in metrics and in JSON.
    #[cfg(feature = "remote")]
    pub(crate) const NAMES: [(Self, &'static str); 7] = [
        (Self::Invalid, "invalid"),
        (Self::TooLarge, "too_large"),
        (Self::Busy, "busy"),
        (Self::StorageFull, "full"),
        (Self::PermissionDenied, "permission_denied"),
        (Self::Corrupt, "damaged"),
        (Self::Unavailable, "failed"),
    ];
}

/// An error: a kind, a text and, if another error caused it, that error.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    text: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without a cause. `text` says what failed, on what, and what to do.
    pub fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An I/O error. `doing` says what failed. A full disk and missing permissions have kinds of their own; everything
    /// else is `Unavailable`.
    pub fn io(doing: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kind = match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => ErrorKind::StorageFull,
            PermissionDenied | ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, doing).with_source(source)
    }

    /// The same error with another kind.
    #[must_use]
    pub fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed if it is repeated shortly. Nothing was done.
    ///
    /// ```
    /// use kvs::model::{Error, ErrorKind};
    ///
    /// assert!(Error::new(ErrorKind::Busy, "another process holds the store; try again").is_retryable());
    /// assert!(!Error::new(ErrorKind::StorageFull, "the disk is full").is_retryable());
    /// assert!(!Error::new(ErrorKind::Unavailable, "the connection was lost").is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Busy
    }

    /// Whether the call itself is wrong, so that repeating it is useless. Nothing was done.
    ///
    /// ```
    /// use kvs::model::Key;
    ///
    /// assert!(Key::new("").unwrap_err().is_invalid());
    /// ```
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, ErrorKind::Invalid | ErrorKind::TooLarge)
    }

    /// Whether a write that failed with this error may have been done nevertheless. Read before you write again, unless
    /// writing twice does no harm.
    ///
    /// ```
    /// use kvs::model::{Error, ErrorKind};
    ///
    /// assert!(Error::new(ErrorKind::Unavailable, "the connection was lost").is_outcome_unknown());
    /// assert!(!Error::new(ErrorKind::Busy, "another process holds the store; try again").is_outcome_unknown());
    /// ```
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// A copy with the same kind and text, for callers that share one outcome. The cause is only in the text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::new(self.kind, self.to_string())
    }
}

impl fmt::Display for Error {
    /// The text, then each cause after a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.text.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors, this type among them, have their causes in their own text.
            if !format!(": {all}: ").contains(&format!(": {text}: ")) {
                all = format!("{all}: {text}");
            }
            cause = error.source();
        }
        f.write_str(&all)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_printed_once() {
        let error = |text: &'static str| Error::new(ErrorKind::Unavailable, text);
        let third = || error("the read failed").with_source(error("the disk failed").with_source("sector 7"));
        let text = "bucket a: the read failed: the disk failed: sector 7";
        assert_eq!(error("bucket a").with_source(third()).to_string(), text);
        assert_eq!(error("bucket a").with_source(std::io::Error::other(third())).to_string(), text);
        assert_eq!(error("bucket a").with_source(third().to_string()).to_string(), text);
    }

    #[test]
    fn a_cause_that_is_a_part_of_a_word_is_printed() {
        let error = Error::new(ErrorKind::Busy, "the read failed").with_source("read");
        assert_eq!(error.to_string(), "the read failed: read");
    }
}
