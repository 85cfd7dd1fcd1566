//! The parts of a store that belong to one tokio runtime, and the table of all runtimes that use the store.
//!
//! Connections, queues and waiters make progress only while their runtime runs, so runtimes share none of them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use super::connect::pool::Pool;
use super::connect::store_config::Config;
use super::logs::watched_logs::WatchedLogs;
use super::notify::{Notifier, WakeAll};
use super::read::read_batching::ReadBatcher;
use super::write::locked_transaction::commit;
use super::write::old_changes::OldChanges;
use super::write::write_queue::WriteQueue;
use crate::model::{Bucket, Error, ErrorKind, Result, Revision};

/// The parts of a store in one runtime.
pub(crate) struct Runtime {
    pub(crate) pool: Pool,
    pub(crate) writes: Arc<WriteQueue>,
    pub(crate) reads: Arc<ReadBatcher>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) logs: WatchedLogs,
    /// The task that removes this from the table when the runtime shuts down.
    shutdown_task: OnceLock<AbortHandle>,
}

impl Runtime {
    fn new(config: Arc<Config>, handle: Handle, wake_all: WakeAll) -> Result<Self> {
        let lock_timeout = config.options.lock_timeout;
        let pool = Pool::new(config)?;
        let notifier = Arc::new(Notifier::new(pool.clone(), wake_all));
        let reads = Arc::new(ReadBatcher::new(pool.clone(), handle));
        let (commit_pool, commit_notifier) = (pool.clone(), Arc::clone(&notifier));
        let old_changes = Arc::<OldChanges>::default();
        let writes = WriteQueue::new(lock_timeout, move |bucket, group| {
            let (notifier, old_changes) = (Arc::clone(&commit_notifier), Arc::clone(&old_changes));
            Box::pin(commit(commit_pool.clone(), notifier, old_changes, bucket, group))
        });
        let logs = WatchedLogs::default();
        Ok(Self { pool, writes: Arc::new(writes), reads, notifier, logs, shutdown_task: OnceLock::new() })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(task) = self.shutdown_task.get() {
            task.abort();
        }
    }
}

/// The runtimes that use a store.
#[derive(Default)]
pub(crate) struct Runtimes(Mutex<HashMap<Id, Arc<Runtime>>>);

impl Runtimes {
    /// The parts of the store in the current runtime. They are created at the first use.
    ///
    /// # Errors
    /// `Unavailable` outside of a runtime.
    pub(crate) fn current(self: &Arc<Self>, config: &Arc<Config>) -> Result<Arc<Runtime>> {
        let handle = Handle::try_current().map_err(|e| {
            Error::new(ErrorKind::Unavailable, "PostgresStore must be used inside a tokio runtime").with_source(e)
        })?;
        let runtime = {
            let mut all = self.0.lock();
            if let Some(runtime) = all.get(&handle.id()) {
                return Ok(Arc::clone(runtime));
            }
            let runtime = Arc::new(Runtime::new(Arc::clone(config), handle.clone(), self.wake_all())?);
            all.insert(handle.id(), Arc::clone(&runtime));
            runtime
        };
        // Not under the lock: a runtime that is shutting down drops the task, and with it the guard, at once.
        let guard = RemoveOnShutdown { runtimes: Arc::downgrade(self), id: handle.id() };
        let task = handle.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        // Only this call has created the runtime, so the cell is empty.
        let _ = runtime.shutdown_task.set(task.abort_handle());
        Ok(runtime)
    }

    fn wake_all(self: &Arc<Self>) -> WakeAll {
        let runtimes = Arc::downgrade(self);
        Box::new(move |bucket: &Bucket, revision: Revision| {
            let Some(runtimes) = runtimes.upgrade() else { return };
            for runtime in runtimes.0.lock().values() {
                runtime.notifier.wake(bucket, revision);
            }
        })
    }
}

/// Is owned by a task of a runtime, so it is dropped with the runtime. After that nobody can use the connections.
struct RemoveOnShutdown {
    runtimes: Weak<Runtimes>,
    id: Id,
}

impl Drop for RemoveOnShutdown {
    fn drop(&mut self) {
        let removed = self.runtimes.upgrade().and_then(|runtimes| runtimes.0.lock().remove(&self.id));
        // Not under the lock.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::connect::url::Url;
    use crate::postgres::options::PostgresOptions;

    #[test]
    fn the_parts_of_a_runtime_are_dropped_with_it() {
        let url = Url::parse("postgresql:///none?host=/nowhere").unwrap();
        let config = Arc::new(Config::new(url, PostgresOptions::default()).unwrap());
        let runtimes = Arc::<Runtimes>::default();
        for _ in 0..3 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let current = || runtimes.current(&config).unwrap();
            let (one, same) = runtime.block_on(async { (current(), current()) });
            assert!(Arc::ptr_eq(&one, &same));
            assert_eq!(runtimes.0.lock().len(), 1);
            drop(runtime);
            assert_eq!(runtimes.0.lock().len(), 0);
        }
        assert!(runtimes.current(&config).is_err());
    }
}
