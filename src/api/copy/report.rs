//! What a copy came to.

use std::fmt;

use super::compare::{Compared, Fields};
use crate::model::{Bucket, Key};
use crate::store::Unfit;

/// So many differences, and keys in the way, are named.
const NAMED: usize = 10;

/// What was copied, what not, and whether both sides hold the same in the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Buckets of the source that were looked at.
    pub buckets: u64,
    /// Entries that are the same on both sides, as the last comparison found.
    pub equal: u64,
    /// Entries that were written to the target or, if nothing was to be written, would be.
    pub copied: u64,
    /// Entries that were deleted from the target, since the source has them no more; or would be.
    pub deleted: u64,
    /// What stands in the way. If there is any, nothing was written.
    pub conflicts: Vec<Conflict>,
    /// What the target cannot hold. Unless it was to be left out, nothing was written if there is any.
    pub unfit: Vec<Unfit>,
    /// In what the sides differ in the end.
    pub differences: Differences,
}

impl Report {
    /// Whether the target now holds what the source holds, but for what was to be left out.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.conflicts.is_empty() && self.differences.count == 0
    }
}

/// Why a bucket is not written to: it holds what is not known to come from this source, and would be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The bucket.
    pub bucket: Bucket,
    /// Keys that only the target has.
    pub extra: u64,
    /// Keys under which the target has something else.
    pub other: u64,
    /// The first of both.
    pub first: Vec<Key>,
    /// Whether the source has nothing at all in this bucket.
    pub source_is_empty: bool,
}

impl Conflict {
    pub(super) fn of(bucket: &Bucket, found: &Compared) -> Self {
        let other = || found.wanted.iter().filter(|wanted| wanted.instead.is_some());
        let keys = found.extra.iter().map(|(key, _)| key).chain(other().map(|wanted| &wanted.key));
        Self {
            bucket: bucket.clone(),
            extra: found.extra.len() as u64,
            other: other().count() as u64,
            first: keys.take(NAMED).cloned().collect(),
            source_is_empty: found.of_source() == 0,
        }
    }
}

impl fmt::Display for Conflict {
    /// One line: how many keys, and the first of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}: ", self.bucket)?;
        if self.source_is_empty {
            f.write_str("the source has nothing there; ")?;
        }
        let names: Vec<String> = self.first.iter().take(3).map(|key| format!("{key:?}")).collect();
        let more = if self.extra + self.other > names.len() as u64 { ", ..." } else { "" };
        write!(
            f,
            "the target holds {} that the source has not, and {} otherwise: {}{more}",
            keys(self.extra),
            keys(self.other),
            names.join(", ")
        )
    }
}

fn keys(count: u64) -> String {
    format!("{count} {}", if count == 1 { "key" } else { "keys" })
}

/// Differences between the two sides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Differences {
    /// How many entries differ.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

impl Differences {
    pub(super) fn add(&mut self, bucket: &Bucket, found: &Compared) {
        self.count += (found.wanted.len() + found.extra.len()) as u64;
        let wanted = found
            .wanted
            .iter()
            .map(|wanted| (&wanted.key, wanted.instead.map_or(What::Missing, |(_, fields)| What::Other(fields))));
        let extra = found.extra.iter().map(|(key, _)| (key, What::Extra));
        let room = NAMED.saturating_sub(self.first.len());
        let difference = |(key, what): (&Key, What)| Difference { bucket: bucket.clone(), key: key.clone(), what };
        self.first.extend(wanted.chain(extra).take(room).map(difference));
    }
}

/// An entry in which the sides differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Its bucket.
    pub bucket: Bucket,
    /// Its key.
    pub key: Key,
    /// In what.
    pub what: What,
}

/// In what two sides differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, and these fields are not the same.
    Other(Fields),
}

impl fmt::Display for Difference {
    /// One line: bucket, key, and what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}, key {:?}: ", self.bucket, self.key.as_str())?;
        match self.what {
            What::Missing => f.write_str("only in the source"),
            What::Extra => f.write_str("only in the target"),
            What::Other(fields) => write!(f, "another {fields}"),
        }
    }
}
