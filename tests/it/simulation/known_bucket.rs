//! What is known of a bucket: all contents that it can have after what was done and seen.
//!
//! As long as every outcome is known there is one. A write whose outcome is unknown leaves two: with it and without it.
//! Every later answer removes those that it contradicts; if none remains, the store was wrong. While an operation of one
//! process is in progress and another process does something, the first may already have been done: these possibilities
//! are contents too, until it has its answer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvs::model::{Batch, BlobId, Entry, ErrorKind, Key, Outcome, Result as Answer, Returning, Revision, Time};

use super::content::{Content, Effect, Rev, bind_changes};

/// A possible content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Candidate {
    pub(super) content: Content,
    /// The effect of the operation in progress, if it is in the content already.
    early: Option<Effect>,
    /// Earlier contents that a read in progress may return.
    earlier: Vec<Content>,
    /// These two of the operation within which another one is in progress.
    outer: (Option<Effect>, Vec<Content>),
}

/// More possibilities than this are a mistake of the test.
const MAX_CANDIDATES: usize = 5_000;

#[derive(Debug)]
pub(super) struct KnownBucket {
    pub(super) candidates: Vec<Candidate>,
    /// The greatest revision that each process has returned, and that of all.
    seen: BTreeMap<usize, Revision>,
    pub(super) last_seen: Revision,
    /// The value that each key had at each revision.
    values: BTreeMap<(Key, Revision), Bytes>,
    /// Revisions of the past.
    pub(super) old_revisions: Vec<Revision>,
    /// Every value that was ever to be written.
    pub(super) ever: BTreeMap<Key, Vec<Bytes>>,
    /// Blobs whose references were replaced.
    pub(super) replaced: Vec<BlobId>,
    /// The processes that may raise the revision although nothing has changed: since work was interrupted, they have not
    /// answered without a fault.
    pub(super) may_raise: BTreeSet<usize>,
    /// Whether one of them may have done so, and nobody has written since.
    pub(super) is_raised: bool,
    /// Then this is the revision before.
    pub(super) base: Revision,
    /// Whether a person has saved the file, or a process has ended in the middle of its work, and the file has not been
    /// rewritten since. So it is perhaps not the one that the lock file announces durably.
    pub(super) may_be_mistaken: bool,
    /// Whether then the power has failed.
    pub(super) has_forgotten: bool,
}

impl Default for KnownBucket {
    fn default() -> Self {
        Self {
            candidates: vec![Candidate::default()],
            seen: BTreeMap::new(),
            last_seen: Revision::ZERO,
            values: BTreeMap::new(),
            old_revisions: vec![],
            ever: BTreeMap::new(),
            replaced: vec![],
            may_raise: BTreeSet::new(),
            is_raised: false,
            base: Revision::ZERO,
            may_be_mistaken: false,
            has_forgotten: false,
        }
    }
}

/// What a reader found.
pub(super) struct Found<'a> {
    pub(super) revision: Revision,
    pub(super) entries: &'a [(Key, Option<Entry>)],
    pub(super) is_complete: bool,
    /// The least revision that it may have, by what was seen before the read began.
    pub(super) since: Revision,
    pub(super) process: usize,
}

impl KnownBucket {
    /// The content that it has, or probably has.
    pub(super) fn likely(&self) -> &Content {
        &self.candidates[0].content
    }

    /// The content, if it is known.
    pub(super) fn certain(&mut self) -> Option<&mut Content> {
        if let [only] = &mut self.candidates[..] { Some(&mut only.content) } else { None }
    }

    /// Another process will do something now, while a batch is in progress.
    pub(super) fn fork_for_batch(&mut self, batch: &Batch, now: Time) {
        let mut early = vec![];
        for candidate in self.candidates.iter().filter(|candidate| candidate.early.is_none()) {
            let effect = candidate.content.effect(batch, now);
            let content = match &effect {
                Effect::Done { content, .. } => content.clone(),
                Effect::Failed(_) | Effect::Invalid => candidate.content.clone(),
            };
            early.push(Candidate { content, early: Some(effect), ..Candidate::default() });
        }
        self.candidates.extend(early);
    }

