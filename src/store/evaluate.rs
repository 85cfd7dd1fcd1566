//! Evaluates a batch: finds the changes that it makes in a bucket. All stores that read under a lock use this one
//! function.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use crate::model::{
    Batch, BlobRef, Change, Condition, End, Entry, Error, ErrorKind, Expectation, Key, Result, Revision, Time, Write,
};

/// The limits of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The maximum length of a value in bytes.
    pub max_value_bytes: usize,
}

impl Limits {
    /// The maximum of `max_value_bytes`: 100 MiB.
    pub const MAX_VALUE_LIMIT: usize = 100 << 20;

    /// The maximum total length, in bytes, of the values that a batch reads or appends to: 64 MiB, or one value of
    /// `max_value_bytes` if that is more.
    pub const MAX_BATCH_BYTES: usize = 64 << 20;

    /// The length up to which blobs are read whole: 16 MiB, or `max_value_bytes` if that is more.
    #[must_use]
    pub fn whole_blob_bytes(self) -> usize {
        self.max_value_bytes.max(16 << 20)
    }

    /// The length of a value when it is read: that of its blob, unless the blob is so long that a reference is read.
    fn read_bytes(self, entry: &Entry) -> usize {
        let blob = BlobRef::of(entry).and_then(|blob| usize::try_from(blob.bytes).ok());
        blob.filter(|bytes| *bytes <= self.whole_blob_bytes()).unwrap_or(entry.value.len())
    }
}

impl Default for Limits {
    /// 1 MiB.
    fn default() -> Self {
        Self { max_value_bytes: 1 << 20 }
    }
}

/// The result of evaluating a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Commit these changes: one for each write, in their order. The revision is that of the write (of the new entry,
    /// unless it deletes or touches); `None` if the write changes nothing.
    Commit {
        /// The key, its change, and the revision of the write.
        changes: Vec<(Key, Change, Option<Revision>)>,
    },
    /// Do nothing, because an expectation does not hold.
    PreconditionFailed {
        /// The index of the expectation, from 0.
        index: usize,
        /// The entry under its key.
        found: Option<Entry>,
    },
}

/// The time and the revision at which a batch is evaluated.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Moment {
    /// The current time.
    pub now: Time,
    /// The revision of the previous write.
    pub last: Revision,
    /// Makes the next revision from the previous one and the time.
    pub next: fn(Revision, Time) -> Revision,
}

impl Moment {
    /// The moment `now`, after the revision `last`.
    #[must_use]
    pub fn new(now: Time, last: Revision) -> Self {
        Self { now, last, next: Revision::next }
    }
}

/// Evaluates a batch against the stored entries that `lookup` returns. Nothing is written.
///
/// `lookup` may return expired entries.
///
/// # Errors
/// `Invalid` if a number cannot be incremented or an entry cannot be restored, `TooLarge` if a value exceeds the limit.
pub fn evaluate(
    batch: &Batch,
    limits: Limits,
    moment: Moment,
    lookup: impl Fn(&Key) -> Option<Entry>,
) -> Result<Decision> {
    let Moment { now, last, next } = moment;
    let live = |key: &Key| lookup(key).filter(|e| e.is_live(now));
    for (index, Expectation { key, condition }) in batch.expectations.iter().enumerate() {
        let found = live(key);
        if !holds(condition, found.as_ref()) {
            return Ok(Decision::PreconditionFailed { index, found });
        }
    }
    let mut last = last;
    // These values stay in memory until the end of the batch, and a small batch can ask for many.
    let mut remaining_bytes = limits.max_value_bytes.max(Limits::MAX_BATCH_BYTES);
    let dates = date_preconditions(batch);
    let mut written: HashMap<&Key, Option<Entry>> = HashMap::new();
    let mut changes = Vec::with_capacity(batch.writes.len());
    for write in &batch.writes {
        let key = write.key();
        let before = written.get(key).cloned().unwrap_or_else(|| live(key));
        let revision = match write {
            Write::Restore { entry, .. } => entry.revision.max(last.following()),
            _ => next(last, now),
        };
        let found = || before.clone().or_else(|| live(key));
        let moved = dates.get(key).map(|date| after_date(*date, found().as_ref(), revision.time()));
        let ahead = before.as_ref().and_then(|entry| entry.ahead_of(revision.time()));
        let stamp = Stamp { revision, modified: ahead.max(moved.flatten()) };
        let after = after(write, before.as_ref(), stamp, limits)?.filter(|e| e.is_live(now));
        if let (Write::Read { .. } | Write::Append { .. }, Some(entry)) = (write, &after) {
            remaining_bytes = remaining_bytes.checked_sub(limits.read_bytes(entry)).ok_or_else(|| {
                let text =
                    "the values that this batch reads and appends to are too large together; use several batches";
                Error::new(ErrorKind::TooLarge, text)
            })?;
        }
        let new_revision = (before != after).then_some(revision);
        last = new_revision.unwrap_or(last);
        written.insert(key, after.clone());
        changes.push((key.clone(), Change { before, after }, new_revision));
    }
    Ok(Decision::Commit { changes })
}

