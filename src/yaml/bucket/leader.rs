//! Reading and writing a bucket, for all requests that wait for it.
//!
//! One caller leads: it serves the requests of all. A caller queues its request and lets the other tasks of its thread
//! queue theirs. Then it leads, if nobody else does: on its own thread, but only briefly. If others hold the bucket, or
//! requests keep coming, a separate thread continues until nobody waits. So at most one thread for each bucket waits
//! long for the lock, and it is not a thread of the runtime. It is a thread and not a task, since the runtime of the
//! first caller may be blocked or end.
//!
//! What always holds: each request is answered from work that began after it was queued; a request that waits for
//! others fails at its deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::bucket_store::BucketStore;
use super::locked_files::Backoff;
use super::queue::{QueuedRequest, Request, RequestQueue, WriteStint, YIELD_TIME, fail_all};
use crate::model::{Batch, Error, ErrorKind, Outcome, Result, Revision};
use crate::yaml::blocking::blocking;
use crate::yaml::fs::LockMode;
use crate::yaml::state::BucketState;

/// A commit that is faster than this need not make way for the other tasks of its thread.
const QUICK_COMMIT: Duration = Duration::from_millis(1);

/// The longest time that a caller leads on its own thread.
const MAX_LEAD_ON_CALLER: Duration = Duration::from_millis(1);

/// The result of one round of the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    /// No request waited. There is no leader any more.
    Idle,
    /// Some requests were answered.
    Progress,
    /// Others hold the bucket.
    Blocked,
}

fn requests(group: Vec<QueuedRequest>) -> Vec<Request> {
    group.into_iter().map(|queued| queued.request).collect()
}

/// If the leader panics, gives up the lead and drops the queue, so that each caller gets an error.
struct LeadGuard<'a>(&'a BucketStore);

impl Drop for LeadGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.queue.lock() = RequestQueue::default();
        }
    }
}

