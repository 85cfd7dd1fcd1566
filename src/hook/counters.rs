//! What is counted of each URL. URLs are named by their place in the settings, since some hold secrets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Of all URLs.
#[derive(Clone, Default)]
pub(super) struct Counters {
    delivered: Family<Labels, Counter>,
    failed: Family<Labels, Counter>,
    dropped: Family<Labels, Counter>,
    retried: Family<Labels, Counter>,
    queued: Family<Labels, Gauge>,
}

/// Which URL: what kind of hook, and which of that kind, from 1.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Labels {
    hook: &'static str,
    url: u64,
}

/// Of one URL. Events of webhooks, addresses of purges.
#[derive(Clone, Default)]
pub(super) struct Count {
    /// Taken by the receiver.
    pub(super) delivered: Counter,
    /// Given up: refused, or tried too often or too long.
    pub(super) failed: Counter,
    /// Not taken into the full queue.
    pub(super) dropped: Counter,
    /// Requests sent again.
    pub(super) retried: Counter,
    /// Waiting or under way.
    pub(super) queued: Gauge,
}

impl Counters {
    /// What is counted of that URL, shown from now on even if it stays zero.
    pub(super) fn of(&self, hook: &'static str, url: u64) -> Count {
        let labels = Labels { hook, url };
        Count {
            delivered: self.delivered.get_or_create_owned(&labels),
            failed: self.failed.get_or_create_owned(&labels),
            dropped: self.dropped.get_or_create_owned(&labels),
            retried: self.retried.get_or_create_owned(&labels),
            queued: self.queued.get_or_create_owned(&labels),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let purged = "Events (webhook) or addresses (purge)";
        registry.register("hook_delivered", format!("{purged} that were delivered"), self.delivered.clone());
        registry.register("hook_failed", format!("{purged} that were given up"), self.failed.clone());
        registry.register("hook_dropped", format!("{purged} that found the queue full"), self.dropped.clone());
        registry.register("hook_retried", "Requests of write hooks sent again", self.retried.clone());
        registry.register("hook_queue_length", format!("{purged} that wait or are under way"), self.queued.clone());
    }
}
