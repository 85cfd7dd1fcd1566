//! The operations of a run: each is done by a store, and what it answers is compared with what is known.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kvs::model::{
    Batch, BlobRef, Condition, ContentType, End, Entry, Error, Expectation, Key, LogAppend, LogQuery, NewLogEntry,
    Outcome, Result as Answer, Retention, Returning, Revision, Scan, Time, Write,
};
use kvs::store::Store as _;
use kvs::yaml::YamlStore;

use super::content::Rev;
use super::game::{Current, Game, bucket, key, log_key};
use super::known_bucket::{Found, KnownBucket};
use super::known_log::{LogAnswer, LogDeed};
use super::steps::{BatchPlan, ConditionPlan, IndexPlan, LOGS, Op, WritePlan};
use crate::yaml::fixtures::run;

/// An operation in progress.
pub(super) struct Deed<'a> {
    pub(super) game: &'a Game,
    pub(super) process: usize,
    pub(super) store: YamlStore,
    life: u64,
    hits: usize,
    meanwhile: usize,
    /// Whether it is done within a call of another process.
    is_within: bool,
    was_full: Cell<bool>,
}

impl Deed<'_> {
    /// Whether the process has been killed, so that nobody gets an answer.
    pub(super) fn has_ended(&self) -> bool {
        self.game.disk().life(self.process) != self.life
    }

    /// Whether no fault and nobody else has disturbed it, so that it must succeed.
    pub(super) fn is_undisturbed(&self) -> bool {
        !self.is_within && !self.has_ended() && !self.has_others() && self.game.disk().hits() == self.hits
    }

    pub(super) fn has_others(&self) -> bool {
        self.game.meanwhile.load(Ordering::SeqCst) != self.meanwhile
    }

    /// Checks an error: without a fault there must be none.
    pub(super) fn check_error(&self, doing: &str, error: &Error) {
        let is_full = error.kind() == kvs::model::ErrorKind::StorageFull;
        self.was_full.set(self.was_full.get() || is_full);
        let is_full = is_full && self.game.disk().is_limited();
        if self.is_undisturbed() && !is_full && !error.is_invalid() {
            self.game.fail(format!("process {}: {doing} failed without a fault: {error}", self.process));
        }
    }

    /// Makes a call, of which it is known what it is while others do something.
    pub(super) fn call<T>(&self, current: Current, call: impl Future<Output = T>) -> T {
        let outer = self.game.current.lock().replace(current);
        let answer = run(call);
        *self.game.current.lock() = outer;
        answer
    }
}

impl Game {
    /// Does an operation. Returns whether the disk was full.
    pub(super) fn perform(&self, process: usize, op: &Op, is_within: bool) -> bool {
        let disk = self.disk();
        let deed = Deed {
            game: self,
            process,
            store: self.store(process),
            life: disk.life(process),
            hits: disk.hits(),
            meanwhile: self.meanwhile.load(Ordering::SeqCst),
            is_within,
            was_full: Cell::new(false),
        };
        match op {
            Op::Apply { bucket, batch } => {
                let batch = self.batch(*bucket, batch);
                drop(deed.apply(*bucket, batch));
            }
            Op::Get { bucket, keys } => deed.get(*bucket, keys),
            Op::Scan { bucket, limit } => drop(deed.scan(*bucket, *limit)),
            Op::AppendToLog { bucket, log, values, keeps, index } => {
                let next = self.logs.lock()[bucket * LOGS + log].next();
                let index = match index {
                    IndexPlan::Any => None,
                    IndexPlan::Next => Some(next),
                    IndexPlan::Taken => Some(next.saturating_sub(1)),
                };
                deed.change_log(*bucket, *log, LogDeed::Append { values: values.clone(), index, keeps: *keeps });
            }
            Op::RemoveLog { bucket, log, before } => {
                deed.change_log(*bucket, *log, LogDeed::Remove { before: *before });
            }
            Op::ReadLog { bucket, log } => deed.read_log(*bucket, *log),
            Op::PutBlob { bucket, key, blob } => deed.put_blob(*bucket, *key, *blob),
            Op::HoldBlob { slot, bucket, key, blob } => deed.hold_blob(*slot, (*bucket, *key), *blob),
            Op::CommitHeldBlob { slot } => deed.commit_held_blob(*slot),
            Op::RemoveBlobs { bucket } => deed.remove_blobs(*bucket),
            Op::Follow { follower, limit } => deed.follow(*follower, *limit),
            Op::Maintain { bucket, task } => deed.maintain(*bucket, *task),
        }
        deed.was_full.get()
    }

