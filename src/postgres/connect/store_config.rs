//! The configuration of a store, and what is known about its tables.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::ClientWrapper;
use parking_lot::Mutex;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use super::url::{ExpiryPolicy, Url};
use crate::model::{Bucket, Error, ErrorKind, Result};
use crate::postgres::options::PostgresOptions;
use crate::postgres::sql::statements::Statements;

/// After this time the server ends a transaction of ours that is idle, in milliseconds: its client is gone.
const IDLE_IN_TRANSACTION_MILLIS: u64 = 60_000;

/// The most connections of a store at one moment.
const MOMENT_POOL_SIZE: usize = 2;

/// The configuration of a store. All its pools share it.
pub(crate) struct Config {
    pub(crate) url: Url,
    pub(crate) options: PostgresOptions,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) statements: Statements,
    /// Whether the tables were found.
    pub(super) has_tables: AtomicBool,
    /// Whether they are spread over the nodes of a Citus cluster.
    pub(super) is_distributed: AtomicBool,
    /// Buckets of a cluster whose last write broke off, so that nobody knows whether it was done.
    pub(super) broken_off: Mutex<HashSet<Bucket>>,
    /// What is read is as it was at this moment.
    moment: Option<Moment>,
}

/// A moment of the database, for reading. Every connection has a transaction that sees the database as it was then.
struct Moment {
    /// The name of the snapshot, for other connections.
    snapshot: String,
    /// Has the snapshot until it is closed.
    _exporter: ClientWrapper,
}

impl Config {
    pub(crate) fn new(url: Url, options: PostgresOptions) -> Result<Self> {
        let tls = tls::connector(&url.trust)?;
        let statements = Statements::new(&url.names);
        Ok(Self {
            url,
            options,
            tls,
            statements,
            has_tables: AtomicBool::new(false),
            is_distributed: AtomicBool::new(false),
            broken_off: Mutex::default(),
            moment: None,
        })
    }

    /// The same store at the moment of a snapshot that this connection has exported.
    pub(super) fn at_moment(&self, snapshot: String, exporter: ClientWrapper) -> Result<Self> {
        let url = Url { pool_size: MOMENT_POOL_SIZE, expiry: ExpiryPolicy::Never, ..self.url.clone() };
        let config = Self::new(url, self.options.clone())?;
        config.has_tables.store(true, Ordering::Relaxed);
        Ok(Self { moment: Some(Moment { snapshot, _exporter: exporter }), ..config })
    }

    /// Whether nothing can be written, because the store is at one moment.
    pub(crate) fn is_at_one_moment(&self) -> bool {
        self.moment.is_some()
    }

    /// The settings of a new connection: those that it must have, and those that only some servers know.
    pub(super) fn session_settings(&self) -> (String, &'static str) {
        let lock = self.options.lock_timeout.as_millis();
        let statement = self.url.statement_timeout.as_millis();
        let idle = if self.moment.is_some() { 0 } else { IDLE_IN_TRANSACTION_MILLIS };
        let mut required = format!(
            "SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {idle}"
        );
        if let Some(Moment { snapshot, .. }) = &self.moment {
            required += "; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
            required += &format!("; SET TRANSACTION SNAPSHOT '{snapshot}'");
        }
        // Every statement finds its rows by the primary key. A sequential plan that was made for a small table would
        // stay in use after the table has grown.
        (required, "SET enable_seqscan = off; SET jit = off")
    }

    /// Adds the bucket and the server to an error that a person looks into. Errors that clients see stay without a
    /// server.
    pub(crate) fn locate(&self, bucket: &Bucket, error: Error) -> Error {
        self.locate_in(format_args!("bucket {bucket}"), error)
    }

    /// Like [`Config::locate`], for an operation on something else than one bucket.
    pub(crate) fn locate_in(&self, what: impl Display, error: Error) -> Error {
        match error.kind() {
            kind @ (ErrorKind::Busy | ErrorKind::Unavailable) => {
                Error::new(kind, format!("{what} on {}", self.url.location())).with_source(error)
            }
            _ => error,
        }
    }
}
