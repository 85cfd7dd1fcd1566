//! The one error type: what the caller can do about it, what was being done, and the source.

use std::borrow::Cow;
use std::fmt;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The request is wrong; correct it.
    Invalid,
    /// The value is larger than the store takes.
    TooLarge,
    /// The store is held by others; try again shortly.
    Busy,
    /// No room; try again once there is some.
    Full,
    /// The system does not let the store write, or read, where its data is; nothing was done, and a person must permit it.
    PermissionDenied,
    /// What is stored cannot be read, or cannot be trusted, so writes are refused; a person must look.
    Damaged,
    /// The operating system or another server failed; the outcome of a write is open.
    Failed,
}

/// An error with what was being done and, if another error caused it, that one.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of our own finding. `text` says what is wrong and what to do.
    pub fn new(kind: Kind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An input or output error met while `doing` something; a full disk and a lack of rights are told from the rest.
    pub fn io(doing: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kind = match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Kind::Full,
            PermissionDenied | ReadOnlyFilesystem => Kind::PermissionDenied,
            _ => Kind::Failed,
        };
        Self::new(kind, doing).because(source)
    }

    /// The same error of another kind.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the same call may well succeed when it is made again shortly. Nothing was done.
    ///
    /// ```
    /// use kvs::model::{Error, Kind};
    ///
    /// assert!(Error::new(Kind::Busy, "others hold the store; try again").is_retryable());
    /// assert!(!Error::new(Kind::Full, "the disk is full").is_retryable());
    /// assert!(!Error::new(Kind::Failed, "the connection was lost").is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == Kind::Busy
    }

    /// Whether the call itself is wrong, so that it fails however often it is made. Nothing was done.
    ///
    /// ```
    /// use kvs::model::Key;
    ///
    /// assert!(Key::new("").unwrap_err().is_invalid());
    /// ```
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid | Kind::TooLarge)
    }

    /// Whether a write that ended with this error may have been done all the same. Read before you write again, unless
    /// writing twice does no harm.
    ///
    /// ```
    /// use kvs::model::{Error, Kind};
    ///
    /// assert!(Error::new(Kind::Failed, "the connection was lost").is_outcome_open());
    /// assert!(!Error::new(Kind::Busy, "others hold the store; try again").is_outcome_open());
    /// ```
    #[must_use]
    pub fn is_outcome_open(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// The same kind and text, for another of those who waited for one outcome.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self::new(self.kind, self.to_string())
    }
}

impl fmt::Display for Error {
    /// What was being done, and each cause behind a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
