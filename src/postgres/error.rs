//! Errors of the PostgreSQL server: what they mean for the caller, and whether another attempt can succeed.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use tokio::time::Instant;
use tokio_postgres::Error as ServerError;
use tokio_postgres::error::SqlState;

use crate::model::{Error, ErrorKind};

/// A failed request to the server.
#[derive(Debug)]
pub(crate) struct PgError {
    /// The error for the caller if there is no other attempt.
    pub(crate) error: Error,
    /// Whether nothing was done and another attempt may succeed.
    pub(crate) is_retryable: bool,
    /// The reason, if the store handles it in a special way.
    pub(crate) reason: Option<Reason>,
}

/// A reason for a failure that the store handles in a special way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// The tables do not exist.
    NoTable,
    /// The bucket has no partition.
    NoPartition,
    /// The database cannot hold every key.
    Encoding,
    /// The role lacks a privilege.
    NotPermitted,
    /// The session may not write: a standby, or a setting of the role or the database.
    ReadOnly,
    /// Another transaction held a lock for longer than `lock_timeout`.
    LockTimeout,
    /// The statement took longer than `statement_timeout`.
    StatementTimeout,
    /// The server could not reach a node of its cluster.
    NodeDown,
    /// The server did not respond, not even with the end of `statement_timeout`.
    NoResponse,
}

impl From<Error> for PgError {
    /// An error that kvs itself found. Another attempt finds the same.
    fn from(error: Error) -> Self {
        Self { error, is_retryable: false, reason: None }
    }
}

impl PgError {
    /// No connection could be made. Nothing was sent.
    pub(crate) fn connect(source: PoolError) -> Self {
        match source {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::classify(error, "cannot connect to PostgreSQL")
            }
            // Only the check of the encoding has a message of its own.
            PoolError::PostCreateHook(HookError::Message(text)) => {
                Self { reason: Some(Reason::Encoding), ..Error::new(ErrorKind::Corrupt, text).into() }
            }
            other => Error::new(ErrorKind::Unavailable, "cannot connect to PostgreSQL").with_source(other).into(),
        }
    }

    /// A statement failed, and nothing was committed.
    pub(crate) fn query(source: ServerError) -> Self {
        Self::classify(source, "the query to PostgreSQL failed")
    }

    fn classify(source: ServerError, failed: &'static str) -> Self {
        if let Some(code) = source.code().cloned() {
            return Self::from_code(&code, source);
        }
        let is_lost = source.is_closed() || source.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        let (kind, text) = if is_lost {
            (ErrorKind::Busy, "PostgreSQL cannot be reached; try again")
        } else {
            (ErrorKind::Unavailable, failed)
        };
        Self { error: Error::new(kind, text).with_source(message(source)), is_retryable: is_lost, reason: None }
    }

    /// A statement that commits failed. If the server refused it, nothing was stored. If the connection was lost,
    /// nobody knows.
    pub(crate) fn commit(source: ServerError) -> Self {
        // A pooler in between may have sent the code: class 08 and 40003 do not say whether the commit was done.
        let is_outcome_unknown = |code: &SqlState| code.code().starts_with("08") || code.code() == "40003";
        let code = source.code().cloned();
        if let Some(code) = code.as_ref().filter(|code| !is_outcome_unknown(code)) {
            return Self::from_code(code, source);
        }
        let text = "the connection to PostgreSQL was lost during the commit; the write may have been stored, so read \
                    the key before you write again";
        let error = Error::new(ErrorKind::Unavailable, text).with_source(message(source));
        Self { reason: code.and_then(|code| reason(&code)), ..error.into() }
    }

    /// The server did not respond to a query in this time.
    pub(crate) fn no_response(limit: Duration) -> Self {
        let text = format!(
            "PostgreSQL did not respond within {limit:?} (statement_timeout and lock_timeout); nothing was done, try again"
        );
        Self { reason: Some(Reason::NoResponse), ..Error::new(ErrorKind::Busy, text).into() }
    }

    /// The server did not respond to a commit in this time: it hangs, or waits for a standby.
    pub(crate) fn no_response_to_commit(limit: Duration) -> Self {
        let text = format!(
            "PostgreSQL did not respond to the commit within {limit:?} (statement_timeout and lock_timeout); the \
             write may have been stored, so read the key before you write again"
        );
        Self { reason: Some(Reason::NoResponse), ..Error::new(ErrorKind::Unavailable, text).into() }
    }

    /// The server refused the statement and rolled back the transaction.
    fn from_code(code: &SqlState, source: ServerError) -> Self {
        let (kind, text, is_retryable) = match code.code() {
            "40001" | "40P01" => {
                (ErrorKind::Busy, "serialization conflict or deadlock with another transaction; try again", true)
            }
            "25006" => (ErrorKind::Busy, "the PostgreSQL server is read-only (a standby?); try again", true),
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
                (ErrorKind::Busy, "PostgreSQL is stopping or starting; try again", true)
            }
            "53300" => {
                let text = "PostgreSQL has no connection slot left; try again, or set a smaller pool_size";
                (ErrorKind::Busy, text, true)
            }
            "57014" => (ErrorKind::Busy, "the statement took longer than statement_timeout; nothing was done", false),
            "55P03" => {
                let text = "another transaction held a lock for longer than lock_timeout; nothing was done, try again";
                (ErrorKind::Busy, text, false)
            }
            "53100" => (ErrorKind::StorageFull, "the disk of the PostgreSQL server is full", false),
            "XX001" | "XX002" => (ErrorKind::Corrupt, "PostgreSQL reports that its data is corrupt", false),
            "42501" => {
                (ErrorKind::PermissionDenied, "PostgreSQL denied permission to this user; nothing was stored", false)
            }
            "28P01" | "28000" => (ErrorKind::Unavailable, "authentication to PostgreSQL failed for this user", false),
            "3D000" => (ErrorKind::Unavailable, "there is no such database; create it with createdb", false),
            // A plan of a table that was changed later. A new connection has no plans.
            "0A000" => {
                let is_stale_plan = source.to_string().contains("cached plan");
                (ErrorKind::Unavailable, "PostgreSQL rejected the statement", is_stale_plan)
            }
            class if class.starts_with("08") => {
                (ErrorKind::Busy, "the connection to PostgreSQL was lost; try again", true)
            }
            _ => (ErrorKind::Unavailable, "PostgreSQL rejected the statement", false),
        };
        Self { error: Error::new(kind, text).with_source(message(source)), is_retryable, reason: reason(code) }
    }

    /// The same failure with another text, which names a limit. The message of the server stays.
    pub(crate) fn with_text(self, text: String) -> Self {
        let error = Error::new(self.error.kind(), text);
        let error = match self.error.source() {
            Some(source) => error.with_source(source.to_string()),
            None => error,
        };
        Self { error, ..self }
    }
}

