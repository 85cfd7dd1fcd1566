//! Queues batches by bucket and commits waiting ones together.
//!
//! The first writer of a bucket starts a task that commits. Batches that come meanwhile wait, and the task then commits
//! them as one group, so many writers cost hardly more than one. A batch that waits too long is withdrawn and not
//! written.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::model::{Batch, Bucket, Error, ErrorKind, Outcome, Result, Write};

/// The most batches of a group.
const MAX_GROUP_BATCHES: usize = 256;

/// A group with this many bytes of values takes no further batch.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// Commits a group and replies to its writers.
type CommitGroup = Box<dyn Fn(Bucket, WriteGroup) -> BoxFuture<'static, ()> + Send + Sync>;

/// The queues of one runtime.
pub(crate) struct WriteQueue {
    commit: CommitGroup,
    /// The longest time that a batch waits for earlier ones.
    lock_timeout: Duration,
    /// A bucket is in the map while a task commits its batches.
    waiting: Mutex<HashMap<Bucket, Vec<QueuedBatch>>>,
    next_number: AtomicU64,
}

struct QueuedBatch {
    number: u64,
    batch: Batch,
    reply: oneshot::Sender<Result<Outcome>>,
}

/// Batches that are committed together, and the channels of their writers.
pub(crate) struct WriteGroup {
    pub(crate) batches: Vec<Batch>,
    replies: Vec<oneshot::Sender<Result<Outcome>>>,
}

impl WriteGroup {
    /// Sends each writer its outcome.
    pub(crate) fn reply(&mut self, outcomes: impl IntoIterator<Item = Result<Outcome>>) {
        for (reply, outcome) in self.replies.drain(..).zip(outcomes) {
            // The writer may have dropped its future.
            let _ = reply.send(outcome);
        }
    }

    /// Sends every writer the error.
    pub(crate) fn fail(&mut self, error: &Error) {
        for reply in self.replies.drain(..) {
            let _ = reply.send(Err(error.duplicate()));
        }
    }
}

impl WriteQueue {
    pub(crate) fn new(
        lock_timeout: Duration,
        commit: impl Fn(Bucket, WriteGroup) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { commit: Box::new(commit), lock_timeout, waiting: Mutex::default(), next_number: AtomicU64::default() }
    }

    /// Commits a batch, together with all that wait.
    pub(crate) async fn apply(self: &Arc<Self>, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let (reply, mut outcome) = oneshot::channel();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let is_first = self.enqueue(bucket, QueuedBatch { number, batch, reply });
        if is_first {
            // In a task: if the writer drops its future, the commit must still come to its end.
            let committer = Committer { queue: Arc::clone(self), bucket: bucket.clone(), is_done: false };
            tokio::spawn(committer.run());
        }
        // The first batch waits for no other.
        let limit = if is_first { Duration::MAX } else { self.lock_timeout };
        let outcome = match timeout(limit, &mut outcome).await {
            Ok(outcome) => outcome,
            Err(_) if self.withdraw(bucket, number) => {
                let text = format!(
                    "earlier writes to the bucket took longer than {limit:?} (lock_timeout); nothing was stored, \
                     try again"
                );
                return Err(Error::new(ErrorKind::Busy, text));
            }
            // It is being committed.
            Err(_) => outcome.await,
        };
        outcome.unwrap_or_else(|_| {
            let text = "the write was interrupted and may have been stored, so read the key before you write again";
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }

    /// Adds a batch. Returns whether no task commits for this bucket.
    fn enqueue(&self, bucket: &Bucket, queued: QueuedBatch) -> bool {
        let mut queues = self.waiting.lock();
        if let Some(queue) = queues.get_mut(bucket) {
            queue.push(queued);
            false
        } else {
            queues.insert(bucket.clone(), vec![queued]);
            true
        }
    }

    /// Removes a batch. Returns `false` if it is being committed, or was.
    fn withdraw(&self, bucket: &Bucket, number: u64) -> bool {
        let mut queues = self.waiting.lock();
        let Some(queue) = queues.get_mut(bucket) else { return false };
        let before = queue.len();
        queue.retain(|queued| queued.number != number);
        queue.len() < before
    }
}

/// The task that commits the batches of a bucket until none is waiting.
struct Committer {
    queue: Arc<WriteQueue>,
    bucket: Bucket,
    /// Whether the queue was empty. A queue that exists later belongs to another task.
    is_done: bool,
}

impl Drop for Committer {
    /// If the task was interrupted, waiting writers see their channels close, and the next writer starts a new task.
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.waiting.lock().remove(&self.bucket);
        }
    }
}

impl Committer {
    async fn run(mut self) {
        while let Some(group) = self.next_group() {
            (self.queue.commit)(self.bucket.clone(), group).await;
        }
    }

    /// The waiting batches, as many as fit into a group; `None` ends the task.
    fn next_group(&mut self) -> Option<WriteGroup> {
        let mut queues = self.queue.waiting.lock();
        let queue = queues.get_mut(&self.bucket)?;
        if queue.is_empty() {
            queues.remove(&self.bucket);
            self.is_done = true;
            return None;
        }
        let mut bytes = 0;
        let fits = |queued: &&QueuedBatch| {
            let before = bytes;
            bytes += value_bytes(&queued.batch);
            before < MAX_GROUP_BYTES
        };
        let count = queue.iter().take(MAX_GROUP_BATCHES).take_while(fits).count();
        let (batches, replies) = queue.drain(..count).map(|queued| (queued.batch, queued.reply)).unzip();
        Some(WriteGroup { batches, replies })
    }
}

fn value_bytes(batch: &Batch) -> usize {
    let bytes = |write: &Write| match write {
        Write::Put { value, .. } | Write::Append { value, .. } => value.len(),
        Write::Restore { entry, .. } => entry.value.len(),
        Write::Delete { .. } | Write::Read { .. } | Write::Touch { .. } | Write::Increment { .. } => 0,
    };
    batch.writes.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Revision};

    fn batch() -> Batch {
        Batch::new(vec![Write::put(Key::new("k").unwrap(), "1")])
    }

    fn committed(group: &mut WriteGroup) {
        let outcome = |_: &Batch| Ok(Outcome::Committed { revision: Revision::new(1), changes: vec![] });
        let outcomes: Vec<_> = group.batches.iter().map(outcome).collect();
        group.reply(outcomes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_waits_too_long_fails_and_names_the_limit() {
        let queue = Arc::new(WriteQueue::new(Duration::from_secs(5), |_, mut group| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                committed(&mut group);
            })
        }));
        let bucket = Bucket::default();
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.apply(&bucket, batch()).await
        };
        let (first, second) = tokio::join!(queue.apply(&bucket, batch()), later);
        assert!(first.is_ok());
        let error = second.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("5s (lock_timeout); nothing was stored"), "{error}");
    }

    #[tokio::test]
    async fn an_interrupted_commit_leaves_the_queue_usable() {
        let commits = AtomicU64::new(0);
        let queue = Arc::new(WriteQueue::new(Duration::from_secs(5), move |_, mut group| {
            let is_first = commits.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move {
                assert!(!is_first, "interrupted");
                committed(&mut group);
            })
        }));
        let bucket = Bucket::default();
        let error = queue.apply(&bucket, batch()).await.unwrap_err();
        assert!(error.is_outcome_unknown() && error.to_string().contains("may have been stored"), "{error}");
        assert!(queue.apply(&bucket, batch()).await.is_ok());
    }
}