fn holds(condition: &Condition, found: Option<&Entry>) -> bool {
    match (condition, found) {
        (Condition::Absent | Condition::RevisionNotIn(_) | Condition::NotModifiedSince(_), None)
        | (Condition::Present, Some(_)) => true,
        (Condition::Unchanged { revision, expires }, Some(entry)) => {
            entry.revision == *revision && entry.expires == *expires
        }
        (Condition::RevisionIn(these), Some(entry)) => these.contains(&entry.revision),
        (Condition::RevisionNotIn(these), Some(entry)) => !these.contains(&entry.revision),
        (Condition::ValueIs(value), Some(entry)) => entry.value == value,
        (Condition::NotModifiedSince(time), Some(entry)) => entry.last_modified() <= time.floor_to_second(),
        (Condition::Absent, Some(_))
        | (Condition::Present | Condition::Unchanged { .. } | Condition::RevisionIn(_) | Condition::ValueIs(_), None) => {
            false
        }
    }
}

/// The earliest date precondition of each key.
fn date_preconditions(batch: &Batch) -> HashMap<&Key, Time> {
    let mut dates: HashMap<&Key, Time> = HashMap::new();
    for Expectation { key, condition } in &batch.expectations {
        if let Condition::NotModifiedSince(date) = condition {
            dates.entry(key).and_modify(|earliest| *earliest = (*earliest).min(*date)).or_insert(*date);
        }
    }
    dates
}

/// The time of modification of an entry that is committed at `commit` after the precondition `date` held, if it differs
/// from the commit's. See [`Condition::NotModifiedSince`].
fn after_date(date: Time, found: Option<&Entry>, commit: Time) -> Option<Time> {
    let (date, now) = (date.floor_to_second(), commit.floor_to_second());
    let second_after = |time: Time| Time::from_secs(time.secs().saturating_add(1));
    let last_modified = found.map(Entry::last_modified);
    let earliest = if date <= now {
        second_after(date)
    } else if last_modified == Some(date) && date == second_after(now) {
        // Clients may know this date: from a machine whose clock is ahead, or from `modified` in a list.
        second_after(date)
    } else {
        // A date in the future passes again and again. It moves the key one second ahead, once.
        last_modified.map_or(now, |modified| second_after(modified.min(now)))
    };
    (earliest > now).then_some(earliest)
}

/// The revision and the time of modification of a new entry.
#[derive(Clone, Copy)]
struct Stamp {
    revision: Revision,
    /// The time of modification, if it is neither that of the revision nor given by a client.
    modified: Option<Time>,
}

