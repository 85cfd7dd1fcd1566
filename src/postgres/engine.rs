//! What one runtime has of a store: its connections, the batches that wait in it, and who waits for changes.
//!
//! A connection lives in the runtime that made it, and stands still with it. So that none has to wait for the runtime of
//! another, as blocking clients have one each, nothing here is shared between runtimes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use deadpool_postgres::{Client, Hook, HookError, Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use futures_util::future::join3;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::encoding;
use super::fault::{Attempts, Fault, Reason};
use super::gather::Gathered;
use super::queue::Queues;
use super::store::{Engines, Options};
use super::url::Url;
use super::wait::Waits;
use crate::model::{Bucket, Error, Kind, Result, Revision};

/// What all runtimes have in common.
pub(super) struct Place {
    pub(super) url: Url,
    pub(super) options: Options,
    pub(super) tls: MakeRustlsConnect,
    pub(super) statements: super::statements::Statements,
    /// Whether the tables have been seen.
    ready: AtomicBool,
}

impl Place {
    pub(super) fn new(url: Url, options: Options) -> Result<Self> {
        let tls = super::tls::connector(&url.trust)?;
        let statements = super::statements::Statements::new(&url.names);
        Ok(Self { url, options, tls, statements, ready: AtomicBool::new(false) })
    }

    /// What a new connection is told: first what must be so, then what only some servers know.
    fn greeting(&self) -> (String, &'static str) {
        let wait = self.options.lock_wait.as_millis();
        let statement = self.url.statement_timeout.as_millis();
        let must = format!(
            "SET statement_timeout = {statement}; SET lock_timeout = {wait}; \
             SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION}"
        );
        // Every statement finds its rows by the primary key. A plan that was made while the table was small and reads all
        // of it would be kept when it has grown.
        (must, "SET enable_seqscan = off; SET jit = off")
    }
}

/// How long a transaction of ours may stand still before the server ends it, in milliseconds: its client is gone.
const IDLE_IN_TRANSACTION: u64 = 60_000;

/// What one runtime has.
pub(super) struct Engine {
    pub(super) place: Arc<Place>,
    /// The runtime.
    pub(super) runtime: Handle,
    pool: Pool,
    pub(super) queues: Queues,
    pub(super) gathered: Gathered,
    pub(super) waits: Arc<Waits>,
    /// Those of all runtimes.
    all: Weak<Engines>,
    /// The task that tells when the runtime ends.
    living: OnceLock<AbortHandle>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(living) = self.living.get() {
            living.abort();
        }
    }
}

impl Engine {
    pub(super) fn new(place: Arc<Place>, runtime: Handle, all: Weak<Engines>) -> Result<Self> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(place.url.config.clone(), place.tls.clone(), config);
        let (must, may) = place.greeting();
        let greet = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let must = must.clone();
            Box::pin(async move {
                let asked = client.simple_query(encoding::QUESTION);
                let (told, asked, _) = join3(client.batch_execute(&must), asked, client.batch_execute(may)).await;
                told.map_err(HookError::Backend)?;
                match asked.ok().and_then(|answer| encoding::unfit(&answer)) {
                    Some(text) => Err(HookError::message(text)),
                    None => Ok(()),
                }
            })
        });
        let wait = Some(place.options.lock_wait);
        let pool = Pool::builder(manager)
            .max_size(place.url.pool)
            .post_create(greet)
            // The one that was used last has the most prepared.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(wait)
            .create_timeout(Some(3 * super::url::CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build();
        let pool = pool.map_err(|e| Error::new(Kind::Failed, "cannot make a pool of connections").because(e))?;
        Ok(Self {
            place,
            runtime,
            pool,
            queues: Queues::default(),
            gathered: Gathered::default(),
            waits: Arc::new(Waits::new()),
            all,
            living: OnceLock::new(),
        })
    }

    /// A connection to a server with the tables.
    pub(super) async fn client(&self) -> Result<Client, Fault> {
        let client = self.connection().await?;
        if !self.place.ready.load(Ordering::Relaxed) {
            self.see_tables(&client).await?;
            self.place.ready.store(true, Ordering::Relaxed);
        }
        Ok(client)
    }

    /// A connection.
    pub(super) async fn connection(&self) -> Result<Client, Fault> {
        self.pool.get().await.map_err(Fault::connecting)
    }

    /// Names the task that is to end with it.
    pub(super) fn lives_with(&self, living: AbortHandle) {
        // There is one caller, who has made it.
        let _ = self.living.set(living);
    }

    /// So many gets are sent at once: half of the connections are left for others.
    pub(super) fn gets_at_once(&self) -> usize {
        self.place.url.pool.div_ceil(2)
    }

    /// Wakes those in this process who wait for a bucket.
    pub(super) fn tell(&self, bucket: &Bucket, revision: Revision) {
        if let Some(all) = self.all.upgrade() {
            all.tell(bucket, revision);
        }
    }

    /// Looks whether the tables are there, and makes them if not.
    async fn see_tables(&self, client: &Client) -> Result<(), Fault> {
        let look = &self.place.statements.look;
        let Err(error) = client.batch_execute(look).await else { return Ok(()) };
        let fault = Fault::before(error);
        if fault.reason != Some(Reason::NoTable) {
            return Err(fault);
        }
        let names = &self.place.url.names;
        let made = client.batch_execute(&names.alone(&names.tables(self.place.url.making))).await;
        if made.is_err() {
            let _ = client.batch_execute("ROLLBACK").await;
        }
        // Whoever made them, they are there now; or the reason why not is told.
        match (client.batch_execute(look).await, made) {
            (Ok(()), _) => Ok(()),
            (Err(_), Err(error)) => {
                let (cause, text) =
                    (Fault::before(error).error, "cannot make the tables; let who may do so run `kvs store init`");
                Err(Error::new(cause.kind(), text).because(cause).into())
            }
            (Err(error), Ok(())) => Err(Fault::before(error)),
        }
    }

    /// Whether to do it again after this fault: waits if that helps, and sees to it that tables which have gone are made
    /// anew.
    pub(super) async fn again(&self, attempts: &mut Attempts, fault: Fault) -> Result<(), Error> {
        let mut fault = self.explained(fault).await;
        if fault.reason == Some(Reason::NoTable) {
            self.place.ready.store(false, Ordering::Relaxed);
            fault.again = true;
        }
        if attempts.another(&fault).await { Ok(()) } else { Err(fault.error) }
    }
}

/// Ends the connection instead of giving it back: whatever was begun on it, the server undoes.
pub(super) fn discard(client: Client) {
    drop(deadpool_postgres::Object::take(client));
}
