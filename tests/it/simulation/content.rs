//! The expected content of a bucket, and what a batch does to it. Revisions that nobody has seen yet are open.

use std::collections::BTreeMap;

use bytes::Bytes;
use kvs::model::{Batch, BlobRef, Change, Condition, ContentType, End, Entry, Key, Returning, Revision, Time, Write};

/// A revision: as it was seen, or one after or from another one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rev {
    Exact(Revision),
    After(Revision),
    From(Revision),
}

impl Rev {
    /// Whether it can be this one. From then on it is this one.
    pub(super) fn bind(&mut self, seen: Revision) -> bool {
        let fits = match *self {
            Self::Exact(known) => known == seen,
            Self::After(known) => seen > known,
            Self::From(known) => seen >= known,
        };
        *self = Self::Exact(seen);
        fits
    }

    /// The greatest revision that it is certainly not before.
    pub(super) fn floor(self) -> Revision {
        let (Self::Exact(known) | Self::After(known) | Self::From(known)) = self;
        known
    }
}

/// The expected entry of a key. `None` in `created` and `modified`: not known yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) value: Bytes,
    pub(super) kind: ContentType,
    pub(super) expires: Option<Time>,
    #[expect(clippy::option_option, reason = "unknown, none, or a time")]
    pub(super) modified: Option<Option<Time>>,
    pub(super) created: Option<Time>,
    pub(super) revision: Rev,
    /// Whether a person wrote it, so that the file has no revision of it, or an earlier one.
    pub(super) is_by_hand: bool,
}

impl Held {
    /// An entry that a person wrote, after a revision.
    pub(super) fn by_hand(value: String, after: Revision) -> Self {
        let kind = ContentType::default();
        Self {
            value: value.into(),
            kind,
            expires: None,
            modified: None,
            created: None,
            revision: Rev::After(after),
            is_by_hand: true,
        }
    }

    /// Whether it can be this entry. From then on it is this one.
    fn bind(&mut self, found: &Entry) -> bool {
        let is_same = self.value == found.value
            && self.kind == found.content_type
            && self.expires == found.expires
            && self.modified.is_none_or(|modified| modified == found.modified)
            && self.created.is_none_or(|created| created == found.created);
        (self.modified, self.created) = (Some(found.modified), Some(found.created));
        self.revision.bind(found.revision) && is_same
    }

    fn is_live(&self, now: Time) -> bool {
        self.expires.is_none_or(|expiry| now < expiry)
    }

    fn is_blob(&self) -> bool {
        BlobRef::parse(&self.value, &self.kind).is_some()
    }
}

/// Whether an expected entry, or its absence, can be what was found.
fn bind(expected: &mut Option<Held>, found: Option<&Entry>) -> bool {
    match (expected, found) {
        (None, None) => true,
        (Some(held), Some(found)) => held.bind(found),
        _ => false,
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) entries: BTreeMap<Key, Held>,
    pub(super) revision: Rev,
}

impl Default for Content {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), revision: Rev::Exact(Revision::ZERO) }
    }
}

/// What a batch does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// The entries before and after each write, and the content afterwards.
    Done {
        changes: Vec<(Option<Held>, Option<Held>)>,
        content: Content,
    },
    /// The expectation of this number does not hold.
    Failed(usize),
    Invalid,
}

impl Content {
    fn live(&self, key: &Key, now: Time) -> Option<&Held> {
        self.entries.get(key).filter(|held| held.is_live(now))
    }

    /// Whether a reader can have found these entries at this revision: of all keys, or of some.
    pub(super) fn bind(
        &mut self,
        revision: Revision,
        found: &[(Key, Option<Entry>)],
        is_complete: bool,
        now: Time,
    ) -> bool {
        if !self.revision.bind(revision) {
            return false;
        }
        let live = self.entries.iter().filter(|(_, held)| held.is_live(now)).count();
        if is_complete && live != found.len() {
            return false;
        }
        found.iter().all(|(key, entry)| match (self.entries.get_mut(key).filter(|held| held.is_live(now)), entry) {
            (None, None) => true,
            (Some(held), Some(entry)) => held.bind(entry),
            _ => false,
        })
    }

    /// What a batch does to this content.
    pub(super) fn effect(&self, batch: &Batch, now: Time) -> Effect {
        for (number, expectation) in batch.expectations.iter().enumerate() {
            if !holds(&expectation.condition, self.live(&expectation.key, now)) {
                return Effect::Failed(number);
            }
        }
        let (mut content, mut changes) = (self.clone(), vec![]);
        // New revisions are later than all others.
        let mut floor = self.entries.values().map(|held| held.revision.floor()).fold(self.revision.floor(), Ord::max);
        for write in &batch.writes {
            let key = write.key();
            let before = content.live(key, now).cloned();
            let Some(after) = after(write, before.as_ref(), floor, now) else { return Effect::Invalid };
            let after = after.filter(|held| held.is_live(now));
            if before != after {
                content.revision = Rev::After(self.revision.floor());
            }
            if let Some(Rev::Exact(known)) = after.as_ref().map(|held| held.revision) {
                // New revisions are also later than one that is restored.
                floor = floor.max(known);
            }
            match after.clone() {
                Some(held) => content.entries.insert(key.clone(), held),
                None => content.entries.remove(key),
            };
            changes.push((before, after));
        }
        Effect::Done { changes, content }
    }
}

