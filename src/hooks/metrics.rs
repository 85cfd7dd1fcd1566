//! The metrics of the hooks. URLs are identified by their position in the settings, because a URL may be a secret.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of all URLs.
#[derive(Clone, Default)]
pub(crate) struct HookMetrics {
    delivered: Family<UrlLabels, Counter>,
    failed: Family<UrlLabels, Counter>,
    dropped: Family<UrlLabels, Counter>,
    retried: Family<UrlLabels, Counter>,
    queued: Family<UrlLabels, Gauge>,
}

/// The kind of hook, and the position of the URL among those of that kind, from 1.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct UrlLabels {
    hook: &'static str,
    url: u64,
}

/// The metrics of one URL. All but `retried` count items: events of webhooks, addresses of purges.
#[derive(Clone, Default)]
pub(crate) struct UrlMetrics {
    pub(crate) delivered: Counter,
    /// Given up: the receiver refused, or the limit of attempts or of age was reached.
    pub(crate) failed: Counter,
    /// Rejected by a full queue.
    pub(crate) dropped: Counter,
    /// Requests that were sent again.
    pub(crate) retried: Counter,
    /// Waiting or being sent.
    pub(crate) queued: Gauge,
}

impl HookMetrics {
    /// The metrics of a URL. They are exported from now on, even while they are zero.
    pub(crate) fn for_url(&self, hook: &'static str, url: u64) -> UrlMetrics {
        let labels = UrlLabels { hook, url };
        UrlMetrics {
            delivered: self.delivered.get_or_create_owned(&labels),
            failed: self.failed.get_or_create_owned(&labels),
            dropped: self.dropped.get_or_create_owned(&labels),
            retried: self.retried.get_or_create_owned(&labels),
            queued: self.queued.get_or_create_owned(&labels),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let items = "Events (webhook) or addresses (purge)";
        registry.register("hook_delivered", format!("{items} that were delivered"), self.delivered.clone());
        registry.register("hook_failed", format!("{items} that were given up"), self.failed.clone());
        registry.register("hook_dropped", format!("{items} that a full queue rejected"), self.dropped.clone());
        registry.register("hook_retried", "Requests of write hooks that were sent again", self.retried.clone());
        registry.register("hook_queue_length", format!("{items} that wait or are being sent"), self.queued.clone());
    }
}
