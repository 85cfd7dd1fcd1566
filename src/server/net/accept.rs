//! The accept loop of the runtime: the limit of connections, errors of `accept`, and the shutdown.
//!
//! At the stop the backlog is emptied once and the listener is closed. Then the loop waits for all tasks. The drain
//! timeout counts from the stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{Accepted, Listener, RegisteredListener};
use super::stream::Stream;
use super::workers::{Place, Workers};
use crate::server::limits::{ServerLimits, connections_allowed};

/// How long emptying the backlog may take at the stop.
const DRAIN_BACKLOG_TIMEOUT: Duration = Duration::from_millis(100);

/// How long tasks may take to end after they are cancelled at the drain timeout.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Errors of `accept` are logged at most once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long a connection without a request is kept after the stop, for a request that is already on its way.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(100);

/// Calls `handle` for every connection until `stop`, then waits for all connections. `handle` must end soon after
/// `stop`; connections that are left after the drain timeout are dropped.
pub(crate) async fn run<H, F>(
    listener: Listener,
    limits: ServerLimits,
    stop: CancellationToken,
    handle: H,
) -> io::Result<()>
where
    H: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener.register()?;
    let connections = ConnectionSet::new(&limits);
    let mut backoff = AcceptBackoff::default();
    while let Some(accepted) = stop.run_until_cancelled(connections.next(&listener)).await {
        match accepted.and_then(|accepted| connections.serve(accepted, &listener, &limits, &handle)) {
            Ok(()) => backoff.reset(),
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                stop.run_until_cancelled(sleep(backoff.pause(&error))).await;
            }
        }
    }
    shut_down(listener, connections, &limits, Instant::now(), handle).await;
    Ok(())
}

/// Shuts down after the stop at `since`: empties the backlog once, closes the listener, and waits for all connections.
pub(crate) async fn shut_down<H, F>(
    mut listener: RegisteredListener,
    connections: ConnectionSet,
    limits: &ServerLimits,
    since: Instant,
    handle: H,
) where
    H: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    listener.remove_file();
    // A client that reconnects after each response cannot keep this loop running: the backlog is empty before that.
    let until = Instant::now() + DRAIN_BACKLOG_TIMEOUT;
    while Instant::now() < until
        && let Ok(Ok(permit)) = timeout_at(until, connections.permit()).await
        && let Ok(Some(accepted)) = listener.try_accept()
    {
        // The client of a connection that cannot be registered sees that it is closed.
        let _ = connections.serve((accepted, permit), &listener, limits, &handle);
    }
    drop(listener);
    connections.drain(since + limits.drain_timeout).await;
}

impl ServerLimits {
    /// The longest time that a server takes to end after the stop.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        self.drain_timeout + CLOSE_TIMEOUT
    }
}

/// The permission for one open connection.
pub(crate) type Permit = OwnedSemaphorePermit;

/// The open connections, each a task of the runtime.
#[derive(Clone)]
pub(crate) struct ConnectionSet {
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl ConnectionSet {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        let permits = Arc::new(Semaphore::new(connections_allowed(limits.connections).min(Semaphore::MAX_PERMITS)));
        Self { permits, tasks: TaskTracker::new(), cancel: CancellationToken::new() }
    }

    pub(crate) async fn permit(&self) -> io::Result<Permit> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)
    }

    /// The next connection. Waits for a permit first, so that a client beyond the limit stays in the queue of the
    /// system.
    async fn next(&self, listener: &RegisteredListener) -> io::Result<(Accepted, Permit)> {
        let permit = self.permit().await?;
        Ok((listener.accept().await?, permit))
    }

    /// Starts the task of a connection on one of the runtimes of the listener.
    fn serve<H, F>(
        &self,
        (accepted, permit): (Accepted, Permit),
        listener: &RegisteredListener,
        limits: &ServerLimits,
        handle: &H,
    ) -> io::Result<()>
    where
        H: Fn(Stream) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let place = listener.place();
        let work = {
            let _entered = place.enter();
            handle(accepted.register(limits)?)
        };
        self.start_at(place, work, Some(permit));
        Ok(())
    }

    /// Starts the task of a connection on this runtime.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static, permit: Option<Permit>) {
        self.start_at(Workers::default().place(), work, permit);
    }

    /// Starts the task of a connection, which keeps its permit until it ends.
    fn start_at(&self, place: Place, work: impl Future<Output = ()> + Send + 'static, permit: Option<Permit>) {
        let cancel = self.cancel.clone();
        // The future is some kilobytes long, and each wrapper around it would move it again.
        let work = Box::pin(work);
        let work = async move {
            cancel.run_until_cancelled_owned(work).await;
            drop(permit);
        };
        place.start(&self.tasks, work);
    }

    /// Waits for all tasks, at most until `until`, and drops the rest.
    async fn drain(self, until: Instant) {
        self.tasks.close();
        if timeout_at(until, self.tasks.wait()).await.is_err() {
            tracing::warn!("shutdown timeout: {} connections closed", self.tasks.len());
            self.cancel.cancel();
            // A task notices this when it next waits. A task that is blocked in a store may be too late.
            let _ = timeout(CLOSE_TIMEOUT, self.tasks.wait()).await;
        }
    }
}

/// Whether an error of `accept` concerns only one client. Linux also reports network errors of the new connection here.
pub(crate) fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        PermissionDenied, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    )
}

/// The pauses while `accept` fails: usually no descriptor is free until a connection ends.
pub(crate) struct AcceptBackoff {
    pause: Duration,
    last_logged: Option<Instant>,
}

impl Default for AcceptBackoff {
    fn default() -> Self {
        Self { pause: Duration::from_millis(50), last_logged: None }
    }
}

impl AcceptBackoff {
    /// Logs the error, unless another one was logged shortly before. Returns how long to wait: twice as long after each
    /// error, up to one second.
    pub(crate) fn pause(&mut self, error: &io::Error) -> Duration {
        if self.last_logged.is_none_or(|last_logged| last_logged.elapsed() >= LOG_INTERVAL) {
            self.last_logged = Some(Instant::now());
            tracing::warn!(%error, "cannot accept connections; retrying");
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_secs(1));
        pause
    }

    /// Resets the pause, because a connection was accepted.
    pub(crate) fn reset(&mut self) {
        self.pause = Self::default().pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_to_one_second_while_accept_fails() {
        let mut backoff = AcceptBackoff::default();
        let error = io::Error::other("no descriptor");
        let total: Duration = (0..10).map(|_| backoff.pause(&error)).sum();
        assert_eq!(backoff.pause(&error), Duration::from_secs(1));
        assert!(total > Duration::from_secs(5) && total < Duration::from_secs(8), "{total:?}");
        backoff.reset();
        assert_eq!(backoff.pause(&error), Duration::from_millis(50));
    }
}