    /// The batch of a plan, as far as the content of the bucket is known.
    fn batch(&self, number: usize, plan: &BatchPlan) -> Batch {
        let buckets = self.buckets.lock();
        let known = &buckets[number];
        let condition = |name: &Key, plan: ConditionPlan| {
            let held = known.likely().entries.get(name);
            let revision = held.and_then(|held| if let Rev::Exact(known) = held.revision { Some(known) } else { None });
            match (plan, revision, held) {
                (ConditionPlan::Absent, ..) => Condition::Absent,
                (ConditionPlan::KnownValue, _, held) => {
                    Condition::ValueIs(held.map(|held| held.value.clone()).unwrap_or_default())
                }
                (ConditionPlan::KnownRevision, Some(revision), _) => Condition::RevisionIn(vec![revision]),
                (ConditionPlan::KnownUnchanged, Some(revision), Some(held)) => {
                    Condition::Unchanged { revision, expires: held.expires }
                }
                (ConditionPlan::NotKnownRevision, Some(revision), _) => Condition::RevisionNotIn(vec![revision]),
                (ConditionPlan::OldRevision, ..) => {
                    let old = known.old_revisions.get(known.old_revisions.len() / 2);
                    Condition::RevisionIn(vec![old.copied().unwrap_or(Revision::new(1))])
                }
                _ => Condition::Present,
            }
        };
        let expectation = |(number, plan): &(usize, ConditionPlan)| {
            let key = key(*number);
            Expectation { condition: condition(&key, *plan), key }
        };
        let is_open = |name: &Key| {
            let of_key = |content: &super::content::Content| content.entries.get(name).map(|held| held.revision);
            let may_change = |held: Rev| known.may_be_mistaken || !matches!(held, Rev::Exact(_));
            known.candidates.iter().any(|candidate| of_key(&candidate.content).is_some_and(may_change))
        };
        let now = self.now();
        let write = |plan: &WritePlan| match plan {
            // Whether it is older than an entry whose revision is not known is not known either.
            WritePlan::Restore { key: number, .. } if is_open(&key(*number)) => Write::Read { key: key(*number) },
            plan => write(plan, now),
        };
        Batch {
            expectations: plan.expectations.iter().map(expectation).collect(),
            writes: plan.writes.iter().map(write).collect(),
            returning: if plan.returning_nothing { Returning::Nothing } else { Returning::Entries },
        }
    }
}

fn write(plan: &WritePlan, now: Time) -> Write {
    let ahead = |milliseconds: &u64| now.plus(std::time::Duration::from_millis(*milliseconds));
    let key = key(plan.key());
    match plan {
        WritePlan::Put { value, kind, lives, modified, .. } => Write::Put {
            key,
            value: value.clone().into(),
            content_type: ContentType::new([ContentType::TEXT, "text/html", "a/b; c=\"d, updated: e\""][*kind])
                .unwrap(),
            expires: lives.as_ref().map(ahead),
            modified: modified.map(Time::from_secs),
        },
        WritePlan::Delete { .. } => Write::Delete { key },
        WritePlan::Touch { lives, .. } => Write::Touch { key, expires: lives.as_ref().map(ahead) },
        WritePlan::Read { .. } => Write::Read { key },
        WritePlan::Increment { by, .. } => Write::Increment { key, by: *by },
        WritePlan::Append { value, before, .. } => {
            Write::Append { key, value: value.clone().into(), end: if *before { End::Prepend } else { End::Append } }
        }
        WritePlan::Restore { value, ahead, .. } => {
            // No other value has the same last digits.
            let digits = value.bytes().fold(7_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 999_983);
            let at = (now.nanos() + ahead * 1_000_000) / 1_000_000 * 1_000_000 + digits;
            let created = Time::from_nanos(at - 1_000_000_000);
            let entry = Entry {
                value: Bytes::from(value.clone()),
                content_type: ContentType::default(),
                revision: Revision::from(Time::from_nanos(at)),
                created,
                modified: None,
                expires: None,
            };
            Write::Restore { key, entry }
        }
    }
}

