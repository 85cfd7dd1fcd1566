//! What a batch does to a bucket, decided in one place for every store that can hold the lock and look.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use crate::model::{
    Batch, Change, Condition, Edge, Entry, Error, Expectation, Key, Kind, Result, Revision, Time, Write,
};

/// What a store takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest value, in bytes.
    pub value: usize,
}

impl Limits {
    /// No limit may be set higher than this, in bytes.
    pub const MOST: usize = 100 << 20;

    /// The values that a batch looks at and adds to have at most so many bytes together, or as many as one value may have.
    pub const BATCH: usize = 64 << 20;
}

impl Default for Limits {
    /// 1 MiB.
    fn default() -> Self {
        Self { value: 1 << 20 }
    }
}

/// The judgement over a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    /// To be done: these changes, one for each write, in their order, each with the revision that it takes (that of
    /// the entry after it, unless it deletes or touches). A write that changes nothing takes none.
    Go {
        /// The key, what the write does to it, and the revision it takes.
        changes: Vec<(Key, Change, Option<Revision>)>,
    },
    /// Not to be done: this expectation does not hold, and this is what stood there.
    Refused {
        /// Which one, from 0.
        index: usize,
        /// What stood under its key.
        found: Option<Entry>,
    },
}

/// When a batch is judged.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Time,
    /// The revision of the write before.
    pub last: Revision,
    /// The revision of a write at a time that follows another one.
    pub next: fn(Revision, Time) -> Revision,
}

impl Moment {
    /// At `now`, after `last`.
    #[must_use]
    pub fn new(now: Time, last: Revision) -> Self {
        Self { now, last, next: Revision::next }
    }
}

/// Judges a batch against what `look` finds under a key, at a moment.
///
/// `look` may return entries that have expired. Nothing is changed.
///
/// # Errors
/// `Invalid` if a number cannot be incremented or an entry not be restored, `TooLarge` if a value would exceed the limit.
pub fn judge(batch: &Batch, limits: Limits, moment: Moment, look: impl Fn(&Key) -> Option<Entry>) -> Result<Judged> {
    let Moment { now, last, next } = moment;
    let live = |key: &Key| look(key).filter(|e| e.is_live(now));
    for (index, Expectation { key, condition }) in batch.expectations.iter().enumerate() {
        let found = live(key);
        if !holds(condition, found.as_ref()) {
            return Ok(Judged::Refused { index, found });
        }
    }
    let mut last = last;
    // What is looked at and added to is kept whole until the end of the batch, however small the batch itself is.
    let mut room = limits.value.max(Limits::BATCH);
    let guards = guards(batch);
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
        let guarded = guards.get(key).map(|date| past(*date, found().as_ref(), revision.time()));
        let kept = before.as_ref().and_then(|entry| entry.ahead_of(revision.time()));
        let stamp = Stamp { revision, modified: kept.max(guarded.flatten()) };
        let after = after(write, before.as_ref(), stamp, limits)?.filter(|e| e.is_live(now));
        if let (Write::Look { .. } | Write::Append { .. }, Some(entry)) = (write, &after) {
            room = room.checked_sub(entry.value.len()).ok_or_else(|| {
                let text = "the values that this batch gets and adds to have too many bytes together; take fewer";
                Error::new(Kind::TooLarge, text)
            })?;
        }
        let taken = (before != after).then_some(revision);
        last = taken.unwrap_or(last);
        written.insert(key, after.clone());
        changes.push((key.clone(), Change { before, after }, taken));
    }
    Ok(Judged::Go { changes })
}

fn holds(condition: &Condition, found: Option<&Entry>) -> bool {
    match (condition, found) {
        (Condition::Absent | Condition::RevisionNotIn(_) | Condition::NotModifiedSince(_), None)
        | (Condition::Present, Some(_)) => true,
        (Condition::RevisionIn(these), Some(entry)) => these.contains(&entry.revision),
        (Condition::RevisionNotIn(these), Some(entry)) => !these.contains(&entry.revision),
        (Condition::ValueIs(value), Some(entry)) => entry.value == value,
        (Condition::NotModifiedSince(time), Some(entry)) => entry.last_modified() <= time.floor_to_second(),
        (Condition::Absent, Some(_))
        | (Condition::Present | Condition::RevisionIn(_) | Condition::ValueIs(_), None) => false,
    }
}

