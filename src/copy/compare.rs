//! Compares a bucket on both sides, in the order of the keys, field by field.
//!
//! An expired entry counts as missing on both sides, even if it expires between the reads of the two.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::vec::IntoIter;

use futures_util::StreamExt;

use super::side::{Side, on};
use crate::model::{Bucket, Clock, Entry, Error, ErrorKind, Key, Result, Revision};
use crate::store::{ImportSource, Limits, Rejected, Row, Rows};

/// The maximum number of nanoseconds that an entry may be later than in its source, if the source has several entries
/// of the same time.
const MAX_RAISE_NANOS: u64 = 1_000_000_000;

/// An entry of the source that the target does not have, or has with other fields.
#[derive(Debug)]
pub(crate) struct MissingEntry {
    pub(crate) key: Key,
    /// The revision in the source.
    pub(crate) source_revision: Revision,
    /// The revision to write.
    pub(crate) revision: Revision,
    /// The length of the value in bytes.
    pub(crate) size: usize,
    /// The revision of the entry in the target, and the fields that differ.
    pub(crate) replaces: Option<(Revision, Fields)>,
}

/// The differences of a bucket.
#[derive(Debug, Default)]
pub(crate) struct BucketDiff {
    /// The number of entries that are equal on both sides.
    pub(crate) equal: u64,
    /// Entries that the target does not have, or has with other fields.
    pub(crate) missing: Vec<MissingEntry>,
    /// Entries that only the target has.
    pub(crate) extra: Vec<(Key, Revision)>,
    /// Rows that the target cannot hold.
    pub(crate) rejected: Vec<Rejected>,
    /// The revisions of the equal entries, if the source has no revisions.
    pub(crate) used_revisions: HashSet<Revision>,
    /// The revision of the bucket in the target before it was read.
    pub(crate) target_revision: Revision,
}

impl BucketDiff {
    /// Whether both sides are equal.
    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// The number of entries in the source, without rejected ones.
    pub(crate) fn source_entries(&self) -> u64 {
        self.equal + self.missing.len() as u64
    }
}

/// The fields in which two entries differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fields(u8);

impl Fields {
    const NAMES: [&'static str; 6] = ["value", "content type", "updated", "created", "modified", "expires"];

    /// Compares two entries. `has_revisions`: the source has revisions, so they must be equal.
    fn between(source: &Entry, target: &Entry, has_revisions: bool) -> Self {
        let (old, new) = (source.revision.number(), target.revision.number());
        let raise = new.checked_sub(old);
        let updated =
            if has_revisions { raise == Some(0) } else { raise.is_some_and(|raise| raise <= MAX_RAISE_NANOS) };
        let same = [
            source.value == target.value,
            source.content_type == target.content_type,
            updated,
            source.created == target.created,
            source.modified == target.modified,
            source.expires == target.expires,
        ];
        Self(same.iter().enumerate().fold(0, |bits, (n, same)| bits | (u8::from(!same) << n)))
    }

    /// Whether the entries are equal.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the values differ.
    pub(crate) fn has_value(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the times of the last write differ.
    pub(crate) fn has_updated(self) -> bool {
        self.0 & 4 != 0
    }
}

impl fmt::Display for Fields {
    /// Their names, as in `value, expires`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().enumerate().filter(|(n, _)| self.0 >> n & 1 == 1).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

/// Reads one side row by row.
struct Reader<'a> {
    rows: Rows<'a>,
    chunk: IntoIter<Row>,
    side: Side,
    last: Option<Key>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn ImportSource, bucket: &'a Bucket, side: Side) -> Self {
        Self { rows: source.read(bucket), chunk: vec![].into_iter(), side, last: None }
    }

    async fn next(&mut self) -> Result<Option<Row>> {
        let row = loop {
            if let Some(row) = self.chunk.next() {
                break row;
            }
            match self.rows.next().await.transpose().map_err(on(self.side))? {
                Some(chunk) => self.chunk = chunk.into_iter(),
                None => return Ok(None),
            }
        };
        if let Row::Entry(key, _) = &row {
            if self.last.as_ref().is_some_and(|last| last >= key) {
                let text = format!("{} returns its keys out of order: {key:?} after a greater one", self.side);
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            self.last = Some(key.clone());
        }
        Ok(Some(row))
    }
}

/// A comparison of one bucket.
pub(crate) struct Comparison<'a> {
    pub(crate) from: &'a dyn ImportSource,
    pub(crate) to: &'a dyn ImportSource,
    pub(crate) limits: Limits,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) bucket: &'a Bucket,
}

impl Comparison<'_> {
    /// Compares both sides. `target_revision` is the revision of the target's bucket before; `on_read` gets the number
    /// of rows of the source that have been read.
    pub(crate) async fn run(&self, target_revision: Revision, mut on_read: impl FnMut(u64)) -> Result<BucketDiff> {
        let mut diff = BucketDiff { target_revision, ..BucketDiff::default() };
        let mut source = Reader::new(self.from, self.bucket, Side::Source);
        let mut target = Reader::new(self.to, self.bucket, Side::Target);
        let (mut left, mut right) = (source.next().await?, target.next().await?);
        let mut rows = 0;
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(Row::Entry(a, _)), Some(Row::Entry(b, _))) => a.cmp(b),
                (Some(Row::Rejected(_)), _) | (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let (mut from_source, mut from_target) = (None, None);
            if order != Ordering::Greater {
                from_source = std::mem::replace(&mut left, source.next().await?);
                rows += 1;
                on_read(rows);
            }
            if order != Ordering::Less {
                from_target = std::mem::replace(&mut right, target.next().await?);
            }
            self.compare(from_source, from_target, &mut diff);
        }
        Ok(diff)
    }

    /// Compares the rows of one key and adds the result to `diff`.
    fn compare(&self, source: Option<Row>, target: Option<Row>, diff: &mut BucketDiff) {
        let now = self.clock.now();
        let target = match target {
            Some(Row::Entry(key, entry)) if entry.is_live(now) => Some((key, entry)),
            _ => None,
        };
        match (source, target) {
            (Some(Row::Rejected(rejected)), _) => diff.rejected.push(rejected),
            (Some(Row::Entry(key, entry)), target) if entry.is_live(now) => {
                if let Some(rejected) = self.too_large(&key, &entry) {
                    diff.rejected.push(rejected);
                    return;
                }
                let has_revisions = self.from.has_revisions();
                let fields = |(_, old): (Key, Entry)| (old.revision, Fields::between(&entry, &old, has_revisions));
                match target.map(fields) {
                    Some((revision, fields)) if fields.is_empty() => {
                        diff.equal += 1;
                        if !has_revisions {
                            diff.used_revisions.insert(revision);
                        }
                    }
                    replaces => {
                        let (revision, size) = (entry.revision, entry.value.len());
                        diff.missing.push(MissingEntry { key, source_revision: revision, revision, size, replaces });
                    }
                }
            }
            (_, Some((key, entry))) => diff.extra.push((key, entry.revision)),
            (_, None) => {}
        }
    }

    fn too_large(&self, key: &Key, entry: &Entry) -> Option<Rejected> {
        let (bytes, max) = (entry.value.len(), self.limits.max_value_bytes);
        let why = || format!("the value has {bytes} bytes; the maximum is {max}");
        let (bucket, key) = (self.bucket.to_string(), Some(key.to_string()));
        (bytes > max).then(|| Rejected { bucket, key, rows: 1, why: why() })
    }
}
