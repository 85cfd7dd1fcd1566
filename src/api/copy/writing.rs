//! Writing to a bucket of the target: batch by batch in the order of revisions, each noted in the ledger.
//!
//! What has changed in the source since it was compared is put off: the next comparison finds it.

use super::compare::{Compared, Wanted};
use super::ledger::Ledger;
use super::order::{Order, batches};
use super::side::{Side, on};
use super::{Copying, KEYS};
use crate::model::{Batch, Bucket, Condition, Error, Expectation, Key, Kind, Outcome, Result, Revision, Write};

/// A bucket of the target that is being written.
pub(super) struct Writing<'a> {
    pub(super) copying: &'a Copying,
    pub(super) ledger: &'a Ledger,
    pub(super) bucket: &'a Bucket,
    /// What it has come to.
    pub(super) last: Revision,
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
        }
        for batch in found.extra.chunks(KEYS) {
            self.delete(batch).await?;
            done += batch.len() as u64;
            written(done);
        }
        Ok(())
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
            }
            writes.push(Write::Restore { key: wanted.key.clone(), entry });
        }
        if writes.is_empty() {
            return Ok(());
        }
        // What a deletion brings the bucket to is for the store to say.
        let next = if displacing { self.last } else { next };
        let restored = self.commit(Batch { expectations: vec![], writes }, next).await?;
        self.copied += restored;
        if !displacing && self.last > next {
            return Err(self.not_alone());
        }
        Ok(())
    }

    async fn delete(&mut self, extra: &[(Key, Revision)]) -> Result<()> {
        let stands = |(key, revision): &(Key, Revision)| Expectation {
            key: key.clone(),
            condition: Condition::RevisionIn(vec![*revision]),
        };
        // What has expired since is gone, and no longer as it was.
        let keys: Vec<Key> = extra.iter().map(|(key, _)| key.clone()).collect();
        let now = self.copying.to.get(self.bucket, &keys).await.map_err(on(Side::Target))?.entries;
        let extra: Vec<_> = extra.iter().zip(now).filter(|(_, now)| now.is_some()).map(|(extra, _)| extra).collect();
        let writes = extra.iter().map(|(key, _)| Write::Delete { key: key.clone() }).collect();
        let batch = Batch { expectations: extra.into_iter().map(stands).collect(), writes };
        self.deleted += self.commit(batch, self.last).await?;
        Ok(())
    }

    /// Does a batch that brings the bucket to `next`; how many keys it changed.
    async fn commit(&mut self, batch: Batch, next: Revision) -> Result<u64> {
        self.ledger.note(self.bucket, self.last, next).await.map_err(on(Side::Target))?;
        let restores: Vec<bool> = batch.writes.iter().map(|write| matches!(write, Write::Restore { .. })).collect();
        let all_deleted = !restores.contains(&true);
        let outcome = self.copying.to.apply(self.bucket, batch).await.map_err(on(Side::Target))?;
        let Outcome::Committed { revision, changes } = outcome else { return Err(self.not_alone()) };
        if revision != next {
            self.ledger.note(self.bucket, revision, revision).await.map_err(on(Side::Target))?;
        }
        self.last = revision;
        let counts = changes
            .iter()
            .zip(restores)
            .filter(|(change, restore)| change.before != change.after && (*restore || all_deleted));
        Ok(counts.count() as u64)
    }

    fn not_alone(&self) -> Error {
        let text = format!("others write to bucket {} of the target; stop them, then copy again", self.bucket);
        Error::new(Kind::Busy, text)
    }
}