impl Deed<'_> {
    /// Applies a batch. Returns the outcome, if the process lives.
    pub(super) fn apply(&self, number: usize, batch: Batch) -> Option<Answer<Outcome>> {
        let name = bucket(number);
        let call = self.store.apply(&name, batch.clone());
        let outcome = self.call(Current::Batch(number, batch.clone()), call);
        let outcome = if self.has_ended() { None } else { Some(outcome) };
        let mut buckets = self.game.buckets.lock();
        let known = &mut buckets[number];
        known.is_answered_by(self.process);
        self.game.must(known.has_applied(&batch, outcome.as_ref(), self.process, self.game.now()));
        if let Some(Ok(Outcome::Committed { revision, changes })) = &outcome {
            self.game.acknowledged.fetch_add(1, Ordering::SeqCst);
            let replaced = changes.iter().filter_map(|change| change.before.as_ref());
            known.replaced.extend(replaced.filter_map(BlobRef::of).map(|blob| blob.id));
            if self.is_undisturbed() {
                let has_written = changes.iter().any(|change| change.before != change.after);
                known.is_undisturbed(self.process, Some(*revision).filter(|_| has_written));
            }
        }
        drop(buckets);
        if let Some(Err(error)) = &outcome {
            self.check_error(&format!("{batch:?}"), error);
        }
        outcome
    }

    fn get(&self, number: usize, keys: &[usize]) {
        let since = self.game.buckets.lock()[number].least_revision(self.process);
        let (name, keys) = (bucket(number), keys.iter().map(|number| key(*number)).collect::<Vec<_>>());
        let found = self.call(Current::Read(number), self.store.get(&name, &keys));
        let mut buckets = self.game.buckets.lock();
        match found {
            _ if self.has_ended() => buckets[number].has_not_read(),
            Ok(snapshot) => {
                let entries: Vec<_> = keys.into_iter().zip(snapshot.entries).collect();
                let found = Found {
                    revision: snapshot.revision,
                    entries: &entries,
                    is_complete: false,
                    since,
                    process: self.process,
                };
                self.has_read(&mut buckets[number], &found);
            }
            Err(error) => {
                buckets[number].has_not_read();
                self.check_error("a read", &error);
            }
        }
    }

    fn has_read(&self, known: &mut KnownBucket, found: &Found<'_>) {
        known.is_answered_by(self.process);
        self.game.must(known.has_read(found, self.game.now()));
        if self.is_undisturbed() {
            known.is_undisturbed(self.process, None);
        }
    }

    /// Reads the whole bucket, in pages if nobody disturbs.
    pub(super) fn scan(&self, number: usize, limit: usize) -> Option<(Revision, Vec<(Key, Entry)>)> {
        let since = self.game.buckets.lock()[number].least_revision(self.process);
        let name = bucket(number);
        let query = Scan { limit: usize::MAX, ..Scan::default() };
        let found = self.call(Current::Read(number), self.store.scan(&name, query));
        let mut buckets = self.game.buckets.lock();
        if self.has_ended() {
            buckets[number].has_not_read();
            return None;
        }
        let page = match found {
            Ok(page) => page,
            Err(error) => {
                buckets[number].has_not_read();
                self.check_error("a scan", &error);
                return None;
            }
        };
        let found =
            Found { revision: page.revision, entries: &page.entries, is_complete: true, since, process: self.process };
        self.has_read(&mut buckets[number], &found);
        drop(buckets);
        let entries: Vec<_> = page.entries.into_iter().map(|(key, entry)| (key, entry.unwrap())).collect();
        self.check_pages(number, limit, &entries);
        self.check_blobs(number, &entries);
        Some((page.revision, entries))
    }

    /// Reads the bucket again, in pages.
    fn check_pages(&self, number: usize, limit: usize, whole: &[(Key, Entry)]) {
        let (mut after, mut found) = (None, vec![]);
        loop {
            let query = Scan { limit, after, ..Scan::default() };
            let Ok(page) = run(self.store.scan(&bucket(number), query)) else { return };
            found.extend(page.entries.into_iter().map(|(key, entry)| (key, entry.unwrap())));
            after = page.cursor.map(|key| key.to_string());
            if after.is_none() {
                break;
            }
        }
        if self.is_undisturbed() && found != whole {
            self.game.fail(format!("pages of {limit} have {found:?}, and one page has {whole:?}"));
        }
    }

    fn change_log(&self, number: usize, log: usize, change: LogDeed) {
        let (name, key, at) = (bucket(number), log_key(log), number * LOGS + log);
        let logs = self.store.logs().unwrap();
        let current = Current::Log(at, Some(change.clone()));
        let answer: Answer<LogAnswer> = match &change {
            LogDeed::Append { values, index, keeps } => {
                let entries = values.iter().map(|value| NewLogEntry::new(value.clone())).collect();
                let retention = keeps.map(|max_entries| Retention { max_entries, max_age: None });
                let append = LogAppend { entries, index: *index, retention };
                self.call(current, logs.append(&name, &key, append)).map(LogAnswer::from)
            }
            LogDeed::Remove { before } => {
                self.call(current, logs.remove_log(&name, &key, *before)).map(LogAnswer::Removed)
            }
        };
        let answer = if self.has_ended() { None } else { Some(answer) };
        self.game.must(self.game.logs.lock()[at].has_done(&change, answer.as_ref()));
        match &answer {
            Some(Err(error)) => self.check_error(&format!("{change:?}"), error),
            Some(Ok(_)) => drop(self.game.acknowledged.fetch_add(1, Ordering::SeqCst)),
            None => {}
        }
    }

    fn read_log(&self, number: usize, log: usize) {
        let (name, key, at) = (bucket(number), log_key(log), number * LOGS + log);
        let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
        let logs = self.store.logs().unwrap();
        let page = self.call(Current::Log(at, None), logs.read_log(&name, &key, query));
        let mut known = self.game.logs.lock();
        match page {
            _ if self.has_ended() => known[at].has_not_read(),
            Ok(page) => self.game.must(known[at].has_read(page.as_ref())),
            Err(error) => {
                known[at].has_not_read();
                self.check_error("a read of a log", &error);
            }
        }
    }
}