fn reason(code: &SqlState) -> Option<Reason> {
    match code.code() {
        "42P01" | "3F000" => Some(Reason::NoTable),
        "23514" => Some(Reason::NoPartition),
        "42501" => Some(Reason::NotPermitted),
        "25006" => Some(Reason::ReadOnly),
        "55P03" => Some(Reason::LockTimeout),
        "57014" => Some(Reason::StatementTimeout),
        class if class.starts_with("08") => Some(Reason::NodeDown),
        _ => None,
    }
}

/// The message of a server without its details, which may contain stored data.
fn message(source: ServerError) -> Box<dyn std::error::Error + Send + Sync> {
    match source.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()).into(),
        None => Box::new(source),
    }
}

/// Counts the attempts of one operation and waits between them.
#[derive(Debug)]
pub(crate) struct Retry {
    attempts: u32,
    started: Instant,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 0, started: Instant::now() }
    }
}

impl Retry {
    /// The pauses between all attempts add up to less than 1.5 s.
    const MAX_ATTEMPTS: u32 = 6;
    /// No attempt starts later than this: a server that does not respond takes its time at each.
    const MAX_ELAPSED: Duration = Duration::from_secs(5);

    /// Waits and returns `true` if another attempt can succeed; returns `false` at once if not.
    pub(crate) async fn wait(&mut self, error: &PgError) -> bool {
        self.attempts += 1;
        if !error.is_retryable || self.attempts >= Self::MAX_ATTEMPTS || self.started.elapsed() >= Self::MAX_ELAPSED {
            return false;
        }
        // The second attempt comes at once: a stale connection has been replaced, and a deadlock is over.
        if self.attempts > 1 {
            tokio::time::sleep(Duration::from_millis(10 << (2 * (self.attempts - 2)).min(9))).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_end_after_the_maximum_and_within_the_documented_time() {
        let started = Instant::now();
        let error = PgError { error: Error::new(ErrorKind::Busy, "x"), is_retryable: true, reason: None };
        let mut retry = Retry::default();
        let mut attempts = 1;
        while retry.wait(&error).await {
            attempts += 1;
        }
        assert_eq!(attempts, Retry::MAX_ATTEMPTS);
        assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        let permanent = PgError { is_retryable: false, ..error };
        assert!(!Retry::default().wait(&permanent).await);
    }

    #[test]
    fn a_new_text_keeps_the_message_of_the_server() {
        let error = Error::new(ErrorKind::Busy, "old").with_source("canceling (SQLSTATE 55P03)");
        let error = PgError { reason: Some(Reason::LockTimeout), ..error.into() }.with_text("new".to_owned());
        assert_eq!(error.error.to_string(), "new: canceling (SQLSTATE 55P03)");
        assert_eq!((error.error.kind(), error.reason), (ErrorKind::Busy, Some(Reason::LockTimeout)));
    }
}
