//! The accept loop of the runtime: how many connections at once, what to do when accepting fails, and how it all ends.
//!
//! At the stop the backlog is emptied once, and the listener is closed. Then every task that runs is waited for. The drain
//! time counts from the stop, whatever clients do meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{Limits, connections_allowed};
use super::listen::{Accepting, Listener};
use super::stream::Stream;

/// The longest that emptying the backlog may take at the stop.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How long tasks that were cut at the end of the drain time may take to notice it.
const CUT_TIME: Duration = Duration::from_secs(1);

/// How often a failure to accept is logged at most.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How long a connection without a request is kept after the stop, for one that is just on its way.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// Gives every connection to `handle` until `stop`, then waits for all of them. `handle` must end soon after `stop` by
/// itself; what is left after the drain time is dropped.
pub(super) async fn run<H, F>(listener: Listener, limits: Limits, stop: CancellationToken, handle: H) -> io::Result<()>
where
    H: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let accepting = listener.open()?;
    let crew = Crew::new(&limits);
    let mut trouble = Trouble::default();
    while let Some(accepted) = stop.run_until_cancelled(crew.next(&accepting, &limits)).await {
        match accepted {
            Ok((stream, seat)) => {
                trouble.is_over();
                crew.start(handle(stream), Some(seat));
            }
            Err(error) if of_one_client(&error) => {}
            Err(error) => {
                stop.run_until_cancelled(sleep(trouble.pause(&error))).await;
            }
        }
    }
    end(accepting, crew, &limits, Instant::now(), handle).await;
    Ok(())
}

/// After the stop, which came at `since`: empties the backlog once, closes the listener, and waits for all connections.
pub(super) async fn end<H, F>(mut accepting: Accepting, crew: Crew, limits: &Limits, since: Instant, handle: H)
where
    H: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    accepting.hide();
    // A client that connects again after each answer must not keep this going: the backlog is empty before it is back.
    let until = Instant::now() + LAST_LOOK;
    while Instant::now() < until
        && let Ok(Ok(seat)) = timeout_at(until, crew.seat()).await
        && let Ok(Some(stream)) = accepting.waiting(limits)
    {
        crew.start(handle(stream), Some(seat));
    }
    drop(accepting);
    crew.drain(since + limits.drain_time).await;
}

impl Limits {
    /// The longest that a door needs to end after the stop.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        self.drain_time + CUT_TIME
    }
}

/// The right to be one of the connections.
pub(super) type Seat = OwnedSemaphorePermit;

/// The connections that are being answered, each a task of the runtime.
#[derive(Clone)]
pub(super) struct Crew {
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Crew {
    pub(super) fn new(limits: &Limits) -> Self {
        let room = Arc::new(Semaphore::new(connections_allowed(limits.connections).min(Semaphore::MAX_PERMITS)));
        Self { room, tasks: TaskTracker::new(), cut: CancellationToken::new() }
    }

    /// A seat, once there is one.
    pub(super) async fn seat(&self) -> io::Result<Seat> {
        Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)
    }

    /// Waits for room first, so that a client beyond the limit stays in the queue of the system.
    async fn next(&self, accepting: &Accepting, limits: &Limits) -> io::Result<(Stream, Seat)> {
        let seat = self.seat().await?;
        Ok((accepting.accept(limits).await?, seat))
    }

    /// Starts the task of a connection, which keeps its seat until its end. Needs a runtime.
    pub(super) fn start(&self, work: impl Future<Output = ()> + Send + 'static, seat: Option<Seat>) {
        let cut = self.cut.clone();
        // Some kilobytes, which each wrapper on the way to the task would move again.
        let work = Box::pin(work);
        self.tasks.spawn(async move {
            cut.run_until_cancelled_owned(work).await;
            drop(seat);
        });
    }

    /// Waits for all tasks until then; what is left is dropped.
    async fn drain(self, until: Instant) {
        self.tasks.close();
        if timeout_at(until, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "not all answers were taken before the end");
            self.cut.cancel();
            // A task notices it when it waits for something; one that is held up in a store may not in time.
            let _ = timeout(CUT_TIME, self.tasks.wait()).await;
        }
    }
}

/// Whether it concerns only the connection that would have been accepted. Linux passes on network errors of it too.
pub(super) fn of_one_client(error: &io::Error) -> bool {
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

/// What is to be done when no connection can be accepted: no descriptor is free before some connection ends.
pub(super) struct Trouble {
    pause: Duration,
    told: Option<Instant>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { pause: Duration::from_millis(50), told: None }
    }
}

impl Trouble {
    /// Logs the failure, but not each time; how long to wait, longer from failure to failure.
    pub(super) fn pause(&mut self, error: &io::Error) -> Duration {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, "cannot accept connections; trying again until it works");
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_secs(1));
        pause
    }

    /// One was accepted.
    pub(super) fn is_over(&mut self) {
        self.pause = Self::default().pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_to_a_second_when_accepting_fails_on() {
        let mut trouble = Trouble::default();
        let error = io::Error::other("no descriptor");
        let total: Duration = (0..10).map(|_| trouble.pause(&error)).sum();
        assert_eq!(trouble.pause(&error), Duration::from_secs(1));
        assert!(total > Duration::from_secs(5) && total < Duration::from_secs(8), "{total:?}");
        trouble.is_over();
        assert_eq!(trouble.pause(&error), Duration::from_millis(50));
    }
}
