//! How a command ends when it does not end well, and the exit codes. No other file knows exit codes.

use std::process::ExitCode;

use super::output::{say, unwritten};
use crate::model::Error;

/// The result of a command.
pub(super) type Done<T = ()> = std::result::Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was typed or set makes no sense: exit code 2.
    Usage(String),
    /// What was typed cannot be read, or asks for help, or for the version. The parser has the words for it: on standard
    /// error with exit code 2, or on standard output with exit code 0.
    Typed(Box<clap::Error>),
    /// It was tried and did not work: exit code 1.
    Failed(String),
    /// It did not work and all has been said already: exit code 1.
    Told,
    /// Whoever read our output has gone: nothing to say, exit code 0.
    Unread,
}

impl Failure {
    /// A failure to do something with a file of the user's.
    pub(super) fn file(doing: &str, path: &std::path::Path, source: &std::io::Error) -> Self {
        Self::Failed(format!("cannot {doing} {}: {source}", path.display()))
    }

    /// Says it at once, so that the work can go on with something else.
    pub(super) fn told(self) -> Self {
        let _ = self.report();
        Self::Told
    }

    /// Says what there is to say on standard error and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                say(&format!("kvs: {text}"));
                ExitCode::from(2)
            }
            Self::Typed(error) if error.use_stderr() => {
                // What cannot be written is lost.
                let _ = error.print();
                ExitCode::from(2)
            }
            Self::Typed(error) => match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => unwritten(error).report(),
            },
            Self::Failed(text) => {
                say(&format!("kvs: {text}"));
                ExitCode::from(1)
            }
            Self::Told => ExitCode::from(1),
            Self::Unread => ExitCode::SUCCESS,
        }
    }

    /// What to write to a log.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Failed(text) => text,
            Self::Typed(_) => "the settings cannot be read",
            Self::Told | Self::Unread => "stopped",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}
