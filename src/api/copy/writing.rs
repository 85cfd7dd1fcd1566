//! Writing to a bucket of the target: batch by batch in the order of revisions, each noted in the ledger.
//!
//! What has changed in the source since it was compared is put off: the next comparison finds it.

use std::collections::HashSet;

use super::compare::{Compared, Wanted};
use super::ledger::Ledger;
use super::order::{Order, batches};
use super::side::{Side, on};
use super::{Copying, KEYS};
use crate::model::{Batch, Bucket, Condition, Entry, Error, Expectation, Key, Kind, Outcome, Result, Revision, Write};

/// A bucket of the target that is being written.
pub(super) struct Writing<'a> {
    pub(super) copying: &'a Copying,
    pub(super) ledger: &'a Ledger,
    pub(super) bucket: &'a Bucket,
    /// What it has come to.
    pub(super) last: Revision,
    /// What it had certainly come to by our own writes: what a deletion brings it to cannot be told beforehand.
    pub(super) sure: Revision,
    /// How many entries were written, and how many deleted.
    pub(super) copied: u64,
    pub(super) deleted: u64,
}

impl Writing<'_> {
    /// Writes what a comparison found. `written` is told how much of it is done.
    pub(super) async fn write(&mut self, mut found: Compared, written: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        if found.reached != self.last {
            return Err(self.not_alone());
        }
        let order = Order::of(&mut found, self.copying.from.has_revisions());
        let mut done = 0;
        for (all, displacing) in [(&order.plain, false), (&order.displacing, true)] {
            for batch in batches(all) {
                self.restore(batch, displacing).await?;
                done += batch.len() as u64;
                written(done);
            }
            if !displacing {
                self.sure = self.last;
            }
        }
        for batch in found.extra.chunks(KEYS) {
            self.delete(batch).await?;
            done += batch.len() as u64;
            written(done);
        }
        Ok(())
    }

    /// Sees whether a comparison after the writing found what another has written meanwhile, at the moment of a deletion. If
    /// so the bucket is no longer known as a copy, and what was found stays.
    pub(super) async fn sees_alone(&self, found: &Compared) -> Result<()> {
        let extra = found.extra.iter().map(|(_, revision)| *revision);
        let instead = found.wanted.iter().filter_map(|wanted| Some(wanted.instead?.0));
        if extra.chain(instead).all(|revision| revision <= self.sure) {
            return Ok(());
        }
        self.ledger.note(self.bucket, self.sure, self.sure).await.map_err(on(Side::Target))?;
        Err(self.not_alone())
    }

    async fn restore(&mut self, wanted: &[Wanted], displacing: bool) -> Result<()> {
        let keys: Vec<Key> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let entries = self.copying.from.get(self.bucket, &keys).await.map_err(on(Side::Source))?;
        let mut writes = Vec::with_capacity(wanted.len());
        let mut next = self.last;
        for (wanted, entry) in wanted.iter().zip(entries) {
            let Some(mut entry) = entry.filter(|entry| entry.revision == wanted.told) else { continue };
            entry.revision = wanted.revision;
            next = entry.revision.max(next.following());
            if displacing {
                writes.push(Write::Delete { key: wanted.key.clone() });
                self.sure = self.sure.max(entry.revision);
            }
            writes.push(Write::Restore { key: wanted.key.clone(), entry });
        }
        if writes.is_empty() {
            return Ok(());
        }
        let stand = if displacing { self.as_they_stand(keys).await? } else { vec![] };
        self.copied += self.commit(writes, stand, (!displacing).then_some(next)).await?;
        Ok(())
    }

    async fn delete(&mut self, extra: &[(Key, Revision)]) -> Result<()> {
        let expectations = self.as_they_stand(extra.iter().map(|(key, _)| key.clone()).collect()).await?;
        let writes = expectations.iter().map(|stands| Write::Delete { key: stands.key.clone() }).collect();
        self.deleted += self.commit(writes, expectations, None).await?;
        Ok(())
    }

    /// That these keys stay as they stand in the target, where nobody else has written since we did. What has expired is
    /// gone, and nothing is expected of it.
    async fn as_they_stand(&self, keys: Vec<Key>) -> Result<Vec<Expectation>> {
        let now = self.copying.to.get(self.bucket, &keys).await.map_err(on(Side::Target))?;
        if now.revision != self.last {
            return Err(self.not_alone());
        }
        let stands = |(key, entry): (Key, Option<Entry>)| {
            Some(Expectation { key, condition: Condition::RevisionIn(vec![entry?.revision]) })
        };
        Ok(keys.into_iter().zip(now.entries).filter_map(stands).collect())
    }

    /// Does a batch that brings the bucket to `next`, if that can be told: what a deletion brings it to is for the store to
    /// say. How many keys it changed, each counted once.
    async fn commit(
        &mut self,
        writes: Vec<Write>,
        expectations: Vec<Expectation>,
        next: Option<Revision>,
    ) -> Result<u64> {
        self.ledger.note(self.bucket, self.last, next.unwrap_or(self.last)).await.map_err(on(Side::Target))?;
        let keys: HashSet<Key> = writes.iter().map(|write| write.key().clone()).collect();
        let batch = Batch::of(writes).expecting(expectations).untold();
        let outcome = self.copying.to.apply(self.bucket, batch).await;
        let outcome = outcome.map_err(|e| match e.kind() {
            // All of it could be written when it was compared.
            Kind::Invalid => Error::new(Kind::Busy, format!("{}: {e}", self.not_alone())),
            _ => on(Side::Target)(e),
        })?;
        let Outcome::Committed { revision, .. } = outcome else { return Err(self.not_alone()) };
        // It may come less far than was said, if entries have expired, but not further.
        if next.is_some_and(|next| revision > next) {
            return Err(self.not_alone());
        }
        if next != Some(revision) {
            self.ledger.note(self.bucket, revision, revision).await.map_err(on(Side::Target))?;
        }
        self.last = revision;
        Ok(keys.len() as u64)
    }

    fn not_alone(&self) -> Error {
        let text = format!("others write to bucket {} of the target; stop them, then copy again", self.bucket);
        Error::new(Kind::Busy, text)
    }
}
