//! A histogram of durations in atomic counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds, in nanoseconds. What is longer than the last one has a place of its own behind them.
pub(super) type Bounds = [u64; BOUNDS];

const BOUNDS: usize = 15;

/// Durations counted by their bounds.
///
/// A reader may see one of the numbers a moment before another: each is right, and they meet when nothing is counted.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, bounds: &Bounds, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bounds.partition_point(|bound| *bound < nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn encode(&self, bounds: &Bounds, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let seconds = bounds.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64());
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = seconds.chain([f64::INFINITY]).zip(counts).collect();
        // Of these very counts, so that the last bucket is the whole.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }
}
