//! The contract of a store, functions that stores share to implement it, and the suite that tests it.
//!
//! A store is a folder next to this one and imports only `model` and `store`. So does a layer.

mod all_buckets;
mod batch_limits;
mod contract;
mod entries;
mod evaluate;
mod evaluate_all;
mod log_bounds;
mod log_position;
mod measured;
mod polled_watch;
mod recent_changes;
mod scan_bounds;
mod source;
#[cfg(any(test, feature = "test-suite"))]
pub mod suite;
mod value_writer;
mod watched_revision;

pub use self::all_buckets::all_buckets;
pub use self::batch_limits::BatchLimits;
pub use self::contract::{
    BlobReader, Blobs, Changes, Finding, Logs, NewBlob, Report, Severity, Store, StoredBlob, Task,
};
pub(crate) use self::entries::EntriesBuilder;
pub use self::entries::{Entries, EntryView};
pub use self::evaluate::{Decision, Limits, Moment, evaluate};
pub use self::evaluate_all::{Group, evaluate_all};
pub use self::log_bounds::{LogBounds, check_append, check_retention, log_time};
pub use self::log_position::{InvalidPosition, LogPosition, LogStep};
pub(crate) use self::measured::{
    BucketBounds, DURATION_BOUNDS, FAILURES, GROUP_BOUNDS, Histogram, MILLISECOND, Measured, Measurements, Sizes,
};
pub use self::polled_watch::{PollRate, PolledWatch};
pub use self::recent_changes::RecentChanges;
pub use self::scan_bounds::{bounds, page};
pub use self::source::{ImportSource, Rejected, Row, Rows};
pub use self::value_writer::{CollectedValue, ValueWriter};
pub use self::watched_revision::raise_revision;
