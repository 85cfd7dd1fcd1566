//! The delivery to one URL: its queue, and the worker that sends one request after another.
//!
//! Requests to a URL never overlap, so the events of a key arrive in their order. Every queued item is counted once: as
//! delivered, failed or dropped.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::http_client::HookClient;
use super::kind::HookKind;
use super::metrics::UrlMetrics;
use super::queue::{DeliveryQueue, PutResult};
use super::retry::{DeliveryResult, backoff};
use super::settings::DeliveryLimits;

/// Delivers to one URL. Dropping it stops the worker.
pub(crate) struct DeliveryWorker<K: HookKind> {
    state: Arc<WorkerState<K>>,
    /// Started by the first item.
    task: OnceLock<JoinHandle<()>>,
}

struct WorkerState<K: HookKind> {
    kind: K,
    client: Arc<HookClient>,
    limits: DeliveryLimits,
    queue: DeliveryQueue<K::Item>,
    metrics: UrlMetrics,
    /// Whether the last delivery failed. Only the first failure is logged.
    is_failing: AtomicBool,
}

impl<K: HookKind> DeliveryWorker<K> {
    pub(crate) fn new(kind: K, client: Arc<HookClient>, limits: DeliveryLimits, metrics: UrlMetrics) -> Self {
        let queue = DeliveryQueue::new(limits.max_queued);
        let state = WorkerState { kind, client, limits, queue, metrics, is_failing: AtomicBool::new(false) };
        Self { state: Arc::new(state), task: OnceLock::new() }
    }

    /// Queues an item, or drops it if the queue is full. The first item starts the worker, which needs a tokio runtime.
    pub(crate) fn push(&self, item: K::Item) {
        match self.state.queue.put(item) {
            PutResult::Queued => self.start(),
            PutResult::Full => {
                self.state.metrics.dropped.inc();
                let limit = self.state.limits.max_queued;
                self.state
                    .log_failure(&format!("the queue of {limit} (hook_queue) is full; further {} are lost", K::ITEMS));
            }
        }
        self.state.update_queue_length();
    }

    fn start(&self) {
        self.task.get_or_init(|| {
            let state = Arc::clone(&self.state);
            tokio::spawn(async move { state.run().await })
        });
    }

    /// Waits until no item is queued or being sent.
    pub(crate) async fn idle(&self) {
        self.state.queue.idle().await;
    }

    /// Stops the worker and gives up all items that are queued or being sent. Returns their number.
    pub(crate) fn abandon(&self) -> usize {
        if let Some(task) = self.task.get() {
            task.abort();
        }
        let abandoned = self.state.queue.clear();
        if abandoned > 0 {
            self.state.metrics.failed.inc_by(u64::try_from(abandoned).unwrap_or(u64::MAX));
            tracing::warn!(url = %self.state.kind.url(), "{abandoned} {} not delivered before shutdown", K::ITEMS);
        }
        self.state.update_queue_length();
        abandoned
    }
}

impl<K: HookKind> Drop for DeliveryWorker<K> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl<K: HookKind> WorkerState<K> {
    async fn run(&self) {
        loop {
            let taken = self.queue.take(K::MAX_ITEMS_PER_REQUEST).await;
            let count = u64::try_from(taken.items.len()).unwrap_or(u64::MAX);
            match self.deliver(&taken.items, taken.oldest).await {
                Ok(()) => {
                    self.metrics.delivered.inc_by(count);
                    if self.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::warn!(url = %self.kind.url(), "{} delivery works again", K::NAME);
                    }
                }
                Err(why) => {
                    self.metrics.failed.inc_by(count);
                    self.log_failure(&why);
                }
            }
            self.queue.finish(taken.items.len());
            self.update_queue_length();
        }
    }

    /// Sends until the receiver has accepted the items.
    ///
    /// # Errors
    /// The reason why they were given up.
    async fn deliver(&self, items: &[K::Item], oldest: Instant) -> Result<(), String> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (why, retry_after) = match self.send(items).await {
                DeliveryResult::Delivered => return Ok(()),
                DeliveryResult::GiveUp { why } => return Err(why),
                DeliveryResult::RetryLater { why, retry_after } => (why, retry_after),
            };
            tracing::debug!(url = %self.kind.url(), attempts, "{} delivery: {why}", K::NAME);
            // Without random numbers the pauses have their full length.
            let jitter = getrandom::u32().map_or(u16::MAX, |n| u16::try_from(n >> 16).unwrap_or(u16::MAX));
            let Some(pause) = backoff(&self.limits, attempts, oldest.elapsed(), retry_after, jitter) else {
                return Err(format!("{why}; gave up after {attempts} attempts"));
            };
            sleep(pause).await;
            self.metrics.retried.inc();
        }
    }

    async fn send(&self, items: &[K::Item]) -> DeliveryResult {
        let request = match self.kind.request(items) {
            Ok(request) => request,
            Err(error) => return DeliveryResult::GiveUp { why: format!("cannot build the request: {error}") },
        };
        match self.client.send(request).await {
            Ok(response) => self.kind.result(&response),
            Err(result) => result,
        }
    }

    /// Logs the first failure since the last success, so that a receiver which is down for a day does not fill the log.
    fn log_failure(&self, why: &str) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(url = %self.kind.url(), "{} delivery failed: {why}", K::NAME);
        }
    }

    fn update_queue_length(&self) {
        self.metrics.queued.set(i64::try_from(self.queue.unfinished()).unwrap_or(i64::MAX));
    }
}
