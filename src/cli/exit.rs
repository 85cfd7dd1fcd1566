//! Errors of commands and their exit codes. No other file knows exit codes.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::stderr::say;
use crate::model::Error;

/// The result of a command.
pub(crate) type CliResult<T = ()> = std::result::Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or settings are wrong: exit code 2.
    Usage(String),
    /// The parser ended the program, with its own text: an error (standard error, exit code 2), or help or the version
    /// (standard output, exit code 0).
    Clap(Box<clap::Error>),
    /// The work failed: exit code 1.
    Failed(String),
    /// The work failed and the error is already printed: exit code 1.
    AlreadyReported,
    /// The reader of standard output has closed it: nothing to print, exit code 0.
    BrokenPipe,
}

impl Failure {
    /// An error on a file of the user; `doing` completes "cannot".
    pub(crate) fn file(doing: &str, path: &Path, source: &io::Error) -> Self {
        Self::Failed(format!("cannot {doing} {}: {source}", path.display()))
    }

    /// An error on standard output.
    pub(crate) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Failed(format!("cannot write to standard output: {error}"))
        }
    }

    /// Prints the error now, so that the work can go on.
    pub(crate) fn report_now(self) -> Self {
        let _ = self.report();
        Self::AlreadyReported
    }

    /// Prints the error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                say(&format!("kvs: {text}"));
                ExitCode::from(2)
            }
            Self::Clap(error) if error.use_stderr() => {
                // If standard error is closed, nothing can be done.
                let _ = error.print();
                ExitCode::from(2)
            }
            Self::Clap(error) => match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => Self::stdout(error).report(),
            },
            Self::Failed(text) => {
                say(&format!("kvs: {text}"));
                ExitCode::from(1)
            }
            Self::AlreadyReported => ExitCode::from(1),
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }

    /// The text for a log.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Failed(text) => text,
            Self::Clap(_) => "the settings cannot be read",
            Self::AlreadyReported | Self::BrokenPipe => "stopped",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_not_a_failure() {
        assert!(matches!(Failure::stdout(io::ErrorKind::BrokenPipe.into()), Failure::BrokenPipe));
        assert!(matches!(Failure::stdout(io::ErrorKind::StorageFull.into()), Failure::Failed(_)));
    }
}
