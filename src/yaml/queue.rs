//! Who waits for a bucket, for a look at its file or for a write, and who does the work for all of them.
//!
//! One leads at a time. Whoever comes while nobody leads does so at once, on the thread it is on, but only briefly: if
//! others hold the bucket, or more and more comes, a thread of its own leads on until nobody waits. So at most one thread
//! a bucket waits for others, and none of the runtime. It is a thread and not a task, since the runtime of the first one
//! may stand still or end.
//!
//! What always holds: everybody is answered, by what began after they came; who waits for others is sent away when their
//! time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::bucket::{BucketStore, blocking};
use super::disk::Hold;
use super::turn::Pause;
use crate::model::{Batch, Error, Kind, Outcome, Result};

/// How long whoever comes first leads on its own thread.
const BRIEFLY: Duration = Duration::from_millis(1);

/// For so long one process writes a bucket without leaving it free, before others get a chance.
const STINT: Duration = Duration::from_millis(60);

/// So long the bucket is left free then: others look for that once a millisecond.
const BREATH: Duration = Duration::from_millis(3);

/// How long this process has written the bucket without leaving it free.
pub(super) struct Stint {
    begun: Instant,
    /// When it was last left.
    left: Instant,
}

impl Default for Stint {
    fn default() -> Self {
        let now = Instant::now();
        Self { begun: now, left: now }
    }
}

impl Stint {
    fn is_over(&mut self, now: Instant) -> bool {
        if now.duration_since(self.left) >= BREATH {
            self.begun = now;
        }
        now.duration_since(self.begun) >= STINT
    }
}

/// What somebody waits for. Who dropped the future does not want the answer.
pub(super) enum Wish {
    /// An image that is up to the file.
    Look(oneshot::Sender<Result<()>>),
    /// A write.
    Write(Batch, oneshot::Sender<Result<Outcome>>),
}

impl Wish {
    fn is_write(&self) -> bool {
        matches!(self, Self::Write(..))
    }
}

/// Answers all of them that it is not done, and why.
pub(super) fn refuse(wishes: Vec<Wish>, error: &Error) {
    for wish in wishes {
        match wish {
            Wish::Look(answer) => drop(answer.send(Err(error.copied()))),
            Wish::Write(_, answer) => drop(answer.send(Err(error.copied()))),
        }
    }
}

/// Those who wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<(Wish, Instant)>,
    /// Whether somebody leads, who looks here again before it leaves.
    led: bool,
}

impl Queue {
    /// Takes out those for whom this holds.
    fn take(&mut self, is_wanted: impl Fn(&Wish, Instant) -> bool) -> Vec<Wish> {
        let (taken, left) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(wish, end)| is_wanted(wish, *end));
        self.waiting = left;
        let taken: Vec<(Wish, Instant)> = taken;
        taken.into_iter().map(|(wish, _)| wish).collect()
    }
}

/// What has become of those who waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    /// Nobody waited, and nobody leads any more.
    Over,
    /// Some were answered.
    Done,
    /// Others hold the bucket.
    Held,
}

/// Gives the lead back if whoever leads panics, and those who wait their answer.
struct Leading<'a>(&'a BucketStore);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.queue.lock() = Queue::default();
        }
    }
}

