//! The store itself, as the contract has it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use super::engine::{Engine, Place};
use super::gather;
use super::queue;
use super::row::column;
use super::url::Url;
use super::wait;
use crate::model::{
    Batch, Bucket, Clock, Error, Key, Kind, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock,
};
use crate::store::{Limits, Report, Store, Task};

/// How a store is used.
#[derive(Clone)]
pub struct Options {
    /// What it takes.
    pub limits: Limits,
    /// How long to wait for a connection of the pool, and for a bucket that another process holds.
    pub lock_wait: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    /// Values of 1 MiB, 5 s for a connection or a lock, the clock of the machine.
    fn default() -> Self {
        Self { limits: Limits::default(), lock_wait: Duration::from_secs(5), clock: Arc::new(SystemClock) }
    }
}

/// Two tables of a PostgreSQL database. Clones share the connections; processes share the tables.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    place: Arc<Place>,
    engines: Arc<Engines>,
}

/// What each runtime has of the store.
#[derive(Default)]
pub(super) struct Engines(Mutex<HashMap<Id, Arc<Engine>>>);

/// Is held by a task of a runtime, and so dropped with it: its connections are of no more use to anybody.
struct Home {
    engines: Weak<Engines>,
    runtime: Id,
}

impl Drop for Home {
    fn drop(&mut self) {
        let engine = self.engines.upgrade().and_then(|engines| engines.0.lock().remove(&self.runtime));
        // Not under the lock.
        drop(engine);
    }
}

impl Engines {
    /// Wakes those who wait for a bucket, in whatever runtime.
    pub(super) fn tell(&self, bucket: &Bucket, revision: Revision) {
        for engine in self.0.lock().values() {
            engine.waits.tell(bucket, revision);
        }
    }
}

impl PostgresStore {
    /// The store at a URL such as `postgresql://user@host/database?table=kvs`. Nothing is asked of the server yet; the
    /// tables are made when they are used first and not there.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong; it tells what, and never the password.
    pub fn open(url: &str, options: Options) -> Result<Self> {
        let place = Arc::new(Place::new(Url::parse(url)?, options)?);
        Ok(Self { shared: Arc::new(Shared { place, engines: Arc::default() }) })
    }

    /// The statements that make the tables, and with `distributed` spread them over a cluster of Citus.
    #[must_use]
    pub fn sql(&self, distributed: bool) -> String {
        let url = &self.shared.place.url;
        let mut sql = url.names.tables(url.making);
        if distributed {
            sql += &url.names.distribution();
        }
        sql
    }

    /// Makes the tables, and with `distributed` spreads them over a cluster of Citus. What is there already stays.
    ///
    /// # Errors
    /// `PermissionDenied` if the server does not permit it, `Failed` if, with `distributed`, it has no Citus.
    pub async fn init(&self, distributed: bool) -> Result<()> {
        let client = self.engine()?.connection().await.map_err(|fault| fault.error)?;
        let made = client.batch_execute(&self.shared.place.url.names.alone(&self.sql(distributed))).await;
        made.map_err(|error| {
            super::engine::discard(client);
            let what = if distributed { "cannot make and distribute the tables" } else { "cannot make the tables" };
            let cause = super::fault::Fault::before(error).error;
            Error::new(cause.kind(), what).because(cause)
        })
    }

    /// Whether the tables are there. Unlike all else this does not make them.
    ///
    /// # Errors
    /// Those of reaching the server.
    pub async fn is_made(&self) -> Result<bool> {
        let client = self.engine()?.connection().await.map_err(|fault| fault.error)?;
        let looked = client.batch_execute(&self.shared.place.statements.look).await;
        match looked.map_err(super::fault::Fault::before) {
            Ok(()) => Ok(true),
            Err(fault) if fault.reason == Some(super::fault::Reason::NoTable) => Ok(false),
            Err(fault) => Err(fault.error),
        }
    }

    /// Refuses a database that cannot hold every key, for who wants to know it at once. If no server answers soon, nothing
    /// is refused; every new connection is looked at anyway.
    ///
    /// # Errors
    /// `Damaged` if the encoding of the database is not UTF8 (or `SQL_ASCII`).
    pub async fn check_encoding(&self) -> Result<()> {
        let engine = self.engine()?;
        match tokio::time::timeout(super::url::CONNECT_TIMEOUT, engine.connection()).await {
            Ok(Err(fault)) if fault.reason == Some(super::fault::Reason::Encoding) => Err(fault.error),
            Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
        }
    }

    /// What the runtime that we are in has of the store.
    fn engine(&self) -> Result<Arc<Engine>> {
        let here = Handle::try_current();
        let here =
            here.map_err(|e| Error::new(Kind::Failed, "PostgreSQL is reached from within a runtime only").because(e))?;
        let all = Arc::downgrade(&self.shared.engines);
        let engine = {
            let mut engines = self.shared.engines.0.lock();
            if let Some(engine) = engines.get(&here.id()) {
                return Ok(Arc::clone(engine));
            }
            let engine = Arc::new(Engine::new(Arc::clone(&self.shared.place), here.clone(), Weak::clone(&all))?);
            engines.insert(here.id(), Arc::clone(&engine));
            engine
        };
        // Not under the lock: a runtime that is ending drops it at once.
        let home = Home { engines: all, runtime: here.id() };
        let living = here.spawn(async move {
            let _home = home;
            std::future::pending::<()>().await;
        });
        engine.lives_with(living.abort_handle());
        Ok(engine)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        gather::get(&self.engine()?, bucket, keys).await
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        gather::values(&self.engine()?, bucket, keys).await
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        queue::apply(&self.engine()?, bucket, batch).await
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        self.engine()?.scan(bucket, &query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        wait::changed(&self.engine()?, bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let rows = self.engine()?.query(&self.shared.place.statements.buckets, &[]).await?;
        rows.iter().map(|row| Bucket::new(column(row, 0)?)).collect()
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.engine()?.upkeep(bucket, task).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_has_of_a_store_goes_with_it() {
        let store = PostgresStore::open("postgresql:///none?host=/nowhere", Options::default()).unwrap();
        let engines = || store.shared.engines.0.lock().len();
        for _ in 0..3 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (one, same) = runtime.block_on(async { (store.engine().unwrap(), store.engine().unwrap()) });
            assert!(Arc::ptr_eq(&one, &same));
            assert_eq!(engines(), 1);
            drop(runtime);
            assert_eq!(engines(), 0);
        }
    }
}
