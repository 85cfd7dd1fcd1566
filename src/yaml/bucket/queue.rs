//! The requests that wait for a bucket.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::model::{Batch, Error, Outcome, Result};

/// A process that has written a bucket for this long gives others a chance.
const MAX_WRITE_STINT: Duration = Duration::from_millis(60);

/// The bucket is then left free for this long. Others try once a millisecond.
pub(crate) const YIELD_TIME: Duration = Duration::from_millis(3);

/// The time that this process has been writing the bucket without leaving it free.
pub(crate) struct WriteStint {
    pub(crate) started: Instant,
    /// When it was last released.
    pub(crate) last_release: Instant,
}

impl Default for WriteStint {
    fn default() -> Self {
        let now = Instant::now();
        Self { started: now, last_release: now }
    }
}

impl WriteStint {
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last_release) >= YIELD_TIME {
            self.started = now;
        }
        now.duration_since(self.started) >= MAX_WRITE_STINT
    }
}

/// A request, with the sender of its answer.
pub(crate) enum Request {
    /// A read: the state must be brought up to date.
    Refresh(oneshot::Sender<Result<()>>),
    Write(Batch, oneshot::Sender<Result<Outcome>>),
}

impl Request {
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Write(..))
    }

    /// Whether the caller has dropped its future.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Refresh(answer) => answer.is_closed(),
            Self::Write(_, answer) => answer.is_closed(),
        }
    }
}

/// Answers all requests with this error.
pub(crate) fn fail_all(requests: Vec<Request>, error: &Error) {
    for request in requests {
        match request {
            Request::Refresh(answer) => drop(answer.send(Err(error.duplicate()))),
            Request::Write(_, answer) => drop(answer.send(Err(error.duplicate()))),
        }
    }
}

/// A request with its deadline: it fails if it could not be served by then.
pub(crate) struct QueuedRequest {
    pub(crate) request: Request,
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
}

/// The requests that wait for a bucket.
#[derive(Default)]
pub(crate) struct RequestQueue {
    pub(crate) waiting: Vec<QueuedRequest>,
    /// Whether a thread leads. It checks the queue again before it stops.
    pub(crate) is_led: bool,
}

impl RequestQueue {
    /// Drops abandoned requests, so that they are not carried out at some later time.
    pub(crate) fn drop_abandoned(&mut self) {
        self.waiting.retain(|queued| !queued.request.is_abandoned());
    }

    /// Takes out the requests for which `is_wanted` holds, except abandoned ones.
    pub(crate) fn take(&mut self, is_wanted: impl Fn(&QueuedRequest) -> bool) -> Vec<QueuedRequest> {
        self.drop_abandoned();
        let all = std::mem::take(&mut self.waiting);
        let (taken, remaining) = all.into_iter().partition(is_wanted);
        self.waiting = remaining;
        taken
    }

    pub(crate) fn has_writes(&self) -> bool {
        self.waiting.iter().any(|queued| queued.request.is_write())
    }

    pub(crate) fn has_reads(&self) -> bool {
        self.waiting.iter().any(|queued| !queued.request.is_write())
    }
}