/// The earliest date that guards each key.
fn guards(batch: &Batch) -> HashMap<&Key, Time> {
    let mut guards: HashMap<&Key, Time> = HashMap::new();
    for Expectation { key, condition } in &batch.expectations {
        if let Condition::NotModifiedSince(date) = condition {
            guards.entry(key).and_modify(|earliest| *earliest = (*earliest).min(*date)).or_insert(*date);
        }
    }
    guards
}

/// The time of modification of what is committed at `commit` after `date` has let it through, if it is not that of the
/// commit. See [`Condition::NotModifiedSince`].
fn past(date: Time, found: Option<&Entry>, commit: Time) -> Option<Time> {
    let (date, now) = (date.floor_to_second(), commit.floor_to_second());
    let after = |time: Time| Time::from_secs(time.secs().saturating_add(1));
    let shown = found.map(Entry::last_modified);
    let least = if date <= now {
        after(date)
    } else if shown == Some(date) && date == after(now) {
        // Given out all the same: by a machine whose clock is ahead, or as `modified` in a list.
        after(date)
    } else {
        // A date in the future passes again and again: that moves the key a second ahead, once.
        shown.map_or(now, |shown| after(shown.min(now)))
    };
    (least > now).then_some(least)
}

/// The times of a new entry.
#[derive(Clone, Copy)]
struct Stamp {
    revision: Revision,
    /// Its time of modification, if it is neither that of the revision nor a client's.
    modified: Option<Time>,
}

fn after(write: &Write, before: Option<&Entry>, stamp: Stamp, limits: Limits) -> Result<Option<Entry>> {
    let revision = stamp.revision;
    let created = before.map_or(revision.time(), |e| e.created);
    let fits = |value: Bytes| {
        if value.len() > limits.value {
            let text = format!("the value has {} bytes; at most {} are taken", value.len(), limits.value);
            return Err(Error::new(Kind::TooLarge, text));
        }
        Ok(value)
    };
    // A value changed in place keeps its type and its end.
    let changed = |value: Bytes| Entry {
        value,
        content_type: before.map(|e| e.content_type.clone()).unwrap_or_default(),
        revision,
        created,
        modified: stamp.modified,
        expires: before.and_then(|e| e.expires),
    };
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
        Write::Look { .. } => before.cloned(),
        Write::Touch { expires, .. } => before.map(|e| Entry { expires: *expires, ..e.clone() }),
        Write::Increment { key, by } => Some(changed(fits(increment(key, before, *by)?)?)),
        Write::Append { value, edge, .. } => {
            let old = before.map(|e| e.value.clone()).unwrap_or_default();
            let (first, second) = match edge {
                Edge::Back => (&old, value),
                Edge::Front => (value, &old),
            };
            let mut whole = BytesMut::with_capacity(first.len() + second.len());
            whole.extend_from_slice(first);
            whole.extend_from_slice(second);
            Some(changed(fits(whole.freeze())?))
        }
        Write::Restore { key, entry } => {
            restorable(key, entry, before)?;
            fits(entry.value.clone())?;
            Some(entry.clone())
        }
    })
}

/// Whether the entry may stand where `before` does: never an earlier one in the place of a later, nor two values under one
/// revision, since readers know a value by it.
fn restorable(key: &Key, entry: &Entry, before: Option<&Entry>) -> Result<()> {
    let fault = if entry.revision == Revision::ZERO || entry.revision > Time::LATEST_COMMIT.into() {
        "its revision must be a time from 1970 to 2261, so that later ones can follow"
    } else if before.is_some_and(|old| old.revision > entry.revision) {
        "what stands there is later"
    } else if before.is_some_and(|old| old.revision == entry.revision && old.value != entry.value) {
        "another value has the same revision"
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Invalid, format!("{key:?} cannot be restored: {fault}")))
}