impl BucketStore {
    /// Waits for what `wish` makes of the sender of the answer.
    pub(super) async fn wait<T>(self: &Arc<Self>, wish: impl FnOnce(oneshot::Sender<Result<T>>) -> Wish) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        if self.enqueue(wish(answer)) {
            blocking(|| self.lead_briefly());
        }
        answered.await.unwrap_or_else(|_| {
            let text = "the work on the bucket was broken off half-way; if it was a write, it may have been done, so read the \
                        key before you write again";
            Err(Error::new(Kind::Failed, text))
        })
    }

    /// Whether the caller is to lead.
    fn enqueue(&self, wish: Wish) -> bool {
        let deadline = self.deadline();
        let mut queue = self.queue.lock();
        queue.waiting.push((wish, deadline));
        !std::mem::replace(&mut queue.led, true)
    }

    fn lead_briefly(self: &Arc<Self>) {
        let leading = Leading(self);
        let mut pause = Pause::new(&self.opened);
        while pause.waited() < BRIEFLY {
            match self.round() {
                Round::Over => return,
                Round::Done => {}
                Round::Held => pause.rest(),
            }
        }
        drop((leading, pause));
        if self.is_over() {
            return;
        }
        let bucket = Arc::clone(self);
        let led = std::thread::Builder::new().name("kvs bucket".into()).spawn(move || bucket.lead_on());
        if led.is_err() {
            // No thread can be had.
            self.lead_on();
        }
    }

    fn lead_on(self: &Arc<Self>) {
        let _leading = Leading(self);
        let mut pause = Pause::new(&self.opened);
        loop {
            match self.round() {
                Round::Over => return,
                Round::Done => pause.reset(),
                Round::Held => pause.rest(),
            }
        }
    }

    /// Whether nobody waits. Then nobody leads any more either.
    fn is_over(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.led = !queue.waiting.is_empty();
        !queue.led
    }

    /// Leaves the bucket free for a moment, if this process has written it for long. The lock is asked for, not waited for, so
    /// otherwise nobody else might ever find it free.
    fn give_way(&self) {
        if self.stint.lock().is_over(Instant::now()) {
            std::thread::sleep(BREATH);
            *self.stint.lock() = Stint::default();
        }
    }

    /// Does what can be done at once for all who wait now, and sends those away whose time is over.
    fn round(self: &Arc<Self>) -> Round {
        if self.is_over() {
            return Round::Over;
        }
        let queue = self.queue.lock();
        let writes = queue.waiting.iter().any(|(wish, _)| wish.is_write());
        let looks = queue.waiting.iter().any(|(wish, _)| !wish.is_write());
        drop(queue);
        if writes {
            self.give_way();
            if self.attempt(Hold::Exclusive) {
                self.stint.lock().left = Instant::now();
                return Round::Done;
            }
            *self.stint.lock() = Stint::default();
        }
        let looked = looks && self.attempt(Hold::Shared);
        let now = Instant::now();
        let late = self.queue.lock().take(|wish, end| end <= now && (wish.is_write() || !looked));
        if late.is_empty() {
            return if looked { Round::Done } else { Round::Held };
        }
        self.held.store(true, Ordering::Relaxed);
        refuse(late, &self.busy());
        Round::Done
    }

    /// Answers the writes that change nothing in a bucket that nobody has written yet.
    fn answer_idle_writes(&self) {
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        let mut left = Vec::with_capacity(waiting.len());
        for (wish, end) in waiting {
            match wish {
                Wish::Write(batch, answer) => match self.answer_idle(&batch) {
                    Some(outcome) => drop(answer.send(outcome)),
                    None => left.push((Wish::Write(batch, answer), end)),
                },
                look @ Wish::Look(_) => left.push((look, end)),
            }
        }
        self.queue.lock().waiting.splice(0..0, left);
    }

    /// Does what can be done under this hold, if it can be had. Under the exclusive one that is everything; if that fails,
    /// looks may still go well.
    fn attempt(self: &Arc<Self>, hold: Hold) -> bool {
        let exclusive = hold == Hold::Exclusive;
        if exclusive && self.is_absent() {
            self.answer_idle_writes();
            if !self.queue.lock().waiting.iter().any(|(wish, _)| wish.is_write()) {
                return true;
            }
        }
        match self.try_turn(hold) {
            Ok(None) => false,
            Ok(Some(turn)) => {
                // Taken before the file is looked at, so that nobody is answered from a look that is older than the wish.
                let group = self.queue.lock().take(|wish, _| exclusive || !wish.is_write());
                self.carry_out(turn, group);
                self.tell();
                self.held.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                let group = self.queue.lock().take(|wish, _| wish.is_write() == exclusive);
                refuse(group, &error);
                true
            }
        }
    }
}
