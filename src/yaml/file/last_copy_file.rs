//! The file of the last copy, as this process knows it.

use std::sync::Arc;

use super::hand_edits::Overwritten;
use crate::yaml::fs::File;

/// What this process knows about the last copy.
pub(crate) struct LastCopyFile {
    /// The maximum length of a file that has a copy, in bytes.
    pub(crate) max_len: u64,
    /// Open for appending.
    pub(crate) file: Option<Arc<dyn File>>,
    /// Whether it holds the same as the data file.
    pub(crate) matches_file: bool,
    /// It could not be written. It is not tried again before the data file has been read again.
    pub(crate) failed: bool,
    /// The entries that people overwrote and that have not been set aside yet.
    pub(crate) overwritten: Overwritten,
}

impl LastCopyFile {
    pub(crate) fn new(max_len: u64) -> Self {
        Self { max_len, file: None, matches_file: false, failed: false, overwritten: Overwritten::default() }
    }

    pub(crate) fn matches_file(&self) -> bool {
        self.matches_file
    }

    /// Whether files of this length have a copy.
    pub(crate) fn is_for(&self, len: u64) -> bool {
        len <= self.max_len
    }

    /// Whether the copy is still appended to when the file has grown to this length before a compaction.
    pub(crate) fn can_grow_to(&self, len: u64) -> bool {
        len <= self.max_len.saturating_mul(16)
    }

    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Notes whether the copy matches the data file, which has just been read.
    pub(crate) fn found(&mut self, matches_file: bool) {
        (self.file, self.matches_file, self.failed) = (None, matches_file, false);
    }
}
