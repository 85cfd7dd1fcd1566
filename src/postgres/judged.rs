//! Batches of one bucket, judged one after another, each on what those before it leave.

use std::collections::HashMap;

use super::row::{number, type_name};
use crate::model::{Batch, Change, Entry, Key, Outcome, Result, Revision, Time};
use crate::store::{Judged, Limits, Moment, judge};

/// What batches come to: the answers, and what is to be written if they are to be true.
pub(super) struct Verdict {
    /// One for each batch.
    pub(super) outcomes: Vec<Result<Outcome>>,
    /// What stands under each key that changed.
    changed: HashMap<Key, Option<Entry>>,
    /// The revision of the bucket afterwards.
    pub(super) revision: Revision,
}

/// Entries and keys as the arrays of a statement.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) keys: Vec<&'a str>,
    pub(super) values: Vec<&'a [u8]>,
    pub(super) types: Vec<Option<&'a str>>,
    pub(super) revisions: Vec<i64>,
    pub(super) created: Vec<i64>,
    pub(super) modified: Vec<Option<i64>>,
    pub(super) expires: Vec<Option<i64>>,
    pub(super) gone: Vec<&'a str>,
}

impl Verdict {
    /// Judges the batches against what stands in the bucket, which is locked, at `now`, after the revision `last`.
    pub(super) fn over(
        batches: &[Batch],
        limits: Limits,
        (now, last): (Time, Revision),
        stored: &HashMap<Key, Entry>,
    ) -> Self {
        let mut verdict = Self { outcomes: Vec::with_capacity(batches.len()), changed: HashMap::new(), revision: last };
        for batch in batches {
            let look = |key: &Key| match verdict.changed.get(key) {
                Some(entry) => entry.clone(),
                None => stored.get(key).cloned(),
            };
            let outcome = judge(batch, limits, Moment::new(now, verdict.revision), look).map(|judged| match judged {
                Judged::Refused { index, found } => Outcome::Refused { index, found },
                Judged::Go { changes } => verdict.take(batch, changes),
            });
            verdict.outcomes.push(outcome);
        }
        verdict
    }

    fn take(&mut self, batch: &Batch, changes: Vec<(Key, Change, Option<Revision>)>) -> Outcome {
        let mut done = Vec::with_capacity(changes.len());
        for (key, change, taken) in changes {
            if let Some(revision) = taken {
                self.revision = self.revision.max(revision);
                self.changed.insert(key, change.after.clone());
            }
            done.push(change);
        }
        batch.committed(self.revision, done)
    }

    /// Whether there is anything to write.
    pub(super) fn is_nothing(&self) -> bool {
        self.changed.is_empty()
    }

    /// What is to be written.
    pub(super) fn columns(&self) -> Columns<'_> {
        let mut columns = Columns::default();
        for (key, entry) in &self.changed {
            let Some(entry) = entry else {
                columns.gone.push(key.as_str());
                continue;
            };
            columns.keys.push(key.as_str());
            columns.values.push(&entry.value);
            columns.types.push(type_name(&entry.content_type));
            columns.revisions.push(number(entry.revision));
            columns.created.push(entry.created.nanos());
            columns.modified.push(entry.modified.map(Time::nanos));
            columns.expires.push(entry.expires.map(Time::nanos));
        }
        columns
    }
}
