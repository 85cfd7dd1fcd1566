//! A batch: expectations and writes that are carried out together or not at all.

use bytes::Bytes;

use super::content_type::ContentType;
use super::entry::Entry;
use super::name::Key;
use super::revision::Revision;
use super::time::Time;

/// Expectations, all checked before the first write, and writes, done in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Conditions that must hold. [`Outcome::PreconditionFailed`] names the first that does not.
    pub expectations: Vec<Expectation>,
    /// A later write of a key sees the result of the earlier one.
    pub writes: Vec<Write>,
    /// What the outcome has of the changes.
    pub returning: Returning,
}

/// What the outcome of a batch has of its changes. Less can be faster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Returning {
    /// The entries before and after each write.
    #[default]
    Entries,
    /// The same, but their values and types may be those that a layer has stored in place of the real ones.
    Metadata,
    /// [`Outcome::Committed`] has no changes, so a store need not read the entries that it replaces.
    Nothing,
}

impl Batch {
    /// A batch without expectations.
    #[must_use]
    pub fn new(writes: Vec<Write>) -> Self {
        Self { writes, ..Self::default() }
    }

    /// The same batch with these expectations instead of its own.
    #[must_use]
    pub fn with_expectations(self, expectations: Vec<Expectation>) -> Self {
        Self { expectations, ..self }
    }

    /// The same batch, but its outcome has this of the changes.
    #[must_use]
    pub fn returning(self, returning: Returning) -> Self {
        Self { returning, ..self }
    }

    /// The outcome of this batch after a commit: for stores. It drops the changes if the batch returns nothing.
    #[must_use]
    pub fn outcome(&self, revision: Revision, changes: impl IntoIterator<Item = Change>) -> Outcome {
        let changes = if self.returning == Returning::Nothing { vec![] } else { changes.into_iter().collect() };
        Outcome::Committed { revision, changes }
    }
}

/// A condition on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// The key whose entry is checked.
    pub key: Key,
    /// The condition that must hold.
    pub condition: Condition,
}

impl Expectation {
    /// The expectation that nobody has written or touched `key` since `seen` was read; `None` means that there was no
    /// entry.
    ///
    /// ```
    /// use kvs::model::{Condition, Expectation, Key};
    ///
    /// let expectation = Expectation::unchanged(Key::new("door")?, None);
    /// assert_eq!(expectation.condition, Condition::Absent);
    /// # Ok::<(), kvs::model::Error>(())
    /// ```
    #[must_use]
    pub fn unchanged(key: Key, seen: Option<&Entry>) -> Self {
        let condition = seen.map_or(Condition::Absent, |entry| {
            let Entry { revision, expires, .. } = *entry;
            Condition::Unchanged { revision, expires }
        });
        Self { key, condition }
    }

    /// Like [`unchanged`](Self::unchanged), but a touch does not count.
    #[must_use]
    pub fn value_unchanged(key: Key, seen: Option<&Entry>) -> Self {
        let condition = seen.map_or(Condition::Absent, |entry| Condition::RevisionIn(vec![entry.revision]));
        Self { key, condition }
    }
}

/// A condition on the entry of a key. An expired entry counts as absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// There is no entry.
    Absent,
    /// There is an entry.
    Present,
    /// There is an entry with this revision and this expiry. A touch changes only the expiry.
    Unchanged {
        /// The revision of the entry.
        revision: Revision,
        /// The expiry of the entry.
        expires: Option<Time>,
    },
    /// There is an entry and its revision is in this list.
    RevisionIn(Vec<Revision>),
    /// There is no entry, or its revision is not in this list.
    RevisionNotIn(Vec<Revision>),
    /// There is an entry with exactly this value.
    ValueIs(Bytes),
    /// There is no entry, or its time of modification, in whole seconds, is not later than this.
    ///
    /// If such a batch puts, appends to or increments this key, the new time of modification is at least one whole
    /// second later than this date and than the entry before it, so the same date does not pass twice. If the clock has
    /// not reached that second, [`Entry::modified`] holds it. A date in the future passes again and again; it moves the
    /// time of modification at most two seconds ahead of the clock. Revisions and other keys keep the clock's time.
    NotModifiedSince(Time),
}

/// The end of a value that bytes are added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// After the last byte.
    #[default]
    Append,
    /// Before the first byte.
    Prepend,
}

/// One change of a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Stores a value. It replaces the entry under the key; `created` is kept.
    Put {
        /// The key to write.
        key: Key,
        /// The new value.
        value: Bytes,
        /// The media type of the value.
        content_type: ContentType,
        /// When the entry expires; `None`: never.
        expires: Option<Time>,
        /// The client's time of modification; `None`: the time of the commit.
        modified: Option<Time>,
    },
    /// Removes an entry. A missing entry is not an error.
    Delete {
        /// The key to delete.
        key: Key,
    },
    /// Sets or removes the expiry of an entry. Its value and revision stay; the bucket gets a new revision. A missing
    /// entry is not an error and stays missing.
    Touch {
        /// The key of the entry.
        key: Key,
        /// The new expiry; `None`: the entry never expires.
        expires: Option<Time>,
    },
    /// Changes nothing. Its [`Change`] shows the entry as the writes before it left it.
    Read {
        /// The key to read.
        key: Key,
    },
    /// Adds to a decimal 64-bit integer. A missing entry counts as 0. Content type and expiry are kept.
    Increment {
        /// The key of the number.
        key: Key,
        /// The number to add; it may be negative.
        by: i64,
    },
    /// Adds bytes at one end of a value. A missing entry counts as empty. Content type and expiry are kept.
    Append {
        /// The key of the value.
        key: Key,
        /// The bytes to add.
        value: Bytes,
        /// Where to add them.
        end: End,
    },
    /// Stores an entry of another store with all its times and its own revision. Copies between stores use
    /// this.
    ///
    /// It replaces only earlier entries: the revision under the key must be lower, or the same with the same value.
    /// The bucket moves on to the entry's revision or, if it is past that, by one.
    Restore {
        /// The key to write.
        key: Key,
        /// The entry to store.
        entry: Entry,
    },
}

impl Write {
    /// Puts text that never expires.
    #[must_use]
    pub fn put(key: Key, value: impl Into<Bytes>) -> Self {
        Self::Put { key, value: value.into(), content_type: ContentType::default(), expires: None, modified: None }
    }

    /// The key it reads or writes.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Read { key }
            | Self::Touch { key, .. }
            | Self::Increment { key, .. }
            | Self::Append { key, .. }
            | Self::Restore { key, .. } => key,
        }
    }
}

/// The result of a batch. Everything else is an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All writes were done and are durable.
    Committed {
        /// The revision of the bucket after the batch. It is the old one if nothing changed.
        revision: Revision,
        /// One for each write, in their order; empty if the batch is to [return nothing](Returning::Nothing).
        changes: Vec<Change>,
    },
    /// An expectation did not hold; nothing was done.
    PreconditionFailed {
        /// The index of the expectation, from 0.
        index: usize,
        /// The entry under its key.
        found: Option<Entry>,
    },
}

/// The effect of one write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The entry before the write.
    pub before: Option<Entry>,
    /// The entry after the write.
    pub after: Option<Entry>,
}
