//! The connections of one runtime to the server, and how a failed statement is repeated.
//!
//! A connection belongs to the runtime that made it and makes no progress without it. Blocking clients have one runtime
//! each, and none may wait for the runtime of another, so runtimes do not share a pool.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::{
    Client, ClientWrapper, Hook, HookError, Manager, ManagerConfig, PoolError, QueueMode, RecyclingMethod, TimeoutType,
    Transaction,
};
use futures_util::future::join3;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::store_config::Config;
use super::url::{CONNECT_TIMEOUT, Url};
use super::{encoding, permission};
use crate::model::{Bucket, Error, ErrorKind, Result, Time};
use crate::postgres::error::{PgError, Reason, Retry};
use crate::postgres::options::PostgresOptions;
use crate::postgres::sql::schema::TableNames;
use crate::postgres::sql::statements::Statements;

/// The connections of one runtime. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    config: Arc<Config>,
    connections: deadpool_postgres::Pool,
}

impl Pool {
    pub(crate) fn new(config: Arc<Config>) -> Result<Self> {
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.url.client.clone(), config.tls.clone(), manager_config);
        let (required, optional) = config.session_settings();
        let set_up = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let required = required.clone();
            Box::pin(async move {
                let encoding = client.simple_query(encoding::QUERY);
                let (set, encoding, _) =
                    join3(client.batch_execute(&required), encoding, client.batch_execute(optional)).await;
                set.map_err(HookError::Backend)?;
                match encoding.ok().and_then(|response| encoding::error_of(&response)) {
                    Some(text) => Err(HookError::message(text)),
                    None => Ok(()),
                }
            })
        });
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(config.url.pool_size)
            .post_create(set_up)
            // The connection that was used last has the most prepared statements.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(config.options.lock_timeout))
            .create_timeout(Some(3 * CONNECT_TIMEOUT))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|e| Error::new(ErrorKind::Unavailable, "cannot create the connection pool").with_source(e))?;
        Ok(Self { config, connections })
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) fn url(&self) -> &Url {
        &self.config.url
    }

    pub(crate) fn names(&self) -> &TableNames {
        &self.config.url.names
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.config.options
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.config.statements
    }

    pub(crate) fn now(&self) -> Time {
        self.config.options.clock.now()
    }

    /// A connection to a server on which the tables exist.
    pub(crate) async fn client(&self) -> Result<Client, PgError> {
        let client = self.connection().await?;
        if !self.config.has_tables.load(Ordering::Relaxed) {
            self.find_or_create_tables(&client).await?;
            self.find_distribution(&client).await?;
            self.config.has_tables.store(true, Ordering::Relaxed);
        }
        Ok(client)
    }

    /// A connection, whether the tables exist or not.
    pub(crate) async fn connection(&self) -> Result<Client, PgError> {
        self.connections.get().await.map_err(|error| {
            let text = match error {
                PoolError::Timeout(TimeoutType::Wait) => format!(
                    "none of {1} connections (pool_size) to PostgreSQL was free within {0:?} (lock_timeout); try \
                     again, or set a larger pool_size",
                    self.options().lock_timeout,
                    self.url().pool_size
                ),
                PoolError::Timeout(_) => {
                    format!("PostgreSQL accepted no connection within {:?}; try again", 3 * CONNECT_TIMEOUT)
                }
                other => return PgError::connect(other),
            };
            Error::new(ErrorKind::Busy, text).into()
        })
    }

    /// Waits for the server, but not for ever. It ends a statement itself after `lock_timeout` and `statement_timeout`,
    /// unless it hangs, or waits for a lost standby.
    ///
    /// # Errors
    /// `late` with reason `NoResponse`: the connection must be discarded.
    pub(crate) async fn response<T>(
        &self,
        response: impl Future<Output = Result<T, PgError>>,
        late: fn(Duration) -> PgError,
    ) -> Result<T, PgError> {
        let statement = self.url().statement_timeout;
        if statement.is_zero() {
            return response.await;
        }
        let limit = statement + self.options().lock_timeout;
        timeout(limit, response).await.unwrap_or_else(|_| {
            // The idle connections go to the same server.
            self.connections.retain(|_, _| false);
            Err(late(limit))
        })
    }

    /// The rows of a statement. It is prepared, and repeated if the connection is lost.
    pub(crate) async fn query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut retry = Retry::default();
        loop {
            match self.try_query(statement, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(error) => self.retry(&mut retry, error).await?,
            }
        }
    }

    async fn try_query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        let client = self.client().await?;
        let rows = async {
            let prepared = client.prepare_cached(statement).await.map_err(PgError::query)?;
            client.query(&prepared, parameters).await.map_err(PgError::query)
        };
        let rows = self.response(rows, PgError::no_response).await;
        discard_if_late(client, &rows);
        rows
    }

    /// Returns when the operation can be tried again. If the tables were dropped, the next attempt creates them.
    ///
    /// # Errors
    /// The error itself, explained, if there is no other attempt.
    pub(crate) async fn retry(&self, retry: &mut Retry, error: PgError) -> Result<()> {
        let mut error = self.explain(error).await;
        if error.reason == Some(Reason::NoTable) {
            self.config.has_tables.store(false, Ordering::Relaxed);
            error.is_retryable = true;
        }
        if retry.wait(&error).await { Ok(()) } else { Err(error.error) }
    }

    /// Adds to an error the limit that was exceeded, or the statement that gives the missing permission.
    pub(crate) async fn explain(&self, error: PgError) -> PgError {
        match error.reason {
            Some(Reason::NotPermitted | Reason::ReadOnly) => match self.connection().await {
                Ok(client) => permission::explain(&client, self.names(), error).await,
                Err(_) => error,
            },
            Some(Reason::LockTimeout) => {
                let limit = self.options().lock_timeout;
                error.with_text(format!(
                    "another transaction held the lock for {limit:?} (lock_timeout); nothing was done, try again"
                ))
            }
            Some(Reason::StatementTimeout) => {
                let limit = self.url().statement_timeout;
                error.with_text(format!(
                    "the statement took longer than {limit:?} (statement_timeout); nothing was done"
                ))
            }
            _ => error,
        }
    }

    /// Whether the tables are spread over the nodes of a Citus cluster.
    pub(crate) fn is_distributed(&self) -> bool {
        self.config.is_distributed.load(Ordering::Relaxed)
    }

    /// Whether a single statement may write to the bucket. If the node of the bucket is down, only a transaction shows
    /// that nothing was done: it first reads.
    pub(crate) fn may_write_at_once(&self, bucket: &Bucket) -> bool {
        !self.is_distributed() || !self.config.broken_off.lock().contains(bucket)
    }

    /// Remembers whether the last write to the bucket broke off.
    pub(crate) fn set_broken_off(&self, bucket: &Bucket, is_broken_off: bool) {
        if self.is_distributed() {
            let mut buckets = self.config.broken_off.lock();
            if is_broken_off {
                buckets.insert(bucket.clone());
            } else {
                buckets.remove(bucket);
            }
        }
    }

    /// The configuration of the same store as it is now, for reading.
    ///
    /// # Errors
    /// `Invalid` on a cluster, whose nodes have no common moment.
    pub(crate) async fn at_one_moment(&self) -> Result<Config, PgError> {
        let client = self.client().await?;
        if self.is_distributed() {
            let text = "the tables are spread over the nodes of a cluster, which have no common moment";
            return Err(Error::new(ErrorKind::Invalid, text).into());
        }
        // Not back to the pool.
        let exporter = deadpool_postgres::Object::take(client);
        let begin = "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        exporter.batch_execute(begin).await.map_err(PgError::query)?;
        let row = exporter.query_one("SELECT pg_export_snapshot()", &[]).await.map_err(PgError::query)?;
        let snapshot = row.try_get(0).map_err(PgError::query)?;
        Ok(self.config.at_moment(snapshot, exporter)?)
    }

    async fn find_distribution(&self, client: &Client) -> Result<(), PgError> {
        let statements = &self.statements().distributed;
        let is_true = async |text: &str| -> Result<bool, PgError> {
            let row = client.query_one(text, &[]).await.map_err(PgError::query)?;
            row.try_get(0).map_err(PgError::query)
        };
        let found =
            if is_true(&statements.find_cluster).await? { Some(is_true(&statements.find).await?) } else { None };
        self.config.is_distributed.store(found == Some(true), Ordering::Relaxed);
        if found == Some(false) {
            tracing::warn!(
                "{}: the server is a node of a Citus cluster, but the tables of kvs are on this node only; `kvs store \
                 init --distributed` spreads them",
                self.url().location()
            );
        }
        Ok(())
    }

    /// Begins a transaction. Each statement of it sees what was committed when it began. So a statement after a lock
    /// reads the current rows.
    pub(crate) fn begin(&self) -> Cow<'static, str> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
        match self.lock_timeout_of_nodes() {
            Some(set) => format!("{BEGIN}; {set}").into(),
            None => BEGIN.into(),
        }
    }

    /// The same as [`Pool::begin`], rolled back when it is dropped.
    pub(crate) async fn transaction<'a>(&self, client: &'a mut Client) -> Result<Transaction<'a>, PgError> {
        let transaction = client.transaction().await.map_err(PgError::query)?;
        if let Some(set) = self.lock_timeout_of_nodes() {
            transaction.batch_execute(&set).await.map_err(PgError::query)?;
        }
        Ok(transaction)
    }

    /// Sets the lock timeout of a transaction on the nodes of a cluster, which do not get the settings of the session.
    fn lock_timeout_of_nodes(&self) -> Option<String> {
        let millis = self.options().lock_timeout.as_millis();
        self.is_distributed()
            .then(|| format!("SET LOCAL citus.propagate_set_commands TO 'local'; SET LOCAL lock_timeout = {millis}"))
    }

    async fn find_or_create_tables(&self, client: &Client) -> Result<(), PgError> {
        let find = &self.statements().find_tables;
        let Err(error) = client.batch_execute(find).await else { return Ok(()) };
        let error = PgError::query(error);
        if error.reason != Some(Reason::NoTable) {
            return Err(error);
        }
        let (names, options) = (self.names(), self.url().table_options);
        let sql = names.create_tables_exclusively(&names.create_tables(options));
        let created = client.batch_execute(&sql).await.map_err(PgError::query);
        if created.is_err() {
            let _ = client.batch_execute("ROLLBACK").await;
        }
        // If another process created them at the same time, our attempt failed but the tables exist.
        match (client.batch_execute(find).await, created) {
            (Ok(()), _) => Ok(()),
            // Another process is creating them, or an index over many entries.
            (Err(_), Err(error)) if error.reason == Some(Reason::LockTimeout) => Err(error),
            (Err(_), Err(PgError { error: cause, .. })) => {
                let text = "cannot create the tables, or those that this version of kvs needs in addition; ask the \
                            owner of the tables, or a user who may create tables, to run `kvs store init`";
                Err(Error::new(cause.kind(), text).with_source(cause).into())
            }
            (Err(error), Ok(())) => Err(PgError::query(error)),
        }
    }
}

/// Closes the connection after an error. If only a node of the cluster could not be reached, the connection returns to the
/// pool: a new one costs much, and does not reach the node either.
pub(crate) async fn give_up(client: Client, reason: Option<Reason>) {
    let is_usable = reason == Some(Reason::NodeDown)
        && matches!(timeout(CONNECT_TIMEOUT, client.batch_execute("ROLLBACK")).await, Ok(Ok(())));
    if !is_usable {
        discard(client);
    }
}

/// Closes the connection if the server did not respond in time. Otherwise it returns to the pool.
pub(crate) fn discard_if_late<T>(client: Client, result: &Result<T, PgError>) {
    if result.as_ref().is_err_and(|error| error.reason == Some(Reason::NoResponse)) {
        discard(client);
    }
}

/// Closes the connection instead of returning it to the pool. The server rolls back an open transaction.
pub(crate) fn discard(client: Client) {
    drop(deadpool_postgres::Object::take(client));
}
