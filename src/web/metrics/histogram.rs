//! A histogram of durations in atomic counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds of the buckets, in nanoseconds. One more bucket after them has no bound.
pub(crate) type BucketBounds = [u64; BUCKETS];

const BUCKETS: usize = 15;

/// A histogram of durations.
///
/// A reader may see one counter updated before another. The counters are consistent when no request is being counted.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, bounds: &BucketBounds, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bounds.partition_point(|bound| *bound < nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn encode(&self, bounds: &BucketBounds, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let seconds = bounds.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64());
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = seconds.chain([f64::INFINITY]).zip(counts).collect();
        // The sum of the counts just read, so that it equals the last cumulative bucket.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }
}
