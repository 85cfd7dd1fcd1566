//! The settings of a copy, and the progress that it reports.

use std::sync::Arc;

use crate::model::Bucket;
use crate::store::{BatchLimits, Limits};

/// What a run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Copy.
    #[default]
    Copy,
    /// Report what would be copied; write nothing.
    DryRun,
    /// Report the differences; write nothing.
    Verify,
}

/// The settings of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopySettings {
    /// The name of the source. The target records it, so that a later run can tell its own data from that of another
    /// source.
    pub name: String,
    /// Only this bucket; `None`: all buckets.
    pub bucket: Option<Bucket>,
    /// What the run does.
    pub mode: Mode,
    /// Overwrite other data: the buckets of the target become equal to those of the source.
    pub replace: bool,
    /// Skip entries that the target cannot hold. By default nothing is written if there are any.
    pub skip_incompatible: bool,
    /// The limits of the target.
    pub limits: Limits,
    /// How much is written at once.
    pub batches: BatchLimits,
}

impl Default for CopySettings {
    /// Copies all buckets of a source without a name, with values up to the maximum of a store, and overwrites nothing.
    fn default() -> Self {
        let limits = Limits { max_value_bytes: Limits::MAX_VALUE_LIMIT };
        Self {
            name: String::new(),
            bucket: None,
            mode: Mode::Copy,
            replace: false,
            skip_incompatible: false,
            limits,
            batches: BatchLimits::default(),
        }
    }
}

/// The phase of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Comparing both sides before the first write.
    Comparing,
    /// Writing the entries that the target lacks.
    Copying,
    /// Comparing both sides after the writes.
    Verifying,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The current bucket.
    pub bucket: &'a Bucket,
    /// What is being done with it.
    pub phase: Phase,
    /// The number of entries that are done.
    pub done: u64,
    /// The approximate number of all entries.
    pub total: u64,
}

/// Called with the progress. It must return at once.
pub type ProgressFn = Arc<dyn Fn(Progress<'_>) + Send + Sync>;
