//! Writes that were evaluated together, before they are appended.

use std::collections::HashMap;

use crate::model::{Batch, Change, Entry, Key, Outcome, Result, Revision, Time};
use crate::store;
use crate::store::{Limits, Moment, RecentChanges, evaluate_all};
use crate::yaml::format::document::document;
use crate::yaml::state::BucketState;

/// The result of evaluating a group of batches: the text to append, the outcomes, and the changes of the state.
pub(crate) struct EvaluatedGroup {
    /// The documents to append; empty if nothing changes.
    pub(crate) text: Vec<u8>,
    /// One for each batch.
    pub(crate) outcomes: Vec<Result<Outcome>>,
    /// The first batch that changes something.
    first_write: Option<usize>,
    changes: HashMap<Key, Option<Entry>>,
    revisions: Vec<(Revision, Key)>,
    revision: Revision,
}

impl EvaluatedGroup {
    /// Evaluates the batches in their order, each on the result of those before it.
    pub(crate) fn evaluate(batches: &[Batch], state: &BucketState, limits: Limits, now: Time) -> Self {
        let (mut text, mut first_write) = (Vec::new(), None);
        // People read these times, so they are kept short.
        let mut start = Moment::new(now, state.revision);
        start.next = |last, now| last.next(last.shorten(now));
        let add = |index, changes: &[_]| {
            first_write.get_or_insert(index);
            document(&mut text, last_changes(changes));
        };
        let store::Group { outcomes, changes, revisions, revision } =
            evaluate_all(batches, limits, start, |key| state.entries.get(key), add);
        Self { text, outcomes, first_write, changes, revisions, revision }
    }

    /// Applies the changes of the group to the state, and returns the outcomes.
    pub(crate) fn publish(self, state: &mut BucketState) -> Vec<Result<Outcome>> {
        for (key, entry) in self.changes {
            state.by_hand.remove(&key);
            match entry {
                Some(entry) => state.entries.insert(key, entry),
                None => state.entries.remove(&key),
            };
        }
        if state.revision == Revision::ZERO {
            state.recent = RecentChanges::of_new_bucket(&self.revisions);
        }
        for (revision, key) in self.revisions {
            state.recent.add(revision, key);
        }
        state.revision = self.revision;
        self.outcomes
    }

    /// The outcomes if the append failed. The first batch that changes something gets the error, and so do all batches
    /// after it, because they were evaluated on changes that were not stored.
    pub(crate) fn fail(mut self, error: &crate::model::Error) -> Vec<Result<Outcome>> {
        for outcome in self.outcomes.iter_mut().skip(self.first_write.unwrap_or(0)) {
            *outcome = Err(error.duplicate());
        }
        self.outcomes
    }
}

/// The last change of each key, as the lines of one document.
fn last_changes(
    changes: &[(Key, Change, Option<Revision>)],
) -> impl Iterator<Item = (&Key, Option<&Entry>, Option<Revision>)> {
    let written = changes.iter().enumerate().filter(|(_, (_, _, revision))| revision.is_some());
    let last: HashMap<&Key, usize> = written.map(|(n, (key, ..))| (key, n)).collect();
    let lines = changes.iter().enumerate().filter(move |(n, (key, ..))| last.get(key) == Some(n));
    lines.map(|(_, (key, change, taken))| {
        let entry = change.after.as_ref();
        (key, entry, taken.filter(|revision| entry.is_none_or(|e| e.revision != *revision)))
    })
}