    /// Another process will do something now, while a read is in progress.
    pub(super) fn fork_for_read(&mut self) {
        for candidate in &mut self.candidates {
            candidate.earlier.push(candidate.content.clone());
        }
    }

    /// Another process begins to do something within the operation in progress.
    pub(super) fn begin_inner(&mut self) {
        for candidate in &mut self.candidates {
            candidate.outer = (candidate.early.take(), std::mem::take(&mut candidate.earlier));
        }
    }

    pub(super) fn end_inner(&mut self) {
        for candidate in &mut self.candidates {
            (candidate.early, candidate.earlier) = std::mem::take(&mut candidate.outer);
        }
    }

    fn keep(&mut self, mut candidates: Vec<Candidate>, found: &str) -> Result<(), String> {
        for candidate in &mut candidates {
            (candidate.early, candidate.earlier) = (None, vec![]);
        }
        let mut kept: Vec<Candidate> = vec![];
        for candidate in candidates {
            if !kept.contains(&candidate) {
                kept.push(candidate);
            }
        }
        if kept.is_empty() {
            let expected: Vec<_> = self.candidates.iter().map(|candidate| &candidate.content).collect();
            return Err(format!("{found}, but expected one of {expected:?}"));
        }
        if kept.len() > MAX_CANDIDATES {
            return Err(format!("{} possible contents are too many to test", kept.len()));
        }
        self.candidates = kept;
        Ok(())
    }

    /// The least revision that this process may return. If one process may have raised it alone, the others return it
    /// only after the next write.
    pub(super) fn least_revision(&self, process: usize) -> Revision {
        let seen = self.seen.get(&process).copied().unwrap_or_default();
        if self.is_raised { seen.max(self.base) } else { self.last_seen }
    }

    /// A process has ended.
    pub(super) fn forget_process(&mut self, process: usize) {
        self.seen.remove(&process);
    }

    fn note_revision(&mut self, revision: Revision, since: Revision, process: usize) -> Result<(), String> {
        if revision < since {
            return Err(format!("the revision went back from {since:?} to {revision:?}"));
        }
        let seen = self.seen.entry(process).or_default();
        *seen = revision.max(*seen);
        self.last_seen = self.last_seen.max(revision);
        Ok(())
    }

    fn note_entry(&mut self, key: &Key, entry: &Entry) -> Result<(), String> {
        let at = (key.clone(), entry.revision);
        let before = self.values.insert(at, entry.value.clone());
        if before.as_ref().is_some_and(|before| *before != entry.value) {
            return Err(format!("{key:?} at {:?} was {before:?} and is {:?}", entry.revision, entry.value));
        }
        if self.old_revisions.last() != Some(&entry.revision) {
            self.old_revisions.push(entry.revision);
        }
        Ok(())
    }

    /// A read has returned this.
    pub(super) fn has_read(&mut self, found: &Found<'_>, now: Time) -> Result<(), String> {
        self.note_revision(found.revision, found.since, found.process)?;
        for (key, entry) in found.entries {
            if let Some(entry) = entry {
                self.note_entry(key, entry)?;
            }
        }
        let bind = |content: &mut Content| content.bind(found.revision, found.entries, found.is_complete, now);
        let mut kept = vec![];
        for candidate in &self.candidates {
            let mut bound = candidate.clone();
            if bind(&mut bound.content) {
                kept.push(bound);
            } else if candidate.earlier.iter().any(|content| bind(&mut content.clone())) {
                kept.push(candidate.clone());
            }
        }
        self.keep(kept, &format!("read {:?} at {:?}", found.entries, found.revision))
    }

    /// A read has failed, or its process has ended.
    pub(super) fn has_not_read(&mut self) {
        for candidate in &mut self.candidates {
            candidate.earlier.clear();
        }
    }

