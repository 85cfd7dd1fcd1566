//! What this process knows about a data file since it last read or wrote it.

use super::last_copy_format::Fingerprint;
use crate::yaml::fs::Stat;

/// Whether documents can be appended to a data file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum AppendState {
    #[default]
    Ready,
    /// The file must be rewritten first: the state has revisions that neither the file nor the last copy has.
    AfterRewrite,
    /// The file must be rewritten first, since a sync failed.
    Suspect,
    /// The file is missing or empty, but the bucket had data in it.
    Vanished,
}

/// What is known about the data file at the time of [`stat`](Self::stat).
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownFile {
    pub(crate) stat: Option<Stat>,
    /// The epoch of the record in the lock file, if that record matched.
    pub(crate) epoch: Option<u64>,
    /// The offset after the last document, where the next one goes.
    pub(crate) committed: u64,
    /// The length of the first document.
    pub(crate) snapshot: u64,
    /// The text to write before the next document: the end mark of the last one, if it has none.
    pub(crate) mark: &'static [u8],
    /// The offset of a torn tail, if there is one.
    pub(crate) torn: Option<u64>,
    pub(crate) append_state: AppendState,
    /// Whether the file is in its form at rest: one document that holds the whole state.
    pub(crate) is_tidy: bool,
    /// Whether kvs wrote all lines of the file.
    pub(crate) is_plain: bool,
    /// The file that the lock file announces durably, with which this one begins.
    pub(crate) announced: Option<Fingerprint>,
    /// The file as it was read, if a person changed it and this has not been recorded yet.
    pub(crate) edited: Option<Fingerprint>,
}

impl KnownFile {
    /// Notes that the file and the last copy hold the whole state again.
    pub(crate) fn no_rewrite_needed(&mut self) {
        if self.append_state == AppendState::AfterRewrite {
            self.append_state = AppendState::Ready;
        }
    }
}
