//! Logs: appending, reading, removing, and waiting for entries.

pub(super) mod append_entries;
pub(super) mod page;
pub(super) mod remove_entries;
pub(super) mod watched_logs;

use crate::model::{Bucket, Key};

/// The name of a log.
#[derive(Clone, Copy)]
pub(super) struct LogName<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a Key,
}