    /// A batch has this outcome; `None` if its process ended before it was known.
    pub(super) fn has_applied(
        &mut self,
        batch: &Batch,
        outcome: Option<&Answer<Outcome>>,
        process: usize,
        now: Time,
    ) -> Result<(), String> {
        for write in &batch.writes {
            self.note_values(write.key(), batch, now);
        }
        let kept = match outcome {
            None => self.possibly_done(batch, now),
            Some(Err(error)) if error.is_outcome_unknown() => self.possibly_done(batch, now),
            Some(Err(error)) => self.not_done(batch, error.kind(), now),
            Some(Ok(Outcome::PreconditionFailed { index, .. })) => self.refused(batch, *index, now),
            Some(Ok(Outcome::Committed { revision, changes })) => {
                self.note_revision(*revision, Revision::ZERO, process)?;
                for (write, change) in batch.writes.iter().zip(changes) {
                    if let Some(entry) = &change.after {
                        self.note_entry(write.key(), entry)?;
                    }
                }
                self.done(batch, (*revision, changes), now)
            }
        };
        self.keep(kept, &format!("{batch:?} has the outcome {outcome:?}"))
    }

    /// Remembers the values that the batch may have written.
    fn note_values(&mut self, key: &Key, batch: &Batch, now: Time) {
        let ever = self.ever.entry(key.clone()).or_default();
        for candidate in &self.candidates {
            let Effect::Done { changes, .. } = candidate.content.effect(batch, now) else { continue };
            let of_key = batch.writes.iter().zip(changes).filter(|(write, _)| write.key() == key);
            ever.extend(of_key.filter_map(|(_, (_, after))| after).map(|held| held.value));
        }
    }

    fn possibly_done(&self, batch: &Batch, now: Time) -> Vec<Candidate> {
        let mut kept = self.candidates.clone();
        for candidate in self.candidates.iter().filter(|candidate| candidate.early.is_none()) {
            if let Effect::Done { content, .. } = candidate.content.effect(batch, now) {
                kept.push(Candidate { content, outer: candidate.outer.clone(), ..Candidate::default() });
            }
        }
        kept
    }

    fn not_done(&self, batch: &Batch, kind: ErrorKind, now: Time) -> Vec<Candidate> {
        let fits = |candidate: &&Candidate| match (kind, &candidate.early) {
            (ErrorKind::Invalid, None) => candidate.content.effect(batch, now) == Effect::Invalid,
            (ErrorKind::Invalid, Some(early)) => *early == Effect::Invalid,
            (ErrorKind::Busy | ErrorKind::StorageFull | ErrorKind::PermissionDenied, early) => {
                early.as_ref().is_none_or(Effect::changes_nothing)
            }
            _ => false,
        };
        self.candidates.iter().filter(fits).cloned().collect()
    }

    fn refused(&self, batch: &Batch, index: usize, now: Time) -> Vec<Candidate> {
        let fits = |candidate: &&Candidate| {
            let effect = candidate.early.clone().unwrap_or_else(|| candidate.content.effect(batch, now));
            effect == Effect::Failed(index)
        };
        self.candidates.iter().filter(fits).cloned().collect()
    }

    fn done(&self, batch: &Batch, seen: (Revision, &[kvs::model::Change]), now: Time) -> Vec<Candidate> {
        let (revision, found) = seen;
        let mut kept = vec![];
        for candidate in &self.candidates {
            let is_early = candidate.early.is_some();
            let effect = candidate.early.clone().unwrap_or_else(|| candidate.content.effect(batch, now));
            let changes_nothing = effect.changes_nothing();
            let Effect::Done { changes: expected, content } = effect else { continue };
            let mut bound = expected.clone();
            if !bind_changes(&mut bound, found, batch) {
                continue;
            }
            let mut content = if is_early { candidate.content.clone() } else { content };
            let before = candidate.content.revision.floor();
            // If it was done early, others may have gone on from there.
            let fits = is_early || if changes_nothing { content.revision.bind(revision) } else { revision > before };
            if !fits {
                continue;
            }
            if !is_early {
                content.revision = Rev::Exact(revision);
            }
            if batch.returning != Returning::Nothing {
                // The last write of each key gives its entry.
                let writes = batch.writes.iter().zip(expected.into_iter().zip(bound));
                let last: BTreeMap<_, _> =
                    writes.map(|(write, ((_, old), (_, new)))| (write.key(), (old, new))).collect();
                for (key, (expected, bound)) in last {
                    if let (Some(present), Some(expected), Some(bound)) =
                        (content.entries.get_mut(key), expected, bound)
                        && *present == expected
                    {
                        *present = bound;
                    }
                }
            }
            kept.push(Candidate { content, outer: candidate.outer.clone(), ..Candidate::default() });
        }
        kept
    }
}
