//! A bucket on both sides, read once in the order of the keys and compared field by field.
//!
//! What has expired is on neither side, also if it does so between the two looks.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::vec::IntoIter;

use futures_util::StreamExt;

use super::side::{Side, on};
use crate::model::{Bucket, Clock, Entry, Error, Key, Kind, Result, Revision};
use crate::store::{Limits, Row, Rows, Source, Unfit};

/// By how much an entry may be later than its source says, if that gives several entries one time: in nanoseconds.
const RAISED: u64 = 1_000_000_000;

/// What an entry of the source needs.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    /// Its revision in the source.
    pub(super) told: Revision,
    /// The revision that it is to have.
    pub(super) revision: Revision,
    /// The length of its value.
    pub(super) size: usize,
    /// What stands in its place, and what of it is another.
    pub(super) instead: Option<(Revision, Fields)>,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Entries that are the same on both sides.
    pub(super) same: u64,
    /// Entries that the target lacks, or has otherwise.
    pub(super) wanted: Vec<Wanted>,
    /// What the target has and the source has not.
    pub(super) extra: Vec<(Key, Revision)>,
    /// What the target cannot hold.
    pub(super) unfit: Vec<Unfit>,
    /// The revisions of the entries that are the same, if the source has none of its own.
    pub(super) taken: HashSet<Revision>,
    /// What the bucket of the target had come to before it was read.
    pub(super) reached: Revision,
}

impl Compared {
    /// Whether both sides hold the same.
    pub(super) fn is_equal(&self) -> bool {
        self.wanted.is_empty() && self.extra.is_empty()
    }

    /// How many entries the source has, but for what does not fit.
    pub(super) fn of_source(&self) -> u64 {
        self.same + self.wanted.len() as u64
    }
}

/// Fields in which two entries differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fields(u8);

impl Fields {
    const NAMES: [&'static str; 6] = ["value", "content type", "updated", "created", "modified", "expires"];

    fn between(source: &Entry, target: &Entry, exact: bool) -> Self {
        let (told, stands) = (source.revision.number(), target.revision.number());
        let updated = if exact { told == stands } else { stands.checked_sub(told).is_some_and(|by| by <= RAISED) };
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

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the values differ.
    pub(super) fn has_value(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the times of the last write differ.
    pub(super) fn has_updated(self) -> bool {
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

/// One side, row by row.
struct Reader<'a> {
    rows: Rows<'a>,
    part: IntoIter<Row>,
    side: Side,
    last: Option<Key>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn Source, bucket: &'a Bucket, side: Side) -> Self {
        Self { rows: source.read(bucket), part: vec![].into_iter(), side, last: None }
    }

    async fn next(&mut self) -> Result<Option<Row>> {
        let row = loop {
            if let Some(row) = self.part.next() {
                break row;
            }
            match self.rows.next().await.transpose().map_err(on(self.side))? {
                Some(part) => self.part = part.into_iter(),
                None => return Ok(None),
            }
        };
        if let Row::Entry(key, _) = &row {
            if self.last.as_ref().is_some_and(|last| last >= key) {
                let text = format!("{} gives its keys out of order, {key:?} too late", self.side);
                return Err(Error::new(Kind::Failed, text));
            }
            self.last = Some(key.clone());
        }
        Ok(Some(row))
    }
}

/// Two sides, and the bucket that is compared.
pub(super) struct Comparison<'a> {
    pub(super) from: &'a dyn Source,
    pub(super) to: &'a dyn Source,
    pub(super) limits: Limits,
    pub(super) clock: &'a dyn Clock,
    pub(super) bucket: &'a Bucket,
}

impl Comparison<'_> {
    /// Compares what the two sides have. `reached` is what the target's bucket had come to before; `read` is told how many
    /// rows of the source have been read.
    pub(super) async fn run(&self, reached: Revision, mut read: impl FnMut(u64)) -> Result<Compared> {
        let mut found = Compared { reached, ..Compared::default() };
        let mut source = Reader::new(self.from, self.bucket, Side::Source);
        let mut target = Reader::new(self.to, self.bucket, Side::Target);
        let (mut left, mut right) = (source.next().await?, target.next().await?);
        let mut rows = 0;
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(Row::Entry(a, _)), Some(Row::Entry(b, _))) => a.cmp(b),
                (Some(Row::Unfit(_)), _) | (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let (mut from_source, mut from_target) = (None, None);
            if order != Ordering::Greater {
                from_source = std::mem::replace(&mut left, source.next().await?);
                rows += 1;
                read(rows);
            }
            if order != Ordering::Less {
                from_target = std::mem::replace(&mut right, target.next().await?);
            }
            self.judge(from_source, from_target, &mut found);
        }
        Ok(found)
    }

    /// Sorts one key into what was found.
    fn judge(&self, source: Option<Row>, target: Option<Row>, found: &mut Compared) {
        let now = self.clock.now();
        let target = match target {
            Some(Row::Entry(key, entry)) if entry.is_live(now) => Some((key, entry)),
            _ => None,
        };
        match (source, target) {
            (Some(Row::Unfit(unfit)), _) => found.unfit.push(unfit),
            (Some(Row::Entry(key, entry)), target) if entry.is_live(now) => {
                if let Some(unfit) = self.too_large(&key, &entry) {
                    found.unfit.push(unfit);
                    return;
                }
                let exact = self.from.has_revisions();
                let differs = |(_, stands): (Key, Entry)| (stands.revision, Fields::between(&entry, &stands, exact));
                match target.map(differs) {
                    Some((revision, fields)) if fields.is_empty() => {
                        found.same += 1;
                        if !exact {
                            found.taken.insert(revision);
                        }
                    }
                    instead => {
                        let (told, size) = (entry.revision, entry.value.len());
                        found.wanted.push(Wanted { key, told, revision: told, size, instead });
                    }
                }
            }
            (_, Some((key, entry))) => found.extra.push((key, entry.revision)),
            (_, None) => {}
        }
    }

    fn too_large(&self, key: &Key, entry: &Entry) -> Option<Unfit> {
        let (has, most) = (entry.value.len(), self.limits.value);
        let why = || format!("the value has {has} bytes; at most {most} are taken");
        let (bucket, key) = (self.bucket.to_string(), Some(key.to_string()));
        (has > most).then(|| Unfit { bucket, key, rows: 1, why: why() })
    }
}
