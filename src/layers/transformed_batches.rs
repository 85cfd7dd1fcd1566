//! Batches of a store whose values have another form.
//!
//! The values to write are encoded. A batch that depends on the current values is evaluated here, on the decoded
//! entries, and committed if they are still unchanged.

use std::collections::HashMap;

use super::transformed::{Form, MAX_DECODED_BYTES, Place, Transformed, is_on_value};
use crate::model::{
    Batch, Bucket, Change, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning, Write,
};
use crate::store::{Decision, Moment, evaluate};

impl<F: Form> Transformed<F> {
    pub(super) async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if self.form.needs_decoded(&batch, self.limits) {
            return self.evaluate_and_apply(bucket, batch).await;
        }
        loop {
            let mut hold = F::Hold::default();
            let applied = match self.encoded(bucket, &batch, &mut hold).await {
                Ok(encoded) => self.inner.apply(bucket, encoded).await,
                Err(error) => Err(error),
            };
            match applied {
                Ok(outcome) => {
                    if let Some(outcome) = self.finish(bucket, &batch, outcome, hold).await? {
                        return Ok(outcome);
                    }
                }
                Err(error) => {
                    self.form.on_end(bucket, None, hold).await;
                    // The value is encoded, so the store inside cannot change it.
                    if error.is_invalid() && batch.writes.iter().any(changes_in_place) {
                        return self.evaluate_and_apply(bucket, batch).await;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// What the outcome of the store inside must have of the changes.
    fn returning(&self, batch: &Batch) -> Returning {
        if self.form.needs_changes() { Returning::Entries } else { batch.returning }
    }

    /// The batch with encoded values.
    async fn encoded(&self, bucket: &Bucket, batch: &Batch, hold: &mut F::Hold) -> Result<Batch> {
        let mut writes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            writes.push(match write {
                Write::Put { key, value, content_type, expires, modified } => {
                    let place = Place::of_value(bucket, key);
                    let (value, content_type) = self.encode_value(place, value.clone(), content_type, hold).await?;
                    Write::Put { key: key.clone(), value, content_type, expires: *expires, modified: *modified }
                }
                Write::Restore { key, entry } => {
                    let Entry { value, content_type, .. } = entry.clone();
                    let place = Place::of_value(bucket, key);
                    let (value, content_type) = self.encode_value(place, value, &content_type, hold).await?;
                    Write::Restore { key: key.clone(), entry: Entry { value, content_type, ..entry.clone() } }
                }
                same => same.clone(),
            });
        }
        let expectations = batch.expectations.clone();
        Ok(Batch { expectations, writes, returning: self.returning(batch) })
    }

    /// The outcome of a batch with decoded entries, as far as they fit into [`MAX_DECODED_BYTES`]. `None` if nothing was
    /// committed, because of an entry that was replaced meanwhile: then the batch must be tried again.
    async fn decoded(&self, bucket: &Bucket, batch: &Batch, outcome: Outcome) -> Result<Option<Outcome>> {
        Ok(Some(match outcome {
            Outcome::Committed { revision, changes } => {
                let (mut plain, mut bytes) = (Vec::with_capacity(changes.len()), 0_u64);
                for (key, change) in batch.writes.iter().map(Write::key).zip(changes) {
                    let entries = [&change.before, &change.after].into_iter().flatten();
                    bytes = entries.fold(bytes, |sum, entry| sum.saturating_add(self.form.decoded_bytes(entry)));
                    if bytes > MAX_DECODED_BYTES {
                        plain.push(change);
                        continue;
                    }
                    let before = self.decode_committed(bucket, key, change.before).await?;
                    let after = self.decode_committed(bucket, key, change.after).await?;
                    plain.push(Change { before, after });
                }
                Outcome::Committed { revision, changes: plain }
            }
            Outcome::PreconditionFailed { index, found } => {
                let mut found = found;
                if let Some(expectation) = batch.expectations.get(index)
                    && !self.decode_all(bucket, std::iter::once((&expectation.key, &mut found))).await?
                {
                    return Ok(None);
                }
                Outcome::PreconditionFailed { index, found }
            }
        }))
    }

    /// The decoded outcome of a batch. What it has replaced is given up after that.
    async fn finish(&self, bucket: &Bucket, batch: &Batch, outcome: Outcome, hold: F::Hold) -> Result<Option<Outcome>> {
        let replaced = match &outcome {
            Outcome::Committed { changes, .. } => {
                let before = changes.iter().filter_map(|change| change.before.as_ref());
                Some(before.filter(|entry| entry.content_type.is_of_a_layer()).cloned().collect())
            }
            Outcome::PreconditionFailed { .. } => None,
        };
        let decoded = match outcome {
            Outcome::Committed { revision, changes } if batch.returning != Returning::Entries => {
                Ok(Some(batch.outcome(revision, changes)))
            }
            outcome => self.decoded(bucket, batch, outcome).await,
        };
        self.form.on_end(bucket, replaced, hold).await;
        decoded
    }

    /// Evaluates a batch on the decoded entries, and commits its result if they are unchanged.
    async fn evaluate_and_apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let keys = keys_of(&batch);
        // Each round but the last means that another writer was faster, so some writer always makes progress.
        loop {
            let mut hold = F::Hold::default();
            let snapshot = self.inner.get(bucket, &keys).await?;
            let mut decoded = snapshot.entries.clone();
            self.check_memory(&decoded)?;
            if !self.decode_all(bucket, keys.iter().zip(&mut decoded)).await? {
                continue;
            }
            let by_key = |entries: Vec<Option<Entry>>| -> Entries<'_> {
                keys.iter().zip(entries).filter_map(|(key, entry)| Some((key, entry?))).collect()
            };
            let (stored, plain) = (by_key(snapshot.entries), by_key(decoded));
            let moment = Moment::new(self.clock.now(), snapshot.revision);
            let changes = match evaluate(&batch, self.limits, moment, |key| plain.get(key).cloned())? {
                Decision::PreconditionFailed { index, found } => {
                    return Ok(Outcome::PreconditionFailed { index, found });
                }
                Decision::Commit { changes } => changes.into_iter().map(|(_, change, _)| change.after),
            };
            let mut writes = Vec::with_capacity(batch.writes.len());
            for (write, after) in batch.writes.iter().zip(changes) {
                let known = (stored.get(write.key()), plain.get(write.key()));
                writes.push(self.plan(bucket, Planned { write, after, known }, &mut hold).await?);
            }
            let unchanged = keys.iter().map(|key| Expectation::unchanged(key.clone(), stored.get(key)));
            let others = batch.expectations.iter().enumerate().filter(|(_, expectation)| !is_on_value(expectation));
            let expectations = unchanged.chain(others.clone().map(|(_, expectation)| expectation.clone())).collect();
            let planned = Batch { expectations, writes, returning: self.returning(&batch) };
            let outcome = match self.inner.apply(bucket, planned).await {
                Ok(Outcome::PreconditionFailed { index, .. }) if index < keys.len() => {
                    self.form.on_end(bucket, None, hold).await;
                    continue;
                }
                Ok(Outcome::PreconditionFailed { index, found }) => {
                    let index = others.clone().nth(index - keys.len()).map_or(0, |(index, _)| index);
                    Outcome::PreconditionFailed { index, found }
                }
                Ok(committed) => committed,
                Err(error) => {
                    self.form.on_end(bucket, None, hold).await;
                    return Err(error);
                }
            };
            if let Some(outcome) = self.finish(bucket, &batch, outcome, hold).await? {
                return Ok(outcome);
            }
        }
    }

    /// Whether the decoded entries fit into memory.
    fn check_memory(&self, entries: &[Option<Entry>]) -> Result<()> {
        let bytes =
            entries.iter().flatten().fold(0_u64, |sum, entry| sum.saturating_add(self.form.decoded_bytes(entry)));
        if bytes <= MAX_DECODED_BYTES || entries.len() == 1 {
            return Ok(());
        }
        let text = "the values that this batch changes or compares are too large together; use several batches";
        Err(Error::new(ErrorKind::TooLarge, text))
    }

    /// The write of an encoded value that does the same as a write of a batch.
    async fn plan(&self, bucket: &Bucket, planned: Planned<'_>, hold: &mut F::Hold) -> Result<Write> {
        let Planned { write, after, known } = planned;
        let place = Place::of_value(bucket, write.key());
        Ok(match (write, after) {
            (Write::Increment { key, .. } | Write::Append { key, .. }, Some(after)) => {
                let (value, content_type) = self.encode_value(place, after.value, &after.content_type, hold).await?;
                Write::Put { key: key.clone(), value, content_type, expires: after.expires, modified: None }
            }
            (Write::Put { key, value, content_type, expires, modified }, _) => {
                let (value, content_type) = self.encode_value(place, value.clone(), content_type, hold).await?;
                Write::Put { key: key.clone(), value, content_type, expires: *expires, modified: *modified }
            }
            (Write::Restore { key, entry }, _) => {
                // An encoding may differ each time, but the same entry must stay the same.
                let is_same = |seen: &&Entry| seen.value == entry.value && seen.content_type == entry.content_type;
                let (value, content_type) = match known {
                    (Some(old), Some(plain)) if is_same(&plain) => (old.value.clone(), old.content_type.clone()),
                    _ => self.encode_value(place, entry.value.clone(), &entry.content_type, hold).await?,
                };
                Write::Restore { key: key.clone(), entry: Entry { value, content_type, ..entry.clone() } }
            }
            (same, _) => same.clone(),
        })
    }
}

/// A write of a batch, with the entry after it and the stored and the decoded entry before the batch.
struct Planned<'a> {
    write: &'a Write,
    after: Option<Entry>,
    known: (Option<&'a Entry>, Option<&'a Entry>),
}

type Entries<'a> = HashMap<&'a Key, Entry>;

/// The keys of a batch, each once.
fn keys_of(batch: &Batch) -> Vec<Key> {
    let expected = batch.expectations.iter().map(|expectation| &expectation.key);
    let mut keys: Vec<Key> = expected.chain(batch.writes.iter().map(Write::key)).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn changes_in_place(write: &Write) -> bool {
    matches!(write, Write::Increment { .. } | Write::Append { .. })
}
