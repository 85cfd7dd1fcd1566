//! Metrics of this process, in the OpenMetrics format.
//!
//! Counting a request costs two reads of the clock and a few atomic additions: no lock, no allocation, no search by
//! name. A label never contains a text from a client, such as a key, a bucket, a path, a secret or an address. The
//! metrics cover one process, from its start.

pub(super) mod counted;
pub(super) mod counters;
pub(super) mod exposition;
pub(super) mod histogram;
pub(super) mod request_timer;
pub(super) mod store_metrics;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::counters::{Class, CountedResponse, Counters};
use self::request_timer::RequestTimer;
use self::store_metrics::StoreMetrics;
use crate::model::{Error, ErrorKind, Time};
use crate::store::{Measured, Sizes};
use crate::web::body::Response;
use crate::web::read::long_poll_limit::LongPollLimit;

/// The clients that may read the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetricsAccess {
    /// All clients.
    #[default]
    Open,
    /// Clients with a secret that allows reading the bucket `default`.
    Secret,
    /// No client: `/metrics` is 404.
    Off,
}

impl FromStr for MetricsAccess {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "open" => Ok(Self::Open),
            "secret" => Ok(Self::Secret),
            "off" => Ok(Self::Off),
            _ => Err(Error::new(ErrorKind::Invalid, format!("bad value {text:?}: write open, secret or off"))),
        }
    }
}

/// The metrics of a process.
///
/// A process has one of these, not one for each [`Api`](super::Api): the counters continue when an `Api` is replaced.
#[derive(Debug)]
pub struct Metrics {
    access: MetricsAccess,
    process: Option<u32>,
    registry: Registry,
    counters: Arc<Counters>,
    store: Option<Arc<StoreMetrics>>,
}

/// What is true when the metrics are read.
pub(crate) struct Readings<'a> {
    pub(crate) long_polls: &'a LongPollLimit,
    pub(crate) is_ready: bool,
    /// `None` if the store is not measured, or cannot be read.
    pub(crate) sizes: Option<Sizes>,
}

impl Default for Metrics {
    /// Open to all clients, without a process label, and with a start time of 0.
    fn default() -> Self {
        Self::new(MetricsAccess::default(), None, Time::default())
    }
}

impl Metrics {
    /// Metrics with all counters at zero. `process` adds the label `process="ID"` to each of them. It is needed if a
    /// web server starts several processes: each request may reach another one, and their metrics must not be mixed.
    #[must_use]
    pub fn new(access: MetricsAccess, process: Option<u32>, started: Time) -> Self {
        let mut registry = Registry::with_labels(labels(process).into_iter());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("kvs_build", "The version of the running program", version);
        let start_time = started.since(Time::default()).as_secs_f64();
        let help = "When the process started, in seconds since 1970";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, ConstGauge::new(start_time));
        let counters = Arc::new(Counters::default());
        registry.register_collector(Box::new(Arc::clone(&counters)));
        Self { access, process, registry, counters, store: None }
    }

    /// A registry for more metrics, to be filled before serving begins. Their names get the prefix `kvs_`. Their labels
    /// must not contain a text from a client.
    pub fn registry(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix("kvs")
    }

    /// Adds metrics whose names are complete, before serving begins. Their labels must not contain a text from a client.
    pub(crate) fn collect(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// Adds the metrics of a store, before serving begins.
    pub(crate) fn measure(&mut self, store: Arc<dyn Measured>) {
        let store = Arc::new(StoreMetrics::new(store));
        self.collect(Box::new(Arc::clone(&store)));
        self.store = Some(store);
    }

    /// How much the store holds; `None` if it is not measured, or could not be read yet.
    pub(crate) async fn sizes(&self) -> Option<Sizes> {
        self.store.as_ref()?.sizes().await
    }

    pub(crate) fn access(&self) -> MetricsAccess {
        self.access
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Whether `/metrics` is off.
    pub(crate) fn is_off(&self) -> bool {
        self.access == MetricsAccess::Off
    }

    /// Counts a response.
    pub(crate) fn count(&self, class: Class, method: &Method, timer: &RequestTimer, response: &Response) {
        self.counters.count(&counted(class, method, response), timer);
    }

    /// The metrics in the OpenMetrics format, with the gauges of now.
    pub(crate) fn text(&self, readings: &Readings<'_>) -> Result<String, fmt::Error> {
        let Readings { long_polls, is_ready, sizes } = readings;
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut gauges = Registry::with_labels(labels(self.process).into_iter());
        let mut add = |name: &str, help: &str, number: u64| {
            gauges.register(name, help, ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX)));
        };
        add("kvs_waiters", "Long polls and event streams that are waiting now", number(long_polls.taken()));
        add("kvs_waiters_max", "How many long polls and event streams may wait at once", number(long_polls.max()));
        add("kvs_streams", "Event streams that are open now", number(long_polls.streams()));
        add("kvs_ready", "Whether /readyz is 200", (*is_ready).into());
        if let Some(sizes) = sizes {
            add("kvs_buckets", "Buckets of the store", sizes.buckets);
            add("kvs_keys", "Entries of the buckets that this process has in memory", sizes.keys);
            add("kvs_data_bytes", "Bytes of the data files", sizes.data_bytes);
            add("kvs_logs", "Logs of the store", sizes.logs);
            add("kvs_log_entries", "Entries of all logs", sizes.log_entries);
            add("kvs_log_bytes", "Bytes of the files of the logs", sizes.log_bytes);
            add("kvs_blobs", "Large values in files of their own", sizes.blobs);
            add("kvs_blob_bytes", "Bytes of these files", sizes.blob_bytes);
            add(
                "kvs_damaged_files",
                "Problems of files that a person must fix; /status names them",
                sizes.damaged_files,
            );
        }
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        text::encode_registry(&mut out, &gauges)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// The properties of a response that the metrics count. A body of unknown length counts as empty.
pub(crate) fn counted(class: Class, method: &Method, response: &Response) -> CountedResponse {
    let sent = if method == Method::HEAD { 0 } else { response.body().length().unwrap_or(0) };
    CountedResponse { class, method: method.clone(), status: response.status().as_u16(), sent }
}

/// The labels of every metric.
fn labels(process: Option<u32>) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
    process.map(|id| ("process".into(), id.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_open_secret_or_off() {
        assert_eq!("secret".parse::<MetricsAccess>().unwrap(), MetricsAccess::Secret);
        assert_eq!("off".parse::<MetricsAccess>().unwrap(), MetricsAccess::Off);
        assert_eq!("open".parse::<MetricsAccess>().unwrap(), MetricsAccess::default());
        assert!("closed".parse::<MetricsAccess>().unwrap_err().to_string().contains("open, secret or off"));
    }

    #[test]
    fn more_metrics_have_the_process_label() {
        let mut metrics = Metrics::new(MetricsAccess::Open, Some(7), Time::from_secs(12));
        metrics.registry().register("things", "Things", ConstGauge::new(3_i64));
        let mut out = String::new();
        text::encode(&mut out, &metrics.registry).unwrap();
        assert!(out.contains("kvs_things{process=\"7\"} 3\n"), "{out}");
        assert!(out.contains("process_start_time_seconds{process=\"7\"} 12.0\n"), "{out}");
    }
}
