//! A batch: expectations and writes that are carried out together or not at all.

use bytes::Bytes;

use super::content_type::ContentType;
use super::entry::Entry;
use super::name::Key;
use super::revision::Revision;
use super::time::Time;

/// Expectations, all judged before the first write; then writes, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// What must hold. The first that does not is named in [`Outcome::Refused`].
    pub expectations: Vec<Expectation>,
    /// What is done. A later write of a key sees the earlier one.
    pub writes: Vec<Write>,
    /// The caller need not know what the writes did: the same is done, but [`Outcome::Committed`] has no changes. A store
    /// may be quicker so, as it need not read what is replaced.
    pub untold: bool,
}

impl Batch {
    /// Writes that expect nothing.
    #[must_use]
    pub fn of(writes: Vec<Write>) -> Self {
        Self { writes, ..Self::default() }
    }

    /// The same under these expectations.
    #[must_use]
    pub fn expecting(self, expectations: Vec<Expectation>) -> Self {
        Self { expectations, ..self }
    }

    /// The same, of whose changes nothing is told.
    #[must_use]
    pub fn untold(self) -> Self {
        Self { untold: true, ..self }
    }

    /// What it answers when it is done.
    #[must_use]
    pub fn committed(&self, revision: Revision, changes: impl IntoIterator<Item = Change>) -> Outcome {
        let changes = if self.untold { vec![] } else { changes.into_iter().collect() };
        Outcome::Committed { revision, changes }
    }
}

/// Something that must hold of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// The key it speaks of.
    pub key: Key,
    /// What must hold.
    pub condition: Condition,
}

/// What is expected of a key. An expired entry counts as absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// There is no entry.
    Absent,
    /// There is an entry.
    Present,
    /// There is an entry and its revision is one of these.
    RevisionIn(Vec<Revision>),
    /// There is no entry, or its revision is none of these.
    RevisionNotIn(Vec<Revision>),
    /// There is an entry with exactly this value.
    ValueIs(Bytes),
    /// There is no entry, or its time of modification, in whole seconds, is not later than this.
    ///
    /// The time of modification of what such a batch puts, adds to or increments under this key is at least one whole
    /// second later than this date and than the entry before it, so the same date does not pass twice. Where the clock has
    /// not reached that second, [`Entry::modified`] holds it. A date in the future passes again and again, and moves the
    /// key no further than the second after the clock's. Revisions and other keys stay at the clock.
    NotModifiedSince(Time),
}

/// Which end of a value an append adds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Edge {
    /// Behind the last byte.
    #[default]
    Back,
    /// Before the first byte.
    Front,
}

/// One change of a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Stores a value, replacing what stood there; `created` is kept.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
        /// Its media type.
        content_type: ContentType,
        /// When it ends, if it does.
        expires: Option<Time>,
        /// The client's time of modification; none: that of the commit.
        modified: Option<Time>,
    },
    /// Removes the entry. A missing one is no error.
    Delete {
        /// The key.
        key: Key,
    },
    /// Sets or removes the end of an entry, and nothing else of it: value and revision stay, the bucket's
    /// revision moves on. A missing entry is no error and stays missing.
    Touch {
        /// The key.
        key: Key,
        /// The new end; none: it stays for good.
        expires: Option<Time>,
    },
    /// Changes nothing: its [`Change`] shows what stands there amid the other writes.
    Look {
        /// The key.
        key: Key,
    },
    /// Adds to a decimal 64-bit number; a missing one counts as 0. Type and end of an entry are kept.
    Increment {
        /// The key.
        key: Key,
        /// What is added.
        by: i64,
    },
    /// Adds bytes at one end; a missing value counts as empty. Type and end of an entry are kept.
    Append {
        /// The key.
        key: Key,
        /// What is added.
        value: Bytes,
        /// Where.
        edge: Edge,
    },
    /// Stores an entry as it was in another place, with all its times and its own revision: how stores are copied.
    ///
    /// What stands there is replaced only by what is later: its revision must be lower, or the same with the same value.
    /// The bucket moves on to the entry's revision or, if it has come further already, by one.
    Restore {
        /// The key.
        key: Key,
        /// What is to stand there.
        entry: Entry,
    },
}

impl Write {
    /// The plain way to store text: no end, the type of text.
    #[must_use]
    pub fn put(key: Key, value: impl Into<Bytes>) -> Self {
        Self::Put { key, value: value.into(), content_type: ContentType::default(), expires: None, modified: None }
    }

    /// The key it writes.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Look { key }
            | Self::Touch { key, .. }
            | Self::Increment { key, .. }
            | Self::Append { key, .. }
            | Self::Restore { key, .. } => key,
        }
    }
}

/// How a batch ended. Other endings are errors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything was done and is durable.
    Committed {
        /// The revision of the bucket after the batch; unchanged if nothing changed.
        revision: Revision,
        /// One for each write, in their order; none if the batch is [untold](struct@Batch).
        changes: Vec<Change>,
    },
    /// An expectation did not hold; nothing was done.
    Refused {
        /// Which one, from 0.
        index: usize,
        /// What stood under its key.
        found: Option<Entry>,
    },
}

/// What one write did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The entry before, if there was one.
    pub before: Option<Entry>,
    /// The entry after, if there is one.
    pub after: Option<Entry>,
}
