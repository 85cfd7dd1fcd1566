//! Group commit: all transactions that wait are judged one after another, appended together, and made durable by one sync.

use std::collections::HashMap;

use super::document::document;
use super::image::Image;
use crate::model::{Batch, Change, Entry, Key, Outcome, Result, Revision, Time};
use crate::store::{Judged, Limits, Moment, judge};

/// Transactions, judged: what to append, what to answer, and what the image is afterwards.
pub(super) struct Group {
    /// The documents; empty if nothing changes.
    pub(super) text: Vec<u8>,
    /// One for each transaction.
    pub(super) outcomes: Vec<Result<Outcome>>,
    /// The first transaction that changes something.
    first_write: Option<usize>,
    changed: HashMap<Key, Option<Entry>>,
    revision: Revision,
}

impl Group {
    /// Judges the transactions in their order, each on what those before it leave.
    pub(super) fn judge(batches: &[Batch], image: &Image, limits: Limits, now: Time) -> Self {
        let mut group = Self {
            text: Vec::new(),
            outcomes: Vec::new(),
            first_write: None,
            changed: HashMap::new(),
            revision: image.revision,
        };
        for batch in batches {
            let look = |key: &Key| match group.changed.get(key) {
                Some(entry) => entry.clone(),
                None => image.entries.get(key).cloned(),
            };
            // A person reads these times.
            let moment = Moment { now, last: group.revision, next: |last, now| last.next(last.shorten(now)) };
            let outcome = judge(batch, limits, moment, look).map(|judged| match judged {
                Judged::Refused { index, found } => Outcome::Refused { index, found },
                Judged::Go { changes } => group.take(batch, changes),
            });
            group.outcomes.push(outcome);
        }
        group
    }

    /// Takes one transaction in: as one document that holds the last change of each key.
    fn take(&mut self, batch: &Batch, changes: Vec<(Key, Change, Option<Revision>)>) -> Outcome {
        let mut last: HashMap<&Key, usize> = HashMap::new();
        for (n, (key, _, revision)) in changes.iter().enumerate() {
            if let Some(revision) = revision {
                last.insert(key, n);
                self.revision = self.revision.max(*revision);
            }
        }
        let lines = changes.iter().enumerate().filter(|(n, (key, ..))| last.get(key) == Some(n)).map(
            |(_, (key, change, taken))| {
                let entry = change.after.as_ref();
                (key, entry, taken.filter(|revision| entry.is_none_or(|e| e.revision != *revision)))
            },
        );
        if !last.is_empty() {
            self.first_write.get_or_insert(self.outcomes.len());
            document(&mut self.text, lines);
        }
        let outcome = batch.committed(self.revision, changes.iter().map(|(_, change, _)| change.clone()));
        for (key, change, revision) in changes {
            if revision.is_some() {
                self.changed.insert(key, change.after);
            }
        }
        outcome
    }

    /// Makes the image what it is after the group, and returns the answers.
    pub(super) fn publish(self, image: &mut Image) -> Vec<Result<Outcome>> {
        for (key, entry) in self.changed {
            image.by_hand.remove(&key);
            match entry {
                Some(entry) => image.entries.insert(key, entry),
                None => image.entries.remove(&key),
            };
        }
        image.revision = self.revision;
        self.outcomes
    }

    /// The answers if the append failed: the first who was to write something and all who were judged after it get the
    /// error, since they were judged on what is not there.
    pub(super) fn fail(mut self, error: &crate::model::Error) -> Vec<Result<Outcome>> {
        for outcome in self.outcomes.iter_mut().skip(self.first_write.unwrap_or(0)) {
            *outcome = Err(error.copied());
        }
        self.outcomes
    }
}