impl Effect {
    /// Whether the batch leaves the content as it is.
    pub(super) fn changes_nothing(&self) -> bool {
        match self {
            Self::Done { changes, .. } => changes.iter().all(|(before, after)| before == after),
            Self::Failed(_) | Self::Invalid => true,
        }
    }
}

/// Whether these changes were expected. The expected ones become those.
pub(super) fn bind_changes(expected: &mut [(Option<Held>, Option<Held>)], found: &[Change], batch: &Batch) -> bool {
    if batch.returning == Returning::Nothing {
        return found.is_empty();
    }
    let mut last = Revision::ZERO;
    expected.len() == found.len()
        && expected.iter_mut().zip(found).zip(&batch.writes).all(|(((before, after), change), write)| {
            let is_new = matches!(write, Write::Put { .. } | Write::Increment { .. } | Write::Append { .. });
            if let (true, Some(entry)) = (is_new, &change.after) {
                // A later write sees the result of the earlier one, and has a later revision.
                let is_later = entry.revision > last;
                last = entry.revision;
                if !is_later {
                    return false;
                }
            }
            // The entry before may be the result of an earlier write, whose revision is known by now.
            bind(before, change.before.as_ref()) && bind(after, change.after.as_ref())
        })
}

fn holds(condition: &Condition, found: Option<&Held>) -> bool {
    // A revision that nobody has seen is in no list.
    let is_in = |these: &[Revision], held: &Held| matches!(held.revision, Rev::Exact(known) if these.contains(&known));
    match (condition, found) {
        (Condition::Absent, found) => found.is_none(),
        (Condition::Present, found) => found.is_some(),
        (Condition::ValueIs(value), found) => found.is_some_and(|held| held.value == value),
        (Condition::RevisionIn(these), found) => found.is_some_and(|held| is_in(these, held)),
        (Condition::RevisionNotIn(these), found) => found.is_none_or(|held| !is_in(these, held)),
        (Condition::Unchanged { revision, expires }, found) => {
            found.is_some_and(|held| is_in(&[*revision], held) && held.expires == *expires)
        }
        (Condition::NotModifiedSince(_), _) => unreachable!("no plan has a date"),
    }
}

/// The entry after a write; `None` if the write is invalid. New revisions are after `floor`.
#[expect(clippy::option_option, reason = "impossible, missing, or an entry")]
fn after(write: &Write, before: Option<&Held>, floor: Revision, now: Time) -> Option<Option<Held>> {
    let created = before.map(|held| held.created);
    let changed = |value: Bytes| Held {
        value,
        kind: before.map(|held| held.kind.clone()).unwrap_or_default(),
        expires: before.and_then(|held| held.expires),
        modified: Some(None),
        created: created.flatten(),
        revision: Rev::After(floor),
        is_by_hand: false,
    };
    let is_blob = before.is_some_and(Held::is_blob);
    Some(match write {
        Write::Put { value, content_type, expires, modified, .. } => Some(Held {
            value: value.clone(),
            kind: content_type.clone(),
            expires: *expires,
            modified: Some(*modified),
            created: created.flatten(),
            revision: Rev::After(floor),
            is_by_hand: false,
        }),
        Write::Delete { .. } => None,
        Write::Read { .. } => before.cloned(),
        Write::Touch { expires, .. } => before.map(|held| Held { expires: *expires, ..held.clone() }),
        Write::Increment { .. } | Write::Append { .. } if is_blob => return None,
        Write::Increment { by, .. } => {
            let text = before.map_or("0", |held| std::str::from_utf8(&held.value).unwrap_or("no text"));
            let number = text.trim().parse::<i64>().ok()?.checked_add(*by)?;
            Some(changed(number.to_string().into()))
        }
        Write::Append { value, end, .. } => {
            let old = before.map(|held| held.value.clone()).unwrap_or_default();
            let (first, second) = if *end == End::Append { (&old, value) } else { (value, &old) };
            Some(changed([&first[..], second].concat().into()))
        }
        Write::Restore { entry, .. } => {
            let is_older = before.is_some_and(|held| match held.revision {
                Rev::Exact(known) => known > entry.revision || known == entry.revision && held.value != entry.value,
                // It is a new one, so about as late as the clock.
                Rev::After(known) | Rev::From(known) => {
                    known >= entry.revision || entry.revision <= Revision::from(now)
                }
            });
            if is_older {
                return None;
            }
            Some(Held {
                value: entry.value.clone(),
                kind: entry.content_type.clone(),
                expires: entry.expires,
                modified: Some(entry.modified),
                created: Some(entry.created),
                revision: Rev::Exact(entry.revision),
                is_by_hand: false,
            })
        }
    })
}
