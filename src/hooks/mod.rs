//! Write hooks: caches get a `PURGE` for the addresses of a changed key, and webhooks get signed JSON events.
//!
//! [`Hooks::enqueue`] only puts events into queues: it never waits and never fails, and the queues are bounded. Each
//! URL has a queue and a worker of its own (`worker`), so a dead receiver delays no other, and each receiver gets the
//! events of a key in their order. `purge` and `webhook` build the requests, `http_client` sends them, and `retry`
//! decides about further attempts.
//!
//! This floor imports `model` only. The caller provides the function that lists the addresses of a key.

mod http_client;
mod kind;
mod metrics;
mod purge;
mod queue;
mod retry;
mod settings;
mod target;
mod webhook;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

pub use self::settings::{DeliveryLimits, HookSettings, Secret};
pub use self::target::HookUrl;

use self::http_client::HookClient;
use self::metrics::HookMetrics;
use self::purge::Purge;
use self::webhook::Webhook;
use self::worker::DeliveryWorker;
use crate::model::{Bucket, Event, Key};

/// Lists the addresses under which a cache may hold a key: paths with their query, such as `/kv/default/a`.
pub type Addresses = fn(&Bucket, &Key) -> Vec<String>;

/// Delivers events to the URLs of its settings as long as it lives.
///
/// The first event starts the workers, so it must come on a tokio runtime.
pub struct Hooks {
    buckets: Vec<Bucket>,
    addresses: Addresses,
    purges: Vec<DeliveryWorker<Purge>>,
    webhooks: Vec<DeliveryWorker<Webhook>>,
    metrics: HookMetrics,
}

impl Hooks {
    /// Creates the queues. No worker starts before the first event, so a process that changes nothing pays nothing.
    #[must_use]
    pub fn new(settings: HookSettings, addresses: Addresses) -> Self {
        let metrics = HookMetrics::default();
        let HookSettings { purge, webhook, buckets, limits, clock } = settings;
        let needs_https = purge.iter().chain(webhook.iter().map(|(url, _)| url)).any(HookUrl::is_https);
        let client = Arc::new(HookClient::new(needs_https, limits.request_timeout, Arc::clone(&clock)));
        let purges = purge.into_iter().zip(1..).map(|(url, number)| {
            DeliveryWorker::new(Purge::new(url), Arc::clone(&client), limits, metrics.for_url("purge", number))
        });
        let purges = purges.collect();
        let webhooks = webhook.into_iter().zip(1..).map(|((url, secret), number)| {
            let kind = Webhook::new(url, secret, Arc::clone(&clock));
            DeliveryWorker::new(kind, Arc::clone(&client), limits, metrics.for_url("webhook", number))
        });
        let webhooks = webhooks.collect();
        Self { buckets, addresses, purges, webhooks, metrics }
    }

    /// Queues events for delivery. Events that do not fit into a queue are dropped and counted.
    pub fn enqueue(&self, events: Vec<Event>) {
        for event in events {
            if !self.buckets.is_empty() && !self.buckets.contains(&event.bucket) {
                continue;
            }
            if !self.purges.is_empty() {
                for address in (self.addresses)(&event.bucket, &event.key) {
                    self.purges.iter().for_each(|worker| worker.push(address.clone()));
                }
            }
            self.webhooks.iter().for_each(|worker| worker.push(event.clone()));
        }
    }

    /// Waits until every item is delivered or given up, but not longer than `timeout`, and stops. The remaining items
    /// are given up: counted, logged, and returned as a number.
    pub async fn drain(&self, timeout: Duration) -> usize {
        let idle = async {
            for worker in &self.purges {
                worker.idle().await;
            }
            for worker in &self.webhooks {
                worker.idle().await;
            }
        };
        // After the timeout, the remaining items are counted below.
        let _ = tokio::time::timeout(timeout, idle).await;
        let purges: usize = self.purges.iter().map(DeliveryWorker::abandon).sum();
        let webhooks: usize = self.webhooks.iter().map(DeliveryWorker::abandon).sum();
        purges + webhooks
    }

    /// Registers the metrics `hook_delivered`, `hook_failed`, `hook_dropped`, `hook_retried` and `hook_queue_length`.
    /// Their labels are the kind of hook and the position of the URL in the settings.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}
