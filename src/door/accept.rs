//! The accept loop of the runtime: how many connections at once, what to do when accepting fails, and how it all ends.
//!
//! After the stop no new connection is taken, except those that the system has accepted already; every task that runs is
//! waited for, but no longer than the drain time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::Limits;
use super::listen::{Accepting, Listener};
use super::stream::Stream;

/// Descriptors that are needed for anything but connections: files, locks, the log.
const RESERVED: u64 = 64;

/// How long to look for connections that the system accepted before the stop.
const LAST_LOOK: Duration = Duration::from_millis(10);

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
    let mut pause = Pause::default();
    while let Some(accepted) = stop.run_until_cancelled(crew.next(&accepting, &limits)).await {
        match accepted {
            Ok((stream, seat)) => {
                pause = Pause::default();
                crew.start(handle(stream), Some(seat));
            }
            Err(error) if of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                stop.run_until_cancelled(sleep(pause.next())).await;
            }
        }
    }
    end(accepting, crew, &limits, handle).await;
    Ok(())
}

/// After the stop: takes what the system has accepted already, then waits for all connections.
pub(super) async fn end<H, F>(mut accepting: Accepting, crew: Crew, limits: &Limits, handle: H)
where
    H: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    accepting.hide();
    while let Ok(Ok((stream, seat))) = timeout(LAST_LOOK, crew.next(&accepting, limits)).await {
        crew.start(handle(stream), Some(seat));
    }
    drop(accepting);
    crew.drain(limits.drain_time).await;
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
        let room = Arc::new(Semaphore::new(room_for(limits.connections)));
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

    async fn drain(self, patience: Duration) {
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "not all answers were taken before the end");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Whether it concerns only the connection that would have been accepted.
pub(super) fn of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

/// Longer from failure to failure: no descriptor is free before some connection ends.
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Duration::from_secs(1));
        now
    }
}

/// How many connections the descriptors of this process allow; the soft limit is raised as far as it may be.
fn room_for(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            allowed = raised;
        }
    }
    let room = usize::try_from(allowed.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    wanted.min(room).clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_to_a_second_when_accepting_fails_on() {
        let mut pause = Pause::default();
        let total: Duration = (0..10).map(|_| pause.next()).sum();
        assert_eq!(pause.next(), Duration::from_secs(1));
        assert!(total > Duration::from_secs(5) && total < Duration::from_secs(8), "{total:?}");
    }

    #[test]
    fn room_is_what_was_wanted_when_the_system_allows_it() {
        assert_eq!(room_for(10), 10);
        assert_eq!(room_for(0), 1);
        assert!(room_for(usize::MAX) >= 10);
    }
}