fn after(write: &Write, before: Option<&Entry>, stamp: Stamp, limits: Limits) -> Result<Option<Entry>> {
    let revision = stamp.revision;
    let created = before.map_or(revision.time(), |e| e.created);
    let fits = |value: Bytes| {
        if value.len() > limits.max_value_bytes {
            let text = format!("the value has {} bytes; the maximum is {}", value.len(), limits.max_value_bytes);
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok(value)
    };
    // A value changed in place keeps its content type and its expiry.
    let changed = |value: Bytes| Entry {
        value,
        content_type: before.map(|e| e.content_type.clone()).unwrap_or_default(),
        revision,
        created,
        modified: stamp.modified,
        expires: before.and_then(|e| e.expires),
    };
    if let (Write::Increment { key, .. } | Write::Append { key, .. }, Some(_)) = (write, before.and_then(BlobRef::of)) {
        let text = format!("the value of {key:?} is a blob, which can only be replaced");
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(match write {
        Write::Put { value, content_type, expires, modified, .. } => Some(Entry {
            value: fits(value.clone())?,
            content_type: content_type.clone(),
            revision,
            created,
            modified: modified.or(stamp.modified),
            expires: *expires,
        }),
        Write::Delete { .. } => None,
        Write::Read { .. } => before.cloned(),
        Write::Touch { expires, .. } => before.map(|e| Entry { expires: *expires, ..e.clone() }),
        Write::Increment { key, by } => Some(changed(fits(increment(key, before, *by)?)?)),
        Write::Append { value, end, .. } => {
            let old = before.map(|e| e.value.clone()).unwrap_or_default();
            let (first, second) = match end {
                End::Append => (&old, value),
                End::Prepend => (value, &old),
            };
            let mut whole = BytesMut::with_capacity(first.len() + second.len());
            whole.extend_from_slice(first);
            whole.extend_from_slice(second);
            Some(changed(fits(whole.freeze())?))
        }
        Write::Restore { key, entry } => {
            check_restore(key, entry, before)?;
            fits(entry.value.clone())?;
            Some(entry.clone())
        }
    })
}

/// Checks that `entry` may replace `before`: it must not be older, and the same revision must have the same value,
/// because readers identify values by their revision. Values that a layer has encoded cannot be compared here, except
/// references: they have the hash of the value.
fn check_restore(key: &Key, entry: &Entry, before: Option<&Entry>) -> Result<()> {
    let fault = if entry.revision == Revision::ZERO || entry.revision > Time::LATEST_COMMIT.into() {
        "its revision must be a time from 1970 to 2261"
    } else if before.is_some_and(|old| old.revision > entry.revision) {
        "the target has a newer entry"
    } else if before.is_some_and(|old| old.revision == entry.revision && old.value != entry.value)
        && !BlobRef::of(entry).map_or_else(|| entry.content_type.clone(), |blob| blob.content_type).is_of_a_layer()
    {
        "the target has another value with the same revision"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Invalid, format!("cannot restore {key:?}: {fault}")))
}

fn increment(key: &Key, before: Option<&Entry>, by: i64) -> Result<Bytes> {
    let old = match before {
        None => 0,
        Some(entry) => entry
            .as_text()
            .and_then(|text| text.trim().parse::<i64>().ok())
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("the value of {key:?} is not a 64-bit integer")))?,
    };
    let new = old
        .checked_add(by)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{old} plus {by} exceeds 64 bits")))?;
    Ok(Bytes::from(new.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn entry(value: &str, revision: u64) -> Entry {
        Entry {
            value: Bytes::copy_from_slice(value.as_bytes()),
            content_type: crate::model::ContentType::default(),
            revision: Revision::new(revision),
            created: Time::from_nanos(1),
            modified: None,
            expires: None,
        }
    }

    fn commit(batch: &Batch, found: Option<Entry>) -> Vec<(Key, Change, Option<Revision>)> {
        let at = Moment::new(Time::from_nanos(100), Revision::new(50));
        match evaluate(batch, Limits::default(), at, |_| found.clone()).unwrap() {
            Decision::Commit { changes } => changes,
            Decision::PreconditionFailed { index, .. } => panic!("expectation {index} does not hold"),
        }
    }

    #[test]
    fn a_later_write_sees_the_earlier_and_gets_a_later_revision() {
        let writes = vec![
            Write::put(key("a"), "1"),
            Write::Increment { key: key("a"), by: 4 },
            Write::Append { key: key("a"), value: "x".into(), end: End::Prepend },
        ];
        let changes = commit(&Batch::new(writes), None);
        let values: Vec<_> = changes.iter().map(|c| c.1.after.clone().unwrap().value).collect();
        assert_eq!(values, ["1", "5", "x5"]);
        let revisions: Vec<_> = changes.iter().map(|c| c.2.unwrap().number()).collect();
        assert_eq!(revisions, [100, 101, 102]);
    }

    #[test]
    fn writes_that_change_nothing_get_no_revision() {
        let writes = vec![Write::Delete { key: key("a") }, Write::Touch { key: key("a"), expires: None }];
        assert!(commit(&Batch::new(writes), None).iter().all(|c| c.2.is_none()));
    }

    /// Puts a value at 100.5 s under a date precondition. Returns its time of modification in seconds.
    fn put_under(date: i64, found: Option<Entry>) -> i64 {
        let second = 1_000_000_000;
        let condition = Condition::NotModifiedSince(Time::from_secs(date));
        let batch = Batch::new(vec![Write::put(key("a"), "y")]);
        let batch = batch.with_expectations(vec![Expectation { key: key("a"), condition }]);
        let at = Moment::new(Time::from_nanos(100 * second + second / 2), Revision::new(50));
        match evaluate(&batch, Limits::default(), at, |_| found.clone()).unwrap() {
            Decision::Commit { changes } => {
                assert_eq!(changes[0].2, Some(Revision::from(at.now)), "the revision stays at the clock");
                changes[0].1.after.as_ref().unwrap().last_modified().secs()
            }
            Decision::PreconditionFailed { index, .. } => panic!("expectation {index} does not hold"),
        }
    }

    #[test]
    fn a_date_passes_once_and_a_future_one_adds_one_second() {
        let second = 1_000_000_000;
        let found = |modified: i64| {
            let modified = (modified > 100).then(|| Time::from_secs(modified));
            Some(Entry { modified, ..entry("x", if modified.is_some() { 100 } else { 99 } * second + 5) })
        };
        let at = |secs: u64| Some(entry("x", secs * second + 5));
        for (date, found, expected) in [
            (7, at(7), 100),
            (99, at(7), 100),
            // The second of the commit: the new entry must be later than this date.
            (100, at(100), 101),
            (100, at(7), 101),
            (100, None, 101),
            // The future.
            (2000, at(7), 100),
            (2000, at(100), 101),
            (2000, found(101), 101),
            (2000, found(102), 102),
            (2000, None, 100),
            // Clients may know the date of the entry.
            (101, found(101), 102),
            (102, found(101), 101),
            // A date that a client set. It is not shown before its time.
            (2000, found(1999), 101),
            (2000, found(2000), 101),
        ] {
            let text = format!("{date} {found:?}");
            assert_eq!(put_under(date, found), expected, "{text}");
        }
    }

    #[test]
    fn overflow_and_values_that_are_not_numbers_are_invalid() {
        let batch = Batch::new(vec![Write::Increment { key: key("a"), by: 1 }]);
        for value in [i64::MAX.to_string().as_str(), "1.5", "", "abc"] {
            let found = Some(entry(value, 1));
            let at = Moment::new(Time::from_nanos(100), Revision::new(50));
            let error = evaluate(&batch, Limits::default(), at, |_| found.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{value}");
        }
    }
}
