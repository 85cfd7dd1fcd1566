//! Batches that wait, by bucket. Who finds nobody at work begins; what comes meanwhile waits and is then carried out
//! together, in one transaction. So many writers cost hardly more than one. Who has waited for too long without being taken
//! goes away undone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::commit::carry_out;
use super::engine::Engine;
use crate::model::{Batch, Bucket, Error, Kind, Outcome, Result, Write};

/// No group has more batches, nor, but for its last batch, more bytes of values.
const MOST: (usize, usize) = (256, 16 << 20);

/// The queues of a runtime. A bucket has one as long as somebody is at work on it.
#[derive(Default)]
pub(super) struct Queues {
    waiting: Mutex<HashMap<Bucket, Vec<Waiting>>>,
    numbers: AtomicU64,
}

impl Queues {
    /// Takes a batch back; `false` if it is being carried out, or has been.
    fn withdraw(&self, bucket: &Bucket, number: u64) -> bool {
        let mut queues = self.waiting.lock();
        let Some(queue) = queues.get_mut(bucket) else { return false };
        let before = queue.len();
        queue.retain(|waiting| waiting.number != number);
        queue.len() < before
    }
}

struct Waiting {
    number: u64,
    batch: Batch,
    answer: oneshot::Sender<Result<Outcome>>,
}

/// Batches that are carried out together, and who waits for them.
#[derive(Default)]
pub(super) struct Group {
    pub(super) batches: Vec<Batch>,
    answers: Vec<oneshot::Sender<Result<Outcome>>>,
}

impl Group {
    /// Answers everybody.
    pub(super) fn answer(&mut self, outcomes: impl IntoIterator<Item = Result<Outcome>>) {
        for (answer, outcome) in self.answers.drain(..).zip(outcomes) {
            // Who dropped the future does not want the answer.
            let _ = answer.send(outcome);
        }
    }

    /// Tells everybody that it went wrong.
    pub(super) fn fail(&mut self, error: &Error) {
        for answer in self.answers.drain(..) {
            let _ = answer.send(Err(error.copied()));
        }
    }
}

/// Carries a batch out, together with all that wait.
pub(super) async fn apply(engine: &Arc<Engine>, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
    let (answer, mut outcome) = oneshot::channel();
    let number = engine.queues.numbers.fetch_add(1, Ordering::Relaxed);
    let waiting = Waiting { number, batch, answer };
    let leads = {
        let mut queues = engine.queues.waiting.lock();
        if let Some(queue) = queues.get_mut(bucket) {
            queue.push(waiting);
            false
        } else {
            queues.insert(bucket.clone(), vec![waiting]);
            true
        }
    };
    if leads {
        // A task of its own: who waits may give up, and what has begun must be ended all the same.
        let leading = Leading { engine: Arc::clone(engine), bucket: bucket.clone(), over: false };
        tokio::spawn(leading.lead());
    }
    // Who leads has nobody before it.
    let patience = if leads { Duration::MAX } else { engine.place.options.lock_wait };
    let told = match timeout(patience, &mut outcome).await {
        Ok(told) => told,
        Err(_) if engine.queues.withdraw(bucket, number) => {
            return Err(Error::new(Kind::Busy, "the writes before it took too long; nothing was done, try again"));
        }
        Err(_) => outcome.await,
    };
    told.unwrap_or_else(|_| {
        let text = "the write was broken off half-way; it may have been done, so read the key before you write again";
        Err(Error::new(Kind::Failed, text))
    })
}

/// Being at work on a bucket.
struct Leading {
    engine: Arc<Engine>,
    bucket: Bucket,
    /// Whether it has ended, so that the queue, if there is one, is another's.
    over: bool,
}

impl Drop for Leading {
    /// If the work was broken off, who waits is told by the end of its channel, and the next one begins anew.
    fn drop(&mut self) {
        if !self.over {
            self.engine.queues.waiting.lock().remove(&self.bucket);
        }
    }
}

impl Leading {
    async fn lead(mut self) {
        while let Some(mut group) = self.group() {
            carry_out(&self.engine, &self.bucket, &mut group).await;
        }
    }

    /// What waits now; none if nothing does, and then nobody is at work any more.
    fn group(&mut self) -> Option<Group> {
        let mut queues = self.engine.queues.waiting.lock();
        let queue = queues.get_mut(&self.bucket)?;
        if queue.is_empty() {
            queues.remove(&self.bucket);
            self.over = true;
            return None;
        }
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let before = bytes;
            bytes += size(&waiting.batch);
            before < MOST.1
        };
        let count = queue.iter().take(MOST.0).take_while(fits).count();
        let (batches, answers) = queue.drain(..count).map(|w| (w.batch, w.answer)).unzip();
        Some(Group { batches, answers })
    }
}

fn size(batch: &Batch) -> usize {
    let bytes = |write: &Write| match write {
        Write::Put { value, .. } | Write::Append { value, .. } => value.len(),
        Write::Restore { entry, .. } => entry.value.len(),
        Write::Delete { .. } | Write::Look { .. } | Write::Touch { .. } | Write::Increment { .. } => 0,
    };
    batch.writes.iter().map(bytes).sum()
}
