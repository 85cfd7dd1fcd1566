//! What a store measures while it works, and how much it holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::model::{ErrorKind, Result};

/// Upper bounds of the buckets of a histogram. One more bucket after them has no bound.
pub(crate) type BucketBounds = [u64; BUCKETS];

const BUCKETS: usize = 15;

/// Nanoseconds in a microsecond.
const MICROSECOND: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Bounds for an operation, in nanoseconds: from a read in memory to a write on a slow disk.
pub(crate) const DURATION_BOUNDS: BucketBounds = [
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    1_000 * MILLISECOND,
    5_000 * MILLISECOND,
];

/// Bounds for the number of writes in a group.
pub(crate) const GROUP_BOUNDS: BucketBounds = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1_024];

/// The kinds of errors that are failures of the system.
pub(crate) const FAILURES: [ErrorKind; 4] =
    [ErrorKind::Busy, ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::Unavailable];

/// A histogram in atomic counters.
///
/// A reader may see one counter updated before another. The counters are consistent when nothing is being counted.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, bounds: &BucketBounds, value: u64) {
        if let Some(count) = self.counts.get(bounds.partition_point(|bound| *bound < value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration in nanoseconds.
    pub(crate) fn observe_duration(&self, bounds: &BucketBounds, duration: Duration) {
        self.observe(bounds, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values each bucket has, and the last one without a bound.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed))
    }

    /// The sum of all values.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts().all(|count| count == 0)
    }
}

/// What a store measures while it writes.
#[derive(Debug, Default)]
pub(crate) struct Measurements {
    /// How long writes waited for their turn and for the lock of their file, in nanoseconds.
    pub(crate) lock_waits: Histogram,
    /// How long the syncs of appends took, in nanoseconds.
    pub(crate) syncs: Histogram,
    /// How many writes each of these syncs has stored.
    pub(crate) groups: Histogram,
    /// How many files were rewritten without what is no longer needed.
    pub(crate) compactions: AtomicU64,
    /// How many writes were not stored, by the kinds in [`FAILURES`].
    pub(crate) failures: [AtomicU64; FAILURES.len()],
}

impl Measurements {
    pub(crate) fn waited(&self, duration: Duration) {
        self.lock_waits.observe_duration(&DURATION_BOUNDS, duration);
    }

    /// Measures a sync.
    pub(crate) fn sync<T>(&self, sync: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let synced = sync();
        self.syncs.observe_duration(&DURATION_BOUNDS, began.elapsed());
        synced
    }

    pub(crate) fn stored(&self, writes: usize) {
        self.groups.observe(&GROUP_BOUNDS, u64::try_from(writes).unwrap_or(u64::MAX));
    }

    pub(crate) fn compacted(&self) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts writes that failed. An error of what they asked for, or of the data, is not a failure of the system.
    pub(crate) fn failed(&self, kind: ErrorKind, writes: usize) {
        let counters = FAILURES.iter().zip(&self.failures);
        for (_, counter) in counters.filter(|(known, _)| **known == kind) {
            counter.fetch_add(u64::try_from(writes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// How much a store holds. Sizes are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) buckets: u64,
    /// The entries of the buckets that this process has in memory.
    pub(crate) keys: u64,
    pub(crate) data_bytes: u64,
    pub(crate) logs: u64,
    pub(crate) log_entries: u64,
    pub(crate) log_bytes: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
    /// Problems that a person must fix.
    pub(crate) damaged_files: u64,
}

/// A store that is measured.
#[async_trait]
pub(crate) trait Measured: Send + Sync {
    fn measurements(&self) -> &Measurements;

    /// How much it holds now.
    async fn sizes(&self) -> Result<Sizes>;
}
