//! The exposition of a histogram.

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use crate::store::{BucketBounds, Histogram};

/// Nanoseconds in a second: the scale of a histogram of durations.
pub(crate) const NANOS: f64 = 1e9;

/// Encodes a histogram. `scale` is the number of counted units in a unit of the exposition.
pub(crate) fn encode(
    histogram: &Histogram,
    bounds: &BucketBounds,
    scale: f64,
    mut encoder: MetricEncoder<'_>,
) -> std::fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "bounds and sums need no more than the 15 digits of a double")]
    let scaled = |value: u64| value as f64 / scale;
    let bounds = bounds.iter().map(|bound| scaled(*bound));
    let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(histogram.counts()).collect();
    // The sum of the counts just read, so that it equals the last cumulative bucket.
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(scaled(histogram.sum()), count, &buckets, None)
}
