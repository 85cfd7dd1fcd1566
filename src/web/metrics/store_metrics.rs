//! The metrics of a store that is measured.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType::{Counter, Histogram};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit::Seconds;
use tokio::time::timeout;

use super::exposition::load;
use super::histogram;
use super::histogram::NANOS;
use crate::model::ErrorKind;
use crate::store::{DURATION_BOUNDS, FAILURES, GROUP_BOUNDS, Measured, Sizes};

/// How long sizes are reused.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How long a request waits for new sizes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A store that is measured, and its last sizes.
pub(crate) struct StoreMetrics {
    store: Arc<dyn Measured>,
    last: Mutex<Option<(Instant, Sizes)>>,
    /// Locked while a task reads the sizes, so that there is one such task, however many requests ask.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl StoreMetrics {
    pub(crate) fn new(store: Arc<dyn Measured>) -> Self {
        Self { store, last: Mutex::default(), reading: Arc::default() }
    }

    /// How much the store holds, or held when that was last known.
    pub(crate) async fn sizes(self: &Arc<Self>) -> Option<Sizes> {
        if let Some((at, sizes)) = *self.last.lock()
            && at.elapsed() < MAX_AGE
        {
            return Some(sizes);
        }
        if let Ok(reading) = Arc::clone(&self.reading).try_lock_owned() {
            let this = Arc::clone(self);
            let task = tokio::spawn(async move {
                let _reading = reading;
                match this.store.sizes().await {
                    Ok(sizes) => *this.last.lock() = Some((Instant::now(), sizes)),
                    Err(error) => tracing::debug!("the sizes of the store are unknown: {error}"),
                }
            });
            // It goes on after that.
            let _ = timeout(PATIENCE, task).await;
        }
        self.last.lock().map(|(_, sizes)| sizes)
    }
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.store.measurements(), f)
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let measured = self.store.measurements();
        for (name, help, durations) in [
            (
                "kvs_lock_wait_duration",
                "How long writes waited for their turn and for the lock of their file",
                &measured.lock_waits,
            ),
            ("kvs_sync_duration", "How long the syncs of writes to files took", &measured.syncs),
        ] {
            let metric = encoder.encode_descriptor(name, help, Some(&Seconds), Histogram)?;
            histogram::encode(durations, &DURATION_BOUNDS, NANOS, metric)?;
        }
        let help = "How many writes were stored together";
        let metric = encoder.encode_descriptor("kvs_group_writes", help, None, Histogram)?;
        histogram::encode(&measured.groups, &GROUP_BOUNDS, 1.0, metric)?;
        let help = "Files that were rewritten without what is no longer needed";
        let metric = encoder.encode_descriptor("kvs_compactions", help, None, Counter)?;
        ConstCounter::new(load(&measured.compactions)).encode(metric)?;
        let help = "Writes that the system did not store";
        let mut family = encoder.encode_descriptor("kvs_write_failures", help, None, Counter)?;
        for (kind, counter) in FAILURES.iter().zip(&measured.failures) {
            let name = ErrorKind::NAMES.iter().find(|(known, _)| known == kind).map_or("", |(_, name)| *name);
            ConstCounter::new(load(counter)).encode(family.encode_family(&[("kind", name)])?)?;
        }
        Ok(())
    }
}