impl BucketStore {
    /// The current state: it has everything that was committed, and nothing that is not durable.
    ///
    /// # Errors
    /// `Corrupt` if no good state of the file is known. `Busy` if others hold the bucket.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<RwLockReadGuard<'_, BucketState>> {
        if !self.is_current()? {
            self.submit(Request::Refresh).await?;
        }
        self.readable_state()
    }

    /// Carries out a batch, together with all that wait.
    pub(crate) async fn apply(self: &Arc<Self>, batch: Batch) -> Result<Outcome> {
        self.submit(|answer| Request::Write(batch, answer)).await
    }

    /// Waits until the revision is greater than `since`.
    pub(crate) async fn changed(self: &Arc<Self>, since: Revision) -> Result<Revision> {
        let bucket = Arc::clone(self);
        let refresh = move || {
            let bucket = Arc::clone(&bucket);
            async move { Ok(bucket.current().await?.revision) }
        };
        self.watch.wait_for(move |revision| revision > since, refresh).await
    }

    /// Queues a request and waits for its answer. `request` builds it from the sender of the answer.
    pub(crate) async fn submit<T>(
        self: &Arc<Self>,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        self.enqueue(request(answer));
        // The other tasks that are ready queue their requests first, so that one sync serves them all. Only a task is
        // cheaply polled again.
        if tokio::task::try_id().is_some() {
            tokio::task::yield_now().await;
        }
        match answered.try_recv() {
            Ok(result) => return result,
            Err(TryRecvError::Closed) => return Err(self.interrupted()),
            Err(TryRecvError::Empty) => {}
        }
        if self.begin_lead() {
            // Before `blocking`, which panics if the system gives no thread.
            let leading = LeadGuard(self);
            if self.are_commits_quick.load(Ordering::Relaxed) {
                self.lead_on_caller_thread(leading);
            } else {
                blocking(|| self.lead_on_caller_thread(leading));
            }
        }
        answered.await.unwrap_or_else(|_| Err(self.interrupted()))
    }

    /// The error of a request whose leader has panicked.
    fn interrupted(&self) -> Error {
        let text = format!(
            "bucket {}: the operation was interrupted; a write may or may not have been stored, so read the key before \
             you write again",
            self.paths.bucket
        );
        Error::new(ErrorKind::Unavailable, text)
    }

    fn enqueue(&self, request: Request) {
        let since = Instant::now();
        let deadline = self.deadline_from(since);
        self.queue.lock().waiting.push(QueuedRequest { request, since, deadline });
    }

    /// Takes the lead if nobody has it and a request waits. Returns whether the caller must lead.
    fn begin_lead(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.drop_abandoned();
        !queue.waiting.is_empty() && !std::mem::replace(&mut queue.is_led, true)
    }

    fn lead_on_caller_thread(self: &Arc<Self>, leading: LeadGuard<'_>) {
        let mut backoff = Backoff::new(&self.open_files);
        while backoff.elapsed() < MAX_LEAD_ON_CALLER {
            match self.run_round() {
                Round::Idle => return,
                Round::Progress => {}
                Round::Blocked => backoff.sleep(),
            }
        }
        drop((leading, backoff));
        if self.stop_if_idle() {
            return;
        }
        let bucket = Arc::clone(self);
        let led = std::thread::Builder::new().name("kvs bucket".into()).spawn(move || bucket.lead_on_own_thread());
        if led.is_err() {
            // No thread could be started.
            self.lead_on_own_thread();
        }
    }

    fn lead_on_own_thread(self: &Arc<Self>) {
        let _leading = LeadGuard(self);
        let mut backoff = Backoff::new(&self.open_files);
        loop {
            match self.run_round() {
                Round::Idle => return,
                Round::Progress => backoff.reset(),
                Round::Blocked => backoff.sleep(),
            }
        }
    }

    /// Ends the lead if no request waits. Returns whether it did.
    fn stop_if_idle(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.drop_abandoned();
        queue.is_led = !queue.waiting.is_empty();
        !queue.is_led
    }

    /// Leaves the bucket free for a moment, if this process has been writing it for long. Other processes poll the
    /// lock, so otherwise they might never find it free.
    fn yield_to_others(&self) {
        if self.write_stint.lock().is_over(Instant::now()) {
            std::thread::sleep(YIELD_TIME);
            *self.write_stint.lock() = WriteStint::default();
        }
    }

    /// Serves all waiting requests that can be served now, and fails those whose deadline has passed.
    fn run_round(self: &Arc<Self>) -> Round {
        if self.stop_if_idle() {
            return Round::Idle;
        }
        let (has_writes, has_reads) = {
            let queue = self.queue.lock();
            (queue.has_writes(), queue.has_reads())
        };
        if has_writes {
            self.yield_to_others();
            let start = Instant::now();
            if self.attempt(LockMode::Exclusive) {
                self.are_commits_quick.store(start.elapsed() < QUICK_COMMIT, Ordering::Relaxed);
                self.write_stint.lock().last_release = Instant::now();
                return Round::Progress;
            }
            *self.write_stint.lock() = WriteStint::default();
        }
        let has_refreshed = has_reads && self.attempt(LockMode::Shared);
        let now = Instant::now();
        let expired =
            self.queue.lock().take(|queued| queued.deadline <= now && (queued.request.is_write() || !has_refreshed));
        if expired.is_empty() {
            return if has_refreshed { Round::Progress } else { Round::Blocked };
        }
        self.lock_timed_out.store(true, Ordering::Relaxed);
        self.note_waits(&expired);
        self.fail(expired, &self.lock_timeout_error());
        Round::Progress
    }

    /// Measures how long writes have waited.
    fn note_waits(&self, group: &[QueuedRequest]) {
        let now = Instant::now();
        for write in group.iter().filter(|queued| queued.request.is_write()) {
            self.measurements.waited(now - write.since);
        }
    }

    fn fail(&self, group: Vec<QueuedRequest>, error: &Error) {
        let writes = group.iter().filter(|queued| queued.request.is_write()).count();
        self.measurements.failed(error.kind(), writes);
        fail_all(requests(group), error);
    }

    /// Answers the writes that change nothing in a bucket that nobody has written yet.
    fn answer_idle_writes(&self) {
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        let mut remaining = Vec::with_capacity(waiting.len());
        for QueuedRequest { request, since, deadline } in waiting {
            let request = match request {
                Request::Write(batch, answer) => match self.answer_without_files(&batch) {
                    Some(outcome) => {
                        let _ = answer.send(outcome);
                        continue;
                    }
                    None => Request::Write(batch, answer),
                },
                refresh @ Request::Refresh(_) => refresh,
            };
            remaining.push(QueuedRequest { request, since, deadline });
        }
        self.queue.lock().waiting.splice(0..0, remaining);
    }

    /// Locks the files in this mode and serves the requests: all under the exclusive lock, only reads under the shared
    /// one. Returns whether requests were answered; reads may still succeed if the exclusive lock fails.
    fn attempt(self: &Arc<Self>, mode: LockMode) -> bool {
        let exclusive = mode == LockMode::Exclusive;
        if exclusive && self.is_absent() {
            self.answer_idle_writes();
            if !self.queue.lock().has_writes() {
                return true;
            }
        }
        match self.try_lock_files(mode) {
            Ok(None) => false,
            Ok(Some(locked)) => {
                // Taken before the file is read, so that no request gets an answer that is older than itself.
                let group = self.queue.lock().take(|queued| exclusive || !queued.request.is_write());
                self.note_waits(&group);
                self.serve(locked, requests(group));
                self.watch.notify(self.state.read().revision);
                self.lock_timed_out.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                let group = self.queue.lock().take(|queued| queued.request.is_write() == exclusive);
                self.fail(group, &error);
                true
            }
        }
    }
}
