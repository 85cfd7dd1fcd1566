//! The report of a copy.

use std::fmt;

use super::compare::{BucketDiff, Fields};
use super::log_copy::LogDiff;
use crate::model::{Bucket, Key};
use crate::store::Rejected;

/// The number of differences and conflicting keys that are listed.
const MAX_LISTED: usize = 10;

/// The result of a copy: the entries that were copied, the conflicts, and the differences that remain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// The number of buckets of the source that were compared.
    pub buckets: u64,
    /// The number of entries, those of logs too, that are equal on both sides in the last comparison.
    pub equal: u64,
    /// The number of entries that were written to the target or, in a dry run, would be.
    pub copied: u64,
    /// The number of entries that were deleted from the target because the source no longer has them, or would be.
    pub deleted: u64,
    /// Buckets with other data. If there are any, nothing was written.
    pub conflicts: Vec<Conflict>,
    /// Logs with other entries. If there are any, nothing was written.
    pub log_conflicts: Vec<LogConflict>,
    /// Rows that the target cannot hold. If there are any, nothing was written, unless
    /// [`skip_incompatible`](super::job_settings::CopySettings::skip_incompatible) is set.
    pub rejected: Vec<Rejected>,
    /// The differences that remain at the end.
    pub differences: Differences,
}

impl CopyReport {
    /// Whether the target is now equal to the source, except for rejected rows.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        !self.has_conflicts() && self.differences.count == 0
    }

    /// Whether the target has other data, so that nothing was written.
    #[must_use]
    pub fn has_conflicts(&self) -> bool {
        !self.conflicts.is_empty() || !self.log_conflicts.is_empty()
    }
}

/// A bucket that is not written because it has data from elsewhere, which would be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Conflict {
    /// The name of the bucket.
    pub bucket: Bucket,
    /// The number of keys that only the target has.
    pub extra: u64,
    /// The number of keys whose entries differ.
    pub different: u64,
    /// The first 10 of these keys.
    pub first: Vec<Key>,
    /// Whether the bucket is empty in the source.
    pub source_is_empty: bool,
}

impl Conflict {
    pub(crate) fn new(bucket: &Bucket, diff: &BucketDiff) -> Self {
        let different = || diff.missing.iter().filter(|missing| missing.replaces.is_some());
        let keys = diff.extra.iter().map(|(key, _)| key).chain(different().map(|missing| &missing.key));
        Self {
            bucket: bucket.clone(),
            extra: diff.extra.len() as u64,
            different: different().count() as u64,
            first: keys.take(MAX_LISTED).cloned().collect(),
            source_is_empty: diff.source_entries() == 0,
        }
    }
}

impl fmt::Display for Conflict {
    /// One line with the number of keys and the first of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}: ", self.bucket)?;
        if self.source_is_empty {
            f.write_str("it is empty in the source; ")?;
        }
        let names: Vec<String> = self.first.iter().take(3).map(|key| format!("{key:?}")).collect();
        let more = if self.extra + self.different > names.len() as u64 { ", ..." } else { "" };
        write!(
            f,
            "the target has {} that the source does not have, and {} with other content: {}{more}",
            keys(self.extra),
            keys(self.different),
            names.join(", ")
        )
    }
}

/// A log that is not written because the target has other entries, which would be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogConflict {
    /// The bucket of the log.
    pub bucket: Bucket,
    /// The key of the log.
    pub key: Key,
    /// How the logs differ.
    pub why: String,
}

impl LogConflict {
    /// The conflict of a log, if there is one.
    pub(crate) fn new(bucket: &Bucket, diff: &LogDiff) -> Option<Self> {
        let why = diff.conflict?.to_owned();
        Some(Self { bucket: bucket.clone(), key: diff.key.clone(), why })
    }
}

impl fmt::Display for LogConflict {
    /// One line with bucket, key and reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}, log {:?}: {}", self.bucket, self.key.as_str(), self.why)
    }
}

fn keys(count: u64) -> String {
    format!("{count} {}", if count == 1 { "key" } else { "keys" })
}

/// Differences between the two sides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Differences {
    /// The number of entries that differ.
    pub count: u64,
    /// The first 10 of them.
    pub first: Vec<Difference>,
}

impl Differences {
    pub(crate) fn add(&mut self, bucket: &Bucket, diff: &BucketDiff) {
        self.count += (diff.missing.len() + diff.extra.len()) as u64;
        let missing = diff.missing.iter().map(|missing| {
            let changed = missing.replaces.map(|(_, fields)| DifferenceKind::Changed(fields));
            (&missing.key, changed.unwrap_or(DifferenceKind::Missing))
        });
        let extra = diff.extra.iter().map(|(key, _)| (key, DifferenceKind::Extra));
        let room = MAX_LISTED.saturating_sub(self.first.len());
        let difference =
            |(key, kind): (&Key, DifferenceKind)| Difference { bucket: bucket.clone(), key: key.clone(), kind };
        self.first.extend(missing.chain(extra).take(room).map(difference));
    }
}

impl Differences {
    pub(crate) fn add_logs(&mut self, bucket: &Bucket, diffs: &[LogDiff]) {
        for diff in diffs.iter().filter(|diff| diff.differences() > 0) {
            self.count += diff.differences();
            if self.first.len() < MAX_LISTED {
                let (bucket, key) = (bucket.clone(), diff.key.clone());
                self.first.push(Difference { bucket, key, kind: DifferenceKind::Log });
            }
        }
    }
}

/// An entry or a log that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The bucket of the entry.
    pub bucket: Bucket,
    /// The key of the entry.
    pub key: Key,
    /// How it differs.
    pub kind: DifferenceKind,
}

/// How an entry differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, with these fields different.
    Changed(Fields),
    /// The log of the key differs.
    Log,
}

impl fmt::Display for Difference {
    /// One line with bucket, key and difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}, key {:?}: ", self.bucket, self.key.as_str())?;
        match self.kind {
            DifferenceKind::Missing => f.write_str("only in the source"),
            DifferenceKind::Extra => f.write_str("only in the target"),
            DifferenceKind::Changed(fields) => write!(f, "different {fields}"),
            DifferenceKind::Log => f.write_str("different log"),
        }
    }
}
