//! What went wrong with the server, what that means for the caller, and whether another attempt makes sense.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use tokio::time::Instant;
use tokio_postgres::Error as ServerError;
use tokio_postgres::error::SqlState;

use crate::model::{Error, Kind};

/// A failure to get something from the server.
#[derive(Debug)]
pub(super) struct Fault {
    /// What to tell the caller if no other attempt is made.
    pub(super) error: Error,
    /// Whether nothing was done and another attempt may well succeed.
    pub(super) again: bool,
    /// Why, if it is one of the reasons that are treated in their own way.
    pub(super) reason: Option<Reason>,
}

/// A reason for a failure that is treated in its own way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The tables are not there.
    NoTable,
    /// The partition of the bucket is not there.
    NoPartition,
    /// The database cannot hold every key.
    Encoding,
    /// The role lacks a privilege.
    NotPermitted,
    /// It takes no writes: a standby, or set so for the role or the database.
    ReadOnly,
}

impl From<Error> for Fault {
    /// What is our own finding does not change by another attempt.
    fn from(error: Error) -> Self {
        Self { error, again: false, reason: None }
    }
}

impl Fault {
    /// No connection could be had. Nothing was sent.
    pub(super) fn connecting(source: PoolError) -> Self {
        match source {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => Self::before(error),
            PoolError::Timeout(_) => {
                let text = "PostgreSQL gave no connection in time; try again";
                Self { error: Error::new(Kind::Busy, text), again: false, reason: None }
            }
            // Only the look at the encoding says something of its own.
            PoolError::PostCreateHook(HookError::Message(text)) => {
                Self { error: Error::new(Kind::Damaged, text), again: false, reason: Some(Reason::Encoding) }
            }
            other => {
                let error = Error::new(Kind::Failed, "cannot connect to PostgreSQL").because(other);
                Self { error, again: false, reason: None }
            }
        }
    }

    /// A failure at a time when it is certain that nothing was done, or nothing that matters.
    pub(super) fn before(source: ServerError) -> Self {
        if let Some(code) = source.code().cloned() {
            return Self::answered(&code, source);
        }
        let lost = source.is_closed() || source.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        let kind = if lost { Kind::Busy } else { Kind::Failed };
        let text = if lost { "PostgreSQL cannot be reached; try again" } else { "PostgreSQL could not be asked" };
        Self { error: Error::new(kind, text).because(shown(source)), again: lost, reason: None }
    }

    /// A failure when a commit was under way. What the server refused was not done; if the connection was lost the outcome
    /// is open.
    pub(super) fn committing(source: ServerError) -> Self {
        // A pooler in between may be the one who answers: class 08 and 40003 do not say what became of the commit.
        let is_open = |code: &SqlState| code.code().starts_with("08") || code.code() == "40003";
        if let Some(code) = source.code().filter(|code| !is_open(code)).cloned() {
            return Self::answered(&code, source);
        }
        let text = "the commit is not confirmed: the connection to PostgreSQL was lost; the write may have been done, so read \
                    the key before you write again";
        Self { error: Error::new(Kind::Failed, text).because(shown(source)), again: false, reason: None }
    }

    /// The server refused, and undid what it had begun.
    fn answered(code: &SqlState, source: ServerError) -> Self {
        let (kind, text, again) = match code.code() {
            "40001" | "40P01" => (Kind::Busy, "others wrote the same at the same time; try again", true),
            "25006" => (Kind::Busy, "this PostgreSQL takes no writes at present; try again", true),
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
                (Kind::Busy, "PostgreSQL is stopping or starting; try again", true)
            }
            "53300" => (Kind::Busy, "PostgreSQL has no connection left; try again, or set a smaller pool", true),
            "57014" => (Kind::Busy, "PostgreSQL took longer than statement_timeout; nothing was done", false),
            "55P03" => (Kind::Busy, "others held the bucket for too long; try again", false),
            "53100" => (Kind::Full, "PostgreSQL has no room left", false),
            "XX001" | "XX002" => (Kind::Damaged, "PostgreSQL says that its data are damaged", false),
            "42501" => {
                (Kind::PermissionDenied, "PostgreSQL does not permit it to this user; nothing was stored", false)
            }
            "28P01" | "28000" => (Kind::Failed, "PostgreSQL does not let this user in", false),
            "3D000" => (Kind::Failed, "there is no such database; make it with createdb", false),
            // Plans of tables that have been changed since; a new connection has none.
            "0A000" => (Kind::Failed, "PostgreSQL cannot do it", source.to_string().contains("cached plan")),
            class if class.starts_with("08") => (Kind::Busy, "the connection to PostgreSQL broke; try again", true),
            _ => (Kind::Failed, "PostgreSQL refused", false),
        };
        let reason = match code.code() {
            "42P01" | "3F000" => Some(Reason::NoTable),
            "23514" => Some(Reason::NoPartition),
            "42501" => Some(Reason::NotPermitted),
            "25006" => Some(Reason::ReadOnly),
            _ => None,
        };
        Self { error: Error::new(kind, text).because(shown(source)), again, reason }
    }
}

/// The message of a server without its details, which may show stored data.
fn shown(source: ServerError) -> Box<dyn std::error::Error + Send + Sync> {
    match source.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()).into(),
        None => Box::new(source),
    }
}

/// How often something is tried, and how long is waited in between.
#[derive(Debug)]
pub(super) struct Attempts {
    made: u32,
    begun: Instant,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { made: 0, begun: Instant::now() }
    }
}

impl Attempts {
    /// So many in all; with the pauses between them it takes less than a second and a half until the last.
    const MOST: u32 = 6;
    /// After this none is begun: a server that does not answer takes its time at each.
    const LONGEST: Duration = Duration::from_secs(5);

    /// Waits a little, if another attempt makes sense.
    pub(super) async fn another(&mut self, fault: &Fault) -> bool {
        self.made += 1;
        if !fault.again || self.made >= Self::MOST || self.begun.elapsed() >= Self::LONGEST {
            return false;
        }
        // The first repetition comes at once: a stale connection, or a deadlock, is over.
        if self.made > 1 {
            tokio::time::sleep(Duration::from_millis(10 << (2 * (self.made - 2)).min(9))).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_end_and_take_no_longer_than_said() {
        let begun = tokio::time::Instant::now();
        let fault = Fault { error: Error::new(Kind::Busy, "x"), again: true, reason: None };
        let mut attempts = Attempts::default();
        let mut made = 1;
        while attempts.another(&fault).await {
            made += 1;
        }
        assert_eq!(made, Attempts::MOST);
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
        let hopeless = Fault { again: false, ..fault };
        assert!(!Attempts::default().another(&hopeless).await);
    }
}
