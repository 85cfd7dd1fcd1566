//! Group commit: the writes that wait are evaluated in their order, appended together, and made durable by one sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bucket_store::BucketStore;
use super::evaluated_group::EvaluatedGroup;
use super::locked_files::LockedFiles;
use super::queue::{Request, fail_all};
use crate::model::{Batch, Error, ErrorKind, Outcome, Result, Write};
use crate::yaml::file::data_file::DataFile;
use crate::yaml::fs::Stat;

/// Sets a flag until it is dropped.
struct FlagGuard<'a>(&'a AtomicBool);

impl<'a> FlagGuard<'a> {
    fn set(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for FlagGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl BucketStore {
    /// Brings the state up to date and serves the requests. Writes are in the group only under the exclusive lock.
    pub(crate) fn serve(self: &Arc<Self>, mut locked: LockedFiles<'_>, group: Vec<Request>) {
        if let Err(error) = locked.refresh(&self.state) {
            return fail_all(group, &error);
        }
        self.note_activity(&locked);
        let (mut batches, mut answers, mut refreshes) = (vec![], vec![], vec![]);
        for request in group {
            match request {
                Request::Refresh(answer) => refreshes.push(answer),
                Request::Write(batch, answer) => {
                    batches.push(batch);
                    answers.push(answer);
                }
            }
        }
        let locked = if locked.known.edited.is_some() && batches.is_empty() {
            // The entries that a person overwrote are set aside before anybody sees the edit.
            drop(locked);
            self.record_edit();
            None
        } else {
            Some(locked)
        };
        for answer in refreshes {
            let _ = answer.send(Ok(()));
        }
        let Some(locked) = locked.filter(|_| !batches.is_empty()) else { return };
        let outcomes = match self.commit(locked, &batches) {
            Ok(outcomes) => outcomes,
            Err(error) => batches.iter().map(|_| Err(error.duplicate())).collect(),
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome);
        }
    }

    /// Evaluates, appends and syncs.
    fn commit(self: &Arc<Self>, mut file: LockedFiles<'_>, batches: &[Batch]) -> Result<Vec<Result<Outcome>>> {
        if let Some(damage) = &self.state.read().damage {
            return Err(self.corrupt_error(damage));
        }
        let group = self.evaluate(batches);
        if group.text.is_empty() {
            // An empty batch asks whether a write would be possible.
            if batches.iter().any(is_empty) {
                file.ensure_writable()?;
            }
            return Ok(group.outcomes);
        }
        file.ensure_no_hard_links()?;
        let _committing = FlagGuard::set(&self.committing);
        // The space that a compaction is about to use is not for other writes.
        let may_grow = !file.is_short_of_space() || !self.is_compacting() && file.reserve_again();
        let stored = if may_grow || batches.iter().all(only_deletes) {
            self.store(&mut file, &group)
        } else {
            Err(Error::new(
                ErrorKind::StorageFull,
                "the disk is full; only deletions are possible until there is space",
            ))
        };
        match stored {
            Ok(stat) => {
                let outcomes = self.publish(group, stat);
                self.wrote.store(true, Ordering::Relaxed);
                self.note_activity(&file);
                file.reserve();
                self.compact_if_due(&file, file.is_short_of_space());
                Ok(outcomes)
            }
            Err(error) if error.kind() == ErrorKind::StorageFull && batches.iter().any(only_deletes) => {
                self.store_deletions(&mut file, batches, &error)
            }
            Err(error) => {
                // Compaction may free space for the next write.
                self.compact_if_due(&file, error.kind() == ErrorKind::StorageFull);
                Ok(self.reject(group, &error))
            }
        }
    }

    fn evaluate(&self, batches: &[Batch]) -> EvaluatedGroup {
        EvaluatedGroup::evaluate(batches, &self.state.read(), self.options.limits, self.options.clock.now())
    }

    fn store(&self, file: &mut DataFile, group: &EvaluatedGroup) -> Result<Stat> {
        file.prepare_own(&self.state, &*self.options.clock)?;
        file.append(&group.text)
    }

    fn publish(&self, group: EvaluatedGroup, stat: Stat) -> Vec<Result<Outcome>> {
        let mut state = self.state.write();
        state.stat = Some(stat);
        let outcomes = group.publish(&mut state);
        drop(state);
        let is_stored = |outcome: &&Result<_>| matches!(outcome, Ok(Outcome::Committed { .. }));
        self.measurements.stored(outcomes.iter().filter(is_stored).count());
        outcomes
    }

    fn reject(&self, group: EvaluatedGroup, error: &Error) -> Vec<Result<Outcome>> {
        self.measurements.failed(error.kind(), group.outcomes.len());
        group.fail(error)
    }

    /// The disk is full: carries out the batches that only delete, in the reserved space, and rejects the others.
    fn store_deletions(
        self: &Arc<Self>,
        file: &mut LockedFiles<'_>,
        batches: &[Batch],
        disk_full: &Error,
    ) -> Result<Vec<Result<Outcome>>> {
        file.release();
        file.refresh(&self.state)?;
        file.ensure_no_hard_links()?;
        let deletions: Vec<Batch> = batches.iter().filter(|batch| only_deletes(batch)).cloned().collect();
        let group = self.evaluate(&deletions);
        let stored = if group.text.is_empty() { None } else { Some(self.store(file, &group)) };
        let outcomes = match stored {
            None => group.outcomes,
            Some(Ok(stat)) => self.publish(group, stat),
            Some(Err(error)) => self.reject(group, &error),
        };
        self.measurements.failed(disk_full.kind(), batches.len() - deletions.len());
        self.compact_if_due(file, true);
        let mut outcomes = outcomes.into_iter();
        let rejected = || Err(disk_full.duplicate());
        let answer = |batch| if only_deletes(batch) { outcomes.next().unwrap_or_else(rejected) } else { rejected() };
        Ok(batches.iter().map(answer).collect())
    }

    /// The outcome of a batch that changes nothing in a bucket that nobody has written yet, so that it creates no
    /// files. `None` if it changes something.
    pub(crate) fn answer_without_files(&self, batch: &Batch) -> Option<Result<Outcome>> {
        let may_write = if is_empty(batch) { self.options.file_system.may_write(&self.paths.folder) } else { Ok(()) };
        if let Err(e) = may_write {
            return Some(Err(self.paths.failed("write next to", e)));
        }
        let mut group = self.evaluate(std::slice::from_ref(batch));
        if group.text.is_empty() { group.outcomes.pop() } else { None }
    }
}

fn is_empty(batch: &Batch) -> bool {
    batch.writes.is_empty() && batch.expectations.is_empty()
}

/// Whether the batch makes the bucket smaller, so that it is carried out on a full disk.
fn only_deletes(batch: &Batch) -> bool {
    !batch.writes.is_empty() && batch.writes.iter().all(|write| matches!(write, Write::Delete { .. }))
}
