//! One attempt at a transaction: the entries that it has read, and whether they are still unchanged at its end.

use std::collections::BTreeMap;

use crate::client::client::{Client, contract_violation};
use crate::model::{Batch, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning, Revision, Write};
use crate::store::{Decision, Limits, Moment, evaluate};

/// The preview of a write has no limit; the store checks its own limits at the end.
const NO_LIMITS: Limits = Limits { max_value_bytes: usize::MAX };

/// The entries that an attempt has read, and its writes.
#[derive(Default)]
pub(crate) struct Attempt {
    /// The entries that were read, all at one moment.
    seen: BTreeMap<Key, SeenEntry>,
    /// The revision of the bucket at that moment.
    revision: Revision,
    pub(crate) writes: Vec<Write>,
    /// Somebody else has changed what was read, so this attempt cannot be committed.
    has_conflict: bool,
}

/// An entry that was read.
struct SeenEntry {
    entry: Option<Entry>,
    /// Whether the function has asked for it. Keys that were only prefetched may change.
    used: bool,
}

/// How an attempt ended.
pub(crate) enum Ended<T> {
    /// Everything was done.
    Done(T),
    /// Nothing was done. The attempt had read these keys.
    Conflict(Vec<Key>),
}

impl Attempt {
    /// Reads the entries under these keys, unless they are known or the transaction has replaced them.
    pub(crate) async fn read(&mut self, client: &Client, keys: &[Key]) -> Result<()> {
        if self.has_conflict {
            return Err(conflict());
        }
        let needed = || keys.iter().filter(|key| !self.is_replaced(key));
        let new: Vec<Key> = needed().filter(|key| !self.seen.contains_key(*key)).cloned().collect();
        let needed: Vec<Key> = needed().cloned().collect();
        if !new.is_empty() {
            self.fetch(client, new).await?;
        }
        for key in &needed {
            if let Some(seen) = self.seen.get_mut(key) {
                seen.used = true;
            }
        }
        Ok(())
    }

    /// Reads keys that have not been read, and all others again if the bucket has changed since. Everything must be of
    /// one moment, or the transaction could act on a state that never existed.
    pub(crate) async fn fetch(&mut self, client: &Client, new: Vec<Key>) -> Result<()> {
        let mut keys = new;
        let mut found = client.store.get(&client.bucket, &keys).await?;
        if !self.seen.is_empty() && found.revision != self.revision {
            keys.extend(self.seen.keys().cloned());
            found = client.store.get(&client.bucket, &keys).await?;
        }
        self.revision = found.revision;
        for (key, entry) in keys.into_iter().zip(found.entries) {
            let used = match self.seen.get(&key) {
                Some(old) if old.used && !is_same(old.entry.as_ref(), entry.as_ref()) => {
                    self.has_conflict = true;
                    return Err(conflict());
                }
                Some(old) => old.used,
                None => false,
            };
            self.seen.insert(key, SeenEntry { entry, used });
        }
        Ok(())
    }

    /// Whether the transaction itself puts or deletes the key, so that the stored entry does not matter.
    fn is_replaced(&self, key: &Key) -> bool {
        self.writes.iter().any(|w| w.key() == key && matches!(w, Write::Put { .. } | Write::Delete { .. }))
    }

    /// The entry under a key if the transaction ended now.
    pub(crate) fn written(&self, client: &Client, key: &Key) -> Result<Option<Entry>> {
        let found = self.seen.get(key).and_then(|seen| seen.entry.clone());
        let writes: Vec<Write> = self.writes.iter().filter(|write| write.key() == key).cloned().collect();
        if writes.is_empty() {
            return Ok(found);
        }
        let at = Moment::new(client.clock.now(), self.revision);
        match evaluate(&Batch::new(writes), NO_LIMITS, at, |_| found.clone())? {
            Decision::Commit { mut changes } => Ok(changes.pop().and_then(|(_, change, _)| change.after)),
            Decision::PreconditionFailed { .. } => Err(contract_violation("rejected a batch without expectations")),
        }
    }

    /// Does the writes, if the function succeeded and everything it has read is unchanged.
    pub(crate) async fn end<T>(self, client: &Client, answer: Result<T>) -> Result<Ended<T>> {
        let used_keys = |seen: &BTreeMap<Key, SeenEntry>| {
            seen.iter().filter(|(_, seen)| seen.used).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        if self.has_conflict {
            return Ok(Ended::Conflict(used_keys(&self.seen)));
        }
        let answer = answer?;
        // Without writes everything was read at one moment, unless an entry that was read has expired meanwhile.
        let can_expire =
            |seen: &SeenEntry| seen.used && seen.entry.as_ref().is_some_and(|entry| entry.expires.is_some());
        if self.writes.is_empty() && !self.seen.values().any(can_expire) {
            return Ok(Ended::Done(answer));
        }
        let read = self.seen.iter().filter(|(_, seen)| seen.used);
        let expectations =
            read.map(|(key, seen)| Expectation::value_unchanged(key.clone(), seen.entry.as_ref())).collect();
        let batch = Batch::new(self.writes).with_expectations(expectations).returning(Returning::Nothing);
        Ok(match client.store.apply(&client.bucket, batch).await? {
            Outcome::Committed { .. } => Ended::Done(answer),
            Outcome::PreconditionFailed { .. } => Ended::Conflict(used_keys(&self.seen)),
        })
    }
}

fn is_same(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    old.map(|entry| entry.revision) == new.map(|entry| entry.revision)
}

/// Returned to the transaction's function, so that it ends soon. The caller of the transaction never sees it.
fn conflict() -> Error {
    Error::new(ErrorKind::Busy, "somebody else has changed what this transaction has read; it is run again")
}
