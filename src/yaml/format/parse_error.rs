//! Errors in a text, with the line and what to do.

use std::fmt;

/// The kind of an error, for advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ParseErrorKind {
    /// The text is not YAML. The message begins with [`INVALID_YAML`].
    InvalidYaml,
    /// The text is not a valid key.
    InvalidKey,
    /// An entry has no field of this name.
    UnknownField(String),
    /// An entry has fields, but not `value`, `base64` or `json`.
    MissingValue,
    Other,
}

/// The beginning of the message of [`ParseErrorKind::InvalidYaml`], before the message of the YAML parser.
pub(crate) const INVALID_YAML: &str = "invalid YAML: ";

/// An error in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ParseError {
    /// From 1; 0 for the file as a whole.
    pub(crate) line: u64,
    pub(crate) kind: ParseErrorKind,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

impl ParseError {
    pub(crate) fn new(line: u64, text: impl Into<String>) -> Self {
        Self { line, kind: ParseErrorKind::Other, text: text.into() }
    }

    /// The error of a text that is not YAML, with the message of the YAML parser.
    pub(crate) fn invalid_yaml(line: u64, message: impl fmt::Display) -> Self {
        Self { line, kind: ParseErrorKind::InvalidYaml, text: format!("{INVALID_YAML}{message}") }
    }

    pub(crate) fn of_kind(self, kind: ParseErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The message, after the name of the file and the line.
    pub(crate) fn of(&self, file: impl fmt::Display) -> String {
        match self.line {
            0 => format!("{file}: {}", self.text),
            line => format!("{file}, line {line}: {}", self.text),
        }
    }
}
