//! The file of the last copy, as this process knows it.

use std::sync::Arc;

use super::hand_edits::Overwritten;
use crate::yaml::fs::File;

/// What this process knows of the last copy.
pub(crate) struct LastCopyFile {
    /// Longer files have no copy. In bytes.
    pub(crate) up_to: u64,
    /// Open for appending.
    pub(crate) file: Option<Arc<dyn File>>,
    /// Whether it holds the same as the data file.
    pub(crate) is_true: bool,
    /// It could not be written. It is not tried again before the data file has been read again.
    pub(crate) failed: bool,
    /// What people overwrote and has not been set aside yet.
    pub(crate) overwritten: Overwritten,
}

impl LastCopyFile {
    pub(crate) fn new(up_to: u64) -> Self {
        Self { up_to, file: None, is_true: false, failed: false, overwritten: Overwritten::default() }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.is_true
    }

    /// Whether files of this length have a copy.
    pub(crate) fn is_for(&self, len: u64) -> bool {
        len <= self.up_to
    }

    /// Whether the copy is still appended to when the file has grown to this length before a compaction.
    pub(crate) fn goes_on(&self, len: u64) -> bool {
        len <= self.up_to.saturating_mul(16)
    }

    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Notes whether the copy matches the data file, which has just been read.
    pub(crate) fn found(&mut self, is_true: bool) {
        (self.file, self.is_true, self.failed) = (None, is_true, false);
    }
}
