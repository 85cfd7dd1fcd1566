//! Runtimes for connections: one with one thread for each processor.
//!
//! A connection stays on the runtime that it was given, so no other thread has to be woken for its requests. The
//! runtimes are of the kind with several threads, so that a store may block one: `block_in_place` starts a thread in its
//! place.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// The connections that a runtime gets before the next one gets any. A few busy connections on one thread are served
/// faster than on several, whose threads sleep and wake for each request.
const FULL: usize = 16;

/// Owns the runtimes. They end when it is shut down.
pub struct WorkerRuntimes(Vec<Runtime>);

impl WorkerRuntimes {
    /// Starts this many runtimes.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn start(count: usize) -> io::Result<Self> {
        let runtime = |_| Builder::new_multi_thread().worker_threads(1).enable_all().build();
        (0..count).map(runtime).collect::<io::Result<_>>().map(Self)
    }

    /// The runtimes as the servers use them.
    #[must_use]
    pub fn workers(&self) -> Workers {
        let worker = |runtime: &Runtime| Worker { runtime: runtime.handle().clone(), connections: Arc::default() };
        Workers(self.0.iter().map(worker).collect())
    }

    /// Ends all runtimes. Threads that are still at work after this time are left behind.
    pub fn shut_down(self, timeout: Duration) {
        thread::scope(|scope| {
            for runtime in self.0 {
                scope.spawn(move || runtime.shutdown_timeout(timeout));
            }
        });
    }
}

/// The runtimes to which connections are given. Without any, connections stay on the runtime that accepts them.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<[Worker]>);

/// A runtime, and the number of its open connections.
#[derive(Clone, Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// A place on the first runtime that is not full, or else on the one with the fewest connections.
    pub(crate) fn place(&self) -> Place {
        let worker = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed).max(FULL - 1));
        if let Some(worker) = worker {
            worker.connections.fetch_add(1, Ordering::Relaxed);
        }
        Place(worker.cloned())
    }
}

/// The place of a connection on a runtime, until dropped.
pub(crate) struct Place(Option<Worker>);

impl Place {
    /// While this lives, sockets and timers belong to the runtime of this place.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(|worker| worker.runtime.enter())
    }

    /// Starts a task here, which keeps the place until it ends.
    pub(crate) fn start(self, tasks: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.0.as_ref().map_or_else(Handle::current, |worker| worker.runtime.clone());
        tasks.spawn_on(
            async move {
                work.await;
                drop(self);
            },
            &runtime,
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fill_one_runtime_after_the_other() {
        let runtimes = WorkerRuntimes::start(2).unwrap();
        let workers = runtimes.workers();
        let counts = || workers.0.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut places: Vec<Place> = (0..FULL + 3).map(|_| workers.place()).collect();
        assert_eq!(counts(), [FULL, 3]);
        places.extend((0..FULL).map(|_| workers.place()));
        assert_eq!(counts(), [FULL + 2, FULL + 1]);
        places.truncate(FULL + 1);
        assert_eq!(counts(), [FULL, 1]);
        drop(places);
        assert_eq!(counts(), [0, 0]);
        let (tasks, (done, ended)) = (TaskTracker::new(), std::sync::mpsc::channel());
        let place = workers.place();
        let expected = place.0.as_ref().unwrap().runtime.id();
        place.start(&tasks, async move { done.send(Handle::current().id()).unwrap() });
        assert_eq!(ended.recv().unwrap(), expected);
        runtimes.shut_down(Duration::from_secs(5));
        assert_eq!(counts(), [0, 0]);
    }
}
