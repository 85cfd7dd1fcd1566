//! Evaluates several batches of one bucket in their order, each on the result of those before it.

use std::collections::HashMap;

use super::evaluate::{Decision, Limits, Moment, evaluate};
use crate::model::{Batch, Change, Entry, Key, Outcome, Result, Revision};

/// The result of several batches that are committed together.
#[derive(Debug)]
pub struct Group {
    /// One for each batch. They are valid once the changes are committed.
    pub outcomes: Vec<Result<Outcome>>,
    /// The new entry of each changed key; `None`: it is deleted.
    pub changes: HashMap<Key, Option<Entry>>,
    /// The revision and the key of each write that changes something, in their order.
    pub revisions: Vec<(Revision, Key)>,
    /// The revision of the bucket after all batches.
    pub revision: Revision,
}

/// Evaluates batches against the stored entries that `lookup` returns. Nothing is written.
///
/// `on_change` gets the index and the changes of each batch that changes something, as [`Decision::Commit`] has them.
pub fn evaluate_all(
    batches: &[Batch],
    limits: Limits,
    start: Moment,
    lookup: impl Fn(&Key) -> Option<Entry>,
    mut on_change: impl FnMut(usize, &[(Key, Change, Option<Revision>)]),
) -> Group {
    let outcomes = Vec::with_capacity(batches.len());
    let mut group = Group { outcomes, changes: HashMap::new(), revisions: vec![], revision: start.last };
    for (index, batch) in batches.iter().enumerate() {
        let current = |key: &Key| group.changes.get(key).cloned().unwrap_or_else(|| lookup(key));
        let moment = Moment { last: group.revision, ..start };
        let outcome = evaluate(batch, limits, moment, current).map(|decision| match decision {
            Decision::PreconditionFailed { index, found } => Outcome::PreconditionFailed { index, found },
            Decision::Commit { changes } => {
                if changes.iter().any(|(_, _, revision)| revision.is_some()) {
                    on_change(index, &changes);
                }
                group.add(batch, changes)
            }
        });
        group.outcomes.push(outcome);
    }
    group
}

impl Group {
    fn add(&mut self, batch: &Batch, changes: Vec<(Key, Change, Option<Revision>)>) -> Outcome {
        let mut done = Vec::with_capacity(changes.len());
        for (key, change, revision) in changes {
            if let Some(revision) = revision {
                self.revision = self.revision.max(revision);
                self.revisions.push((revision, key.clone()));
                self.changes.insert(key, change.after.clone());
            }
            done.push(change);
        }
        batch.outcome(self.revision, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expectation, Time, Write};

    #[test]
    fn each_batch_sees_the_result_of_those_before_it() {
        let key = |name: &str| Key::new(name).unwrap();
        let increment = || Batch::new(vec![Write::Increment { key: key("n"), by: 1 }]);
        let absent = vec![Expectation::unchanged(key("n"), None)];
        let batches = [
            increment(),
            Batch::new(vec![Write::Delete { key: key("n") }]).with_expectations(absent.clone()),
            Batch::new(vec![Write::put(key("a"), "x"), Write::Increment { key: key("a"), by: 1 }]),
            increment(),
            Batch::new(vec![Write::Delete { key: key("b") }]),
        ];
        let start = Moment::new(Time::from_nanos(100), Revision::new(7));
        let mut changed = vec![];
        let group = evaluate_all(&batches, Limits::default(), start, |_| None, |index, _| changed.push(index));
        assert_eq!(changed, [0, 3]);
        assert_eq!(group.revision.number(), 101);
        assert_eq!(group.revisions, [(Revision::new(100), key("n")), (Revision::new(101), key("n"))]);
        assert_eq!(group.changes.len(), 1);
        assert_eq!(group.changes[&key("n")].as_ref().and_then(Entry::as_text), Some("2"));
        assert!(matches!(group.outcomes[1], Ok(Outcome::PreconditionFailed { index: 0, found: Some(_) })));
        assert!(group.outcomes[2].as_ref().is_err_and(crate::model::Error::is_invalid));
        let unchanged = Revision::new(101);
        assert!(matches!(&group.outcomes[4], Ok(Outcome::Committed { revision, .. }) if *revision == unchanged));
    }
}