fn increment(key: &Key, before: Option<&Entry>, by: i64) -> Result<Bytes> {
    let old = match before {
        None => 0,
        Some(entry) => std::str::from_utf8(&entry.value)
            .ok()
            .and_then(|text| text.trim().parse::<i64>().ok())
            .ok_or_else(|| Error::new(Kind::Invalid, format!("the value of {key:?} is no 64-bit number")))?,
    };
    let new = old
        .checked_add(by)
        .ok_or_else(|| Error::new(Kind::Invalid, format!("{old} plus {by} does not fit into 64 bits")))?;
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

    fn go(batch: &Batch, found: Option<Entry>) -> Vec<(Key, Change, Option<Revision>)> {
        let at = Moment::new(Time::from_nanos(100), Revision::new(50));
        match judge(batch, Limits::default(), at, |_| found.clone()).unwrap() {
            Judged::Go { changes } => changes,
            Judged::Refused { .. } => panic!("refused"),
        }
    }

    #[test]
    fn a_later_write_sees_the_earlier_and_takes_a_later_revision() {
        let writes = vec![
            Write::put(key("a"), "1"),
            Write::Increment { key: key("a"), by: 4 },
            Write::Append { key: key("a"), value: "x".into(), edge: Edge::Front },
        ];
        let changes = go(&Batch::of(writes), None);
        let values: Vec<_> = changes.iter().map(|c| c.1.after.clone().unwrap().value).collect();
        assert_eq!(values, ["1", "5", "x5"]);
        let revisions: Vec<_> = changes.iter().map(|c| c.2.unwrap().number()).collect();
        assert_eq!(revisions, [100, 101, 102]);
    }

    #[test]
    fn nothing_changed_takes_no_revision() {
        let writes = vec![Write::Delete { key: key("a") }, Write::Touch { key: key("a"), expires: None }];
        assert!(go(&Batch::of(writes), None).iter().all(|c| c.2.is_none()));
    }

    /// The time of modification, in seconds, of what is put at 100.5 s under a date.
    fn put_under(date: i64, found: Option<Entry>) -> i64 {
        let second = 1_000_000_000;
        let condition = Condition::NotModifiedSince(Time::from_secs(date));
        let batch = Batch::of(vec![Write::put(key("a"), "y")]);
        let batch = batch.expecting(vec![Expectation { key: key("a"), condition }]);
        let at = Moment::new(Time::from_nanos(100 * second + second / 2), Revision::new(50));
        match judge(&batch, Limits::default(), at, |_| found.clone()).unwrap() {
            Judged::Go { changes } => {
                assert_eq!(changes[0].2, Some(Revision::from(at.now)), "the revision stays at the clock");
                changes[0].1.after.as_ref().unwrap().last_modified().secs()
            }
            Judged::Refused { .. } => panic!("refused"),
        }
    }

    #[test]
    fn a_date_that_has_passed_is_past_afterwards_and_the_future_moves_a_key_by_a_second_at_most() {
        let second = 1_000_000_000;
        let found = |modified: i64| {
            let modified = (modified > 100).then(|| Time::from_secs(modified));
            Some(Entry { modified, ..entry("x", if modified.is_some() { 100 } else { 99 } * second + 5) })
        };
        let at = |secs: u64| Some(entry("x", secs * second + 5));
        for (date, found, expected) in [
            (7, at(7), 100),
            (99, at(7), 100),
            // The second of the commit: what is read now has this date, whatever was found.
            (100, at(100), 101),
            (100, at(7), 101),
            (100, None, 101),
            // The future.
            (2000, at(7), 100),
            (2000, at(100), 101),
            (2000, found(101), 101),
            (2000, found(102), 102),
            (2000, None, 100),
            // The very date of the entry is known to somebody.
            (101, found(101), 102),
            (102, found(101), 101),
            // A client's date, which is told to nobody before its time.
            (2000, found(1999), 101),
            (2000, found(2000), 101),
        ] {
            let text = format!("{date} {found:?}");
            assert_eq!(put_under(date, found), expected, "{text}");
        }
    }

    #[test]
    fn a_number_that_would_overflow_is_refused() {
        let batch = Batch::of(vec![Write::Increment { key: key("a"), by: 1 }]);
        for value in [i64::MAX.to_string().as_str(), "1.5", "", "abc"] {
            let found = Some(entry(value, 1));
            let at = Moment::new(Time::from_nanos(100), Revision::new(50));
            let error = judge(&batch, Limits::default(), at, |_| found.clone()).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{value}");
        }
    }
}
