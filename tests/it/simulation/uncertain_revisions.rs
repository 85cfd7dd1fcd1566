//! What may happen to revisions although nobody has changed an entry: work was interrupted, an edit could not be
//! recorded, the power has failed.

use std::collections::BTreeSet;

use kvs::model::Revision;

use super::content::Rev;
use super::known_bucket::KnownBucket;

const LAST: Revision = Revision::new(u64::MAX);

impl KnownBucket {
    /// Work was interrupted. From then on the revision of the bucket may grow although nothing has changed. `before` is
    /// the greatest one that was returned before.
    pub(super) fn was_interrupted(&mut self, processes: usize, before: Revision) {
        self.may_raise = (0..processes).collect();
        if !self.is_raised {
            self.base = before;
        }
        self.is_raised = true;
    }

    /// The disk is full. So what a person has changed cannot be recorded, and nobody can tell which entries these are.
    pub(super) fn has_no_room(&mut self, processes: usize) {
        if self.may_be_mistaken {
            self.was_interrupted(processes, self.last_seen);
            self.has_lost_power();
        }
    }

    /// A process answers. As long as an edit could not be recorded, processes that know different earlier states may give
    /// different revisions to what a person wrote.
    pub(super) fn is_answered_by(&mut self, process: usize) {
        if self.may_be_mistaken {
            self.restamp(self.has_forgotten);
        }
        if !self.is_raised && !self.may_raise.contains(&process) {
            return;
        }
        let least = self.least_revision(process);
        for candidate in &mut self.candidates {
            if let Rev::Exact(known) | Rev::From(known) = candidate.content.revision {
                candidate.content.revision = Rev::From(least.min(known));
            }
        }
    }

    /// A process has answered without a fault.
    pub(super) fn is_undisturbed(&mut self, process: usize, written: Option<Revision>) {
        self.may_raise.remove(&process);
        if let Some(revision) = written {
            self.base = revision;
            self.is_raised &= !self.may_raise.is_empty();
        }
    }

    /// The power has failed. If the file is not the one that was announced, and what kvs knew of it is lost, nobody can
    /// tell which entries a person has changed. It is not promised then that the others keep their revisions: those that
    /// a person wrote, one that was restored, and those that are later or earlier than what is still known, may get other
    /// ones. But no value may have the revision of another one.
    pub(super) fn has_lost_power(&mut self) {
        if !self.may_be_mistaken {
            return;
        }
        self.has_forgotten = true;
        self.restamp(true);
    }

    /// Expired entries were removed, so the revision of the bucket may have grown.
    pub(super) fn may_grow(&mut self) {
        for candidate in &mut self.candidates {
            candidate.content.revision = Rev::From(candidate.content.revision.floor());
        }
    }

    /// The file has been rewritten.
    pub(super) fn is_rewritten(&mut self) {
        (self.may_be_mistaken, self.has_forgotten) = (false, false);
    }

    /// The entries that a person wrote, and any in a range of revisions, may have other revisions.
    fn restamp(&mut self, has_forgotten: bool) {
        let entries = self.candidates.iter().flat_map(|candidate| candidate.content.entries.values());
        let known: BTreeSet<_> = entries.filter(|_| has_forgotten).map(|held| held.revision.floor()).collect();
        let ranges = known.into_iter().flat_map(|known| [known..=LAST, Revision::ZERO..=known, known..=known]);
        let ranges: Vec<_> = ranges.chain([LAST..=Revision::ZERO]).collect();
        let mut anew = vec![];
        for candidate in &self.candidates {
            for range in &ranges {
                let mut candidate = candidate.clone();
                let content = &mut candidate.content;
                let before = content.clone();
                for held in content.entries.values_mut() {
                    if held.is_by_hand {
                        // It is the time of the file again, with a digest of what else is new.
                        (held.revision, held.created) = (Rev::From(Revision::ZERO), None);
                    } else if range.contains(&held.revision.floor()) {
                        held.revision = Rev::After(held.revision.floor());
                    }
                }
                if *content != before {
                    content.revision = Rev::From(content.revision.floor());
                    anew.push(candidate);
                }
            }
        }
        self.candidates.extend(anew);
    }
}
