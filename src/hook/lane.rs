//! One URL: its queue, and the worker that empties it, one request after another.
//!
//! What always holds: requests to a URL never overlap, so the events of a key arrive in their order; what was put in is
//! delivered, given up or dropped, and counted as one of these.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::counters::Count;
use super::errand::Errand;
use super::queue::{Put, Queue};
use super::retry::{self, Verdict};
use super::settings::Bounds;

/// Ends its worker when dropped.
pub(super) struct Lane<E: Errand> {
    shared: Arc<Shared<E>>,
    /// There is none before the first item.
    worker: OnceLock<JoinHandle<()>>,
}

struct Shared<E: Errand> {
    errand: E,
    client: Arc<Client>,
    bounds: Bounds,
    queue: Queue<E::Item>,
    count: Count,
    /// Whether the log has been told that this URL is in trouble, so that it is told once.
    troubled: AtomicBool,
}

impl<E: Errand> Lane<E> {
    pub(super) fn new(errand: E, client: Arc<Client>, bounds: Bounds, count: Count) -> Self {
        let queue = Queue::new(bounds.queue);
        let shared = Shared { errand, client, bounds, queue, count, troubled: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), worker: OnceLock::new() }
    }

    /// Lets it wait to be sent, or drops it if too much waits already. The first one starts the worker, so it must come
    /// on a runtime.
    pub(super) fn push(&self, item: E::Item) {
        let Shared { queue, count, .. } = &*self.shared;
        match queue.put(item) {
            Put::Waits => self.start(),
            Put::Full => {
                count.dropped.inc();
                self.shared.complain("its queue is full; what comes now is dropped");
            }
        }
        self.shared.show_length();
    }

    fn start(&self) {
        self.worker.get_or_init(|| {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.work().await })
        });
    }

    /// Waits until nothing waits or is under way.
    pub(super) async fn idle(&self) {
        self.shared.queue.idle().await;
    }

    /// Stops sending. What waits or is under way is given up; returns how many that were.
    pub(super) fn abandon(&self) -> usize {
        if let Some(worker) = self.worker.get() {
            worker.abort();
        }
        let left = self.shared.queue.clear();
        if left > 0 {
            self.shared.count.failed.inc_by(u64::try_from(left).unwrap_or(u64::MAX));
            tracing::warn!(url = %self.shared.errand.target(), "{} of a {} hook not delivered before the end", left, E::NAME);
        }
        self.shared.show_length();
        left
    }
}

impl<E: Errand> Drop for Lane<E> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.get() {
            worker.abort();
        }
    }
}

impl<E: Errand> Shared<E> {
    async fn work(&self) {
        loop {
            let (items, oldest) = self.queue.take(E::MOST).await;
            let number = u64::try_from(items.len()).unwrap_or(u64::MAX);
            match self.deliver(&items, oldest).await {
                Ok(()) => {
                    self.count.delivered.inc_by(number);
                    if self.troubled.swap(false, Ordering::Relaxed) {
                        tracing::warn!(url = %self.errand.target(), "the {} hook works again", E::NAME);
                    }
                }
                Err(why) => {
                    self.count.failed.inc_by(number);
                    self.complain(&why);
                }
            }
            self.queue.finish(items.len());
            self.show_length();
        }
    }

    /// Sends until the receiver has it.
    ///
    /// # Errors
    /// Why it was given up.
    async fn deliver(&self, items: &[E::Item], oldest: Instant) -> Result<(), String> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (why, asked) = match self.send(items).await {
                Verdict::Delivered => return Ok(()),
                Verdict::Never { why } => return Err(why),
                Verdict::Later { why, after } => (why, after),
            };
            tracing::debug!(url = %self.errand.target(), tries, "{} hook: {why}", E::NAME);
            // Without chance the pauses are of full length, which is as good for one.
            let chance = getrandom::u32().map_or(u16::MAX, |n| u16::try_from(n >> 16).unwrap_or(u16::MAX));
            let Some(pause) = retry::pause(&self.bounds, (tries, oldest.elapsed()), asked, chance) else {
                return Err(format!("{why}; given up after {tries} tries"));
            };
            sleep(pause).await;
            self.count.retried.inc();
        }
    }

    async fn send(&self, items: &[E::Item]) -> Verdict {
        let request = match self.errand.request(items) {
            Ok(request) => request,
            Err(error) => return Verdict::Never { why: format!("cannot be sent: {error}") },
        };
        match self.client.send(request).await {
            Ok(answer) => self.errand.judge(&answer),
            Err(verdict) => verdict,
        }
    }

    /// Logs the first trouble since the last success: a receiver that is down for a day is not a million lines.
    fn complain(&self, why: &str) {
        if !self.troubled.swap(true, Ordering::Relaxed) {
            tracing::warn!(url = %self.errand.target(), "{} hook not delivered: {why}", E::NAME);
        }
    }

    fn show_length(&self) {
        self.count.queued.set(i64::try_from(self.queue.unfinished()).unwrap_or(i64::MAX));
    }
}
