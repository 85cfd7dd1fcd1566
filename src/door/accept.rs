//! The one accept loop: how many connections at once, what to do when accepting fails, and how it all ends.
//!
//! After the stop no new connection is taken, except those that the system has accepted already; every task that runs is
//! waited for, but no longer than the drain time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
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
    let mut accepting = listener.open()?;
    let crew = Crew { tasks: TaskTracker::new(), cut: CancellationToken::new() };
    let room = Arc::new(Semaphore::new(room_for(limits.connections)));
    let mut pause = Pause::default();
    while let Some(accepted) = stop.run_until_cancelled(next(&accepting, &room, &limits)).await {
        match accepted {
            Ok((stream, seat)) => {
                pause = Pause::default();
                crew.start(handle(stream), seat);
            }
            Err(error) if of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                stop.run_until_cancelled(sleep(pause.next())).await;
            }
        }
    }
    accepting.hide();
    while let Ok(Ok((stream, seat))) = timeout(LAST_LOOK, next(&accepting, &room, &limits)).await {
        crew.start(handle(stream), seat);
    }
    drop(accepting);
    crew.drain(limits.drain_time).await;
    Ok(())
}

/// The right to be one of the connections.
type Seat = tokio::sync::OwnedSemaphorePermit;

/// Waits for room first, so that a client beyond the limit stays in the queue of the system.
async fn next(accepting: &Accepting, room: &Arc<Semaphore>, limits: &Limits) -> io::Result<(Stream, Seat)> {
    let seat = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok((accepting.accept(limits).await?, seat))
}

struct Crew {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Crew {
    fn start(&self, work: impl Future<Output = ()> + Send + 'static, seat: Seat) {
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
fn of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

/// Longer from failure to failure: no descriptor is free before some connection ends.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
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
