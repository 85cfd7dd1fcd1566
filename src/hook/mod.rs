//! Telling others of changes: caches get a `PURGE` of what they may hold, programs a signed JSON webhook.
//!
//! It hears of changes by [`Hooks::tell`], which only puts them into queues: it never waits, never fails, and holds a
//! bounded amount. Each URL has a queue and a worker of its own (`lane`), so that a dead one holds up no other, and each gets
//! the events of a key in their order. What is sent: `purge`, `webhook`; how: `client`; how often: `retry`.
//!
//! It names `model` only: which addresses a key has is given to it.

mod client;
mod counters;
mod errand;
mod lane;
mod purge;
mod queue;
mod retry;
mod settings;
mod target;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

pub use settings::{Bounds, Secret, Settings};
pub use target::Target;

use crate::model::{Bucket, Event, Key};
use client::Client;
use counters::Counters;
use lane::Lane;
use purge::Purge;
use webhook::Webhook;

/// The addresses under which a cache may hold a key: paths with their query, `/kv/default/a`.
pub type Addresses = fn(&Bucket, &Key) -> Vec<String>;

/// Delivers events to the URLs of its settings, as long as it lives.
///
/// Needs a runtime of tokio from the first event on, not before.
pub struct Hooks {
    buckets: Vec<Bucket>,
    addresses: Addresses,
    purges: Vec<Lane<Purge>>,
    webhooks: Vec<Lane<Webhook>>,
    counters: Counters,
}

impl Hooks {
    /// Starts nothing yet: a process that changes nothing costs nothing.
    #[must_use]
    pub fn new(settings: Settings, addresses: Addresses) -> Self {
        let counters = Counters::default();
        let Settings { purge, webhook, buckets, bounds, clock } = settings;
        let https = purge.iter().chain(webhook.iter().map(|(target, _)| target)).any(Target::is_https);
        let client = Arc::new(Client::new(https, bounds.timeout, Arc::clone(&clock)));
        let purges = purge.into_iter().zip(1..).map(|(target, number)| {
            Lane::new(Purge::new(target), Arc::clone(&client), bounds, counters.of("purge", number))
        });
        let purges = purges.collect();
        let webhooks = webhook.into_iter().zip(1..).map(|((target, secret), number)| {
            let errand = Webhook::new(target, secret, Arc::clone(&clock));
            Lane::new(errand, Arc::clone(&client), bounds, counters.of("webhook", number))
        });
        let webhooks = webhooks.collect();
        Self { buckets, addresses, purges, webhooks, counters }
    }

    /// Takes note of events. What does not fit into a queue is dropped and counted.
    pub fn tell(&self, events: Vec<Event>) {
        for event in events {
            if !self.buckets.is_empty() && !self.buckets.contains(&event.bucket) {
                continue;
            }
            if !self.purges.is_empty() {
                for address in (self.addresses)(&event.bucket, &event.key) {
                    self.purges.iter().for_each(|lane| lane.push(address.clone()));
                }
            }
            self.webhooks.iter().for_each(|lane| lane.push(event.clone()));
        }
    }

    /// Waits until all is delivered or given up, at most that long, and ends. What is left then is given up: counted,
    /// logged, and returned.
    pub async fn finish(&self, patience: Duration) -> usize {
        let idle = async {
            for lane in &self.purges {
                lane.idle().await;
            }
            for lane in &self.webhooks {
                lane.idle().await;
            }
        };
        // What is left is counted below.
        let _ = tokio::time::timeout(patience, idle).await;
        let purges: usize = self.purges.iter().map(Lane::abandon).sum();
        let webhooks: usize = self.webhooks.iter().map(Lane::abandon).sum();
        purges + webhooks
    }

    /// Makes what is counted known to a registry: `hook_delivered`, `hook_failed`, `hook_dropped`, `hook_retried` and
    /// `hook_queue_length`, each by kind of hook and by the place of its URL in the settings.
    pub fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }
}
