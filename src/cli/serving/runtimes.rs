//! The async runtimes of the program: one thread for a command, all processors for `kvs serve`.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::exit::{CliResult, Failure};
use crate::server::{WorkerRuntimes, Workers};

/// The most runtimes for connections. Each has four descriptors, and all together must leave some of those that are
/// reserved for files.
const MAX_WORKERS: usize = 8;

/// The runtimes of a process.
pub(crate) struct Runtimes {
    main: Runtime,
    /// The runtimes for connections, if they do not run on the main one.
    connections: Option<WorkerRuntimes>,
}

impl Runtimes {
    /// One thread.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub(crate) fn of_command() -> CliResult<Self> {
        let main = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        Ok(Self { main, connections: None })
    }

    /// The runtimes of `kvs serve`. A store in this process is served by a runtime for each processor, up to eight. The
    /// clients of a database server share its connections and their statements, so they share a runtime too.
    ///
    /// # Errors
    /// The system gives no threads or descriptors.
    pub(crate) fn of_server(has_database: bool) -> CliResult<Self> {
        let mut main = Builder::new_multi_thread();
        if has_database {
            return Ok(Self { main: main.enable_all().build().map_err(failed)?, connections: None });
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let main = main.worker_threads(1).enable_all().build().map_err(failed)?;
        Ok(Self { main, connections: Some(WorkerRuntimes::start(processors).map_err(failed)?) })
    }

    /// Where connections are served.
    pub(crate) fn workers(&self) -> Workers {
        self.connections.as_ref().map(WorkerRuntimes::workers).unwrap_or_default()
    }

    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.main.block_on(work)
    }

    /// Ends all threads. Those that are still at work after this time are left behind.
    pub(crate) fn shut_down(self, timeout: Duration) {
        let start = std::time::Instant::now();
        if let Some(connections) = self.connections {
            connections.shut_down(timeout);
        }
        self.main.shutdown_timeout(timeout.saturating_sub(start.elapsed()));
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot start the async runtime: {error}"))
}
