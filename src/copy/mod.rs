//! Copies the content of a store, or of another [`ImportSource`](crate::store::ImportSource), into a store: values,
//! content types, times, expiry and revisions, and logs with the indices and times of their entries.
//!
//! A run compares both sides key by key, writes the missing entries in the order of their revisions, and compares again
//! until both sides are equal. So it can be interrupted at any point and run again: it copies only what is missing, and
//! the last comparison proves the result. Reserved buckets are not copied.
//!
//! Data in the target that did not come from this source is never overwritten, unless [`CopySettings::replace`] is set.

mod compare;
mod job;
mod job_settings;
mod log_copy;
mod plan;
mod progress_record;
mod report;
mod side;
mod store_source;
mod writer;

pub use self::compare::Fields;
pub use self::job::CopyJob;
pub use self::job_settings::{CopySettings, Mode, Phase, Progress, ProgressFn};
pub use self::report::{Conflict, CopyReport, Difference, DifferenceKind, Differences, LogConflict};
