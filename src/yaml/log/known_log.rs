//! What is known about a log file in one state.

use super::tail::Tail;
use crate::model::Time;
use crate::store::LogBounds;
use crate::yaml::fs::Stat;

/// A log file in one state. All entries up to `tail.end` are durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KnownLog {
    pub(crate) stat: Stat,
    /// The offset of the first entry.
    pub(crate) begin: u64,
    pub(crate) tail: Tail,
    /// Index and time of the first entry in the file, which the retention may no longer keep.
    pub(crate) oldest: Option<(u64, Time)>,
    pub(crate) bounds: LogBounds,
}

impl KnownLog {
    /// Whether there are bytes after the last whole append.
    pub(crate) fn is_torn(&self) -> bool {
        self.tail.end < self.stat.len
    }
}
