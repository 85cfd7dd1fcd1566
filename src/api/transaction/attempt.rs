//! One attempt at a transaction: what it has seen, and whether that still stands at its end.

use std::collections::BTreeMap;

use super::super::Client;
use super::super::client::broken;
use super::Ended;
use crate::model::{Batch, Condition, Entry, Error, Expectation, Key, Kind, Outcome, Result, Revision, Write};
use crate::store::{Judged, Limits, Moment, judge};

/// Nothing is too large for a look ahead; the store judges by its own limits at the end.
const BOUNDLESS: Limits = Limits { value: usize::MAX };

/// What an attempt knows and is to do.
#[derive(Default)]
pub(in crate::api) struct Attempt {
    /// What was found under these keys, all at one moment.
    seen: BTreeMap<Key, Seen>,
    /// The revision of the bucket at that moment.
    revision: Revision,
    /// What is to be done.
    pub(super) writes: Vec<Write>,
    /// Somebody has changed what was read, so it cannot end well.
    overtaken: bool,
}

/// What was found under a key.
struct Seen {
    entry: Option<Entry>,
    /// Whether it was asked for. What was only looked at beforehand may change.
    used: bool,
}

impl Attempt {
    /// Sees to it that what stands under these keys is known, as far as the transaction needs it.
    pub(super) async fn read(&mut self, client: &Client, keys: &[Key]) -> Result<()> {
        if self.overtaken {
            return Err(overtaken());
        }
        let needed = || keys.iter().filter(|key| !self.is_replaced(key));
        let new: Vec<Key> = needed().filter(|key| !self.seen.contains_key(*key)).cloned().collect();
        let needed: Vec<Key> = needed().cloned().collect();
        if !new.is_empty() {
            self.look(client, new).await?;
        }
        for key in &needed {
            if let Some(seen) = self.seen.get_mut(key) {
                seen.used = true;
            }
        }
        Ok(())
    }

    /// Looks under keys that have not been seen, and anew under those that have if the bucket has moved on since: all that
    /// is seen must be of one moment, or a transaction might act on a state that never was.
    pub(super) async fn look(&mut self, client: &Client, new: Vec<Key>) -> Result<()> {
        let mut keys = new;
        let mut found = client.store.get(&client.bucket, &keys).await?;
        if !self.seen.is_empty() && found.revision != self.revision {
            keys.extend(self.seen.keys().cloned());
            found = client.store.get(&client.bucket, &keys).await?;
        }
        self.revision = found.revision;
        for (key, entry) in keys.into_iter().zip(found.entries) {
            let used = match self.seen.get(&key) {
                Some(old) if old.used && !same(old.entry.as_ref(), entry.as_ref()) => {
                    self.overtaken = true;
                    return Err(overtaken());
                }
                Some(old) => old.used,
                None => false,
            };
            self.seen.insert(key, Seen { entry, used });
        }
        Ok(())
    }

    /// Whether the transaction itself stores or deletes what stands under a key, so that it need not be looked at.
    fn is_replaced(&self, key: &Key) -> bool {
        self.writes.iter().any(|w| w.key() == key && matches!(w, Write::Put { .. } | Write::Delete { .. }))
    }

    /// What would stand under a key if the transaction ended now.
    pub(super) fn written(&self, client: &Client, key: &Key) -> Result<Option<Entry>> {
        let found = self.seen.get(key).and_then(|seen| seen.entry.clone());
        let writes: Vec<Write> = self.writes.iter().filter(|write| write.key() == key).cloned().collect();
        if writes.is_empty() {
            return Ok(found);
        }
        let at = Moment::new(client.clock.now(), self.revision);
        match judge(&Batch::of(writes), BOUNDLESS, at, |_| found.clone())? {
            Judged::Go { mut changes } => Ok(changes.pop().and_then(|(_, change, _)| change.after)),
            Judged::Refused { .. } => Err(broken("refused a batch that expects nothing")),
        }
    }

    /// Does what is to be done, if the function ended well and all it has read is still so.
    pub(super) async fn end<T>(self, client: &Client, answer: Result<T>) -> Result<Ended<T>> {
        let used = |seen: &BTreeMap<Key, Seen>| {
            seen.iter().filter(|(_, seen)| seen.used).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        if self.overtaken {
            return Ok(Ended::Overtaken(used(&self.seen)));
        }
        let answer = answer?;
        // Who only read has seen one moment, unless something it read came to its end meanwhile.
        let ends = |seen: &Seen| seen.used && seen.entry.as_ref().is_some_and(|entry| entry.expires.is_some());
        if self.writes.is_empty() && !self.seen.values().any(ends) {
            return Ok(Ended::Done(answer));
        }
        let read = self.seen.iter().filter(|(_, seen)| seen.used);
        let expectations = read.map(|(key, seen)| unchanged(key, seen.entry.as_ref())).collect();
        let batch = Batch::of(self.writes).expecting(expectations).untold();
        Ok(match client.store.apply(&client.bucket, batch).await? {
            Outcome::Committed { .. } => Ended::Done(answer),
            Outcome::Refused { .. } => Ended::Overtaken(used(&self.seen)),
        })
    }
}

/// That a key is still as it was found.
fn unchanged(key: &Key, found: Option<&Entry>) -> Expectation {
    let condition = found.map_or(Condition::Absent, |entry| Condition::RevisionIn(vec![entry.revision]));
    Expectation { key: key.clone(), condition }
}

fn same(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    old.map(|entry| entry.revision) == new.map(|entry| entry.revision)
}

/// Told to the transaction's function, so that it ends soon; nobody else hears it.
fn overtaken() -> Error {
    Error::new(Kind::Busy, "somebody else has changed what this transaction has read; it is run again")
}
