//! A person who edits the files of a run, and what is examined at its end.

use std::io;
use std::sync::atomic::Ordering;

use kvs::model::{ContentType, ErrorKind, Key, LogQuery, Revision, Scan};
use kvs::store::{Store as _, Task};
use kvs::yaml::fs::FileSystem as _;
use kvs::yaml::fs::OpenMode;

use super::content::{Held, Rev};
use super::game::{AddedLine, Game, RUNTIME, bucket, data, key, log_key};
use super::steps::{BUCKETS, BatchPlan, Edit, Fault, Filter, LOGS, Op, Step, What, WritePlan};
use crate::support::disks::Call;
use crate::yaml::fixtures::run;

/// A write whose first syncs fail.
fn failing_write(bucket: usize, failed_syncs: usize) -> Step {
    let what = What::Fail { error: io::ErrorKind::Other, percent: 0, times: failed_syncs };
    let put = WritePlan::Put { key: 0, value: "not synced".into(), kind: 0, lives: None, modified: None };
    let batch = BatchPlan { writes: vec![put], ..BatchPlan::default() };
    let faults = vec![Fault { on: Filter::Only(Call::Sync), nth: 0, what }];
    Step::Do { process: 0, op: Op::Apply { bucket, batch }, faults }
}

/// The key that only a person writes while kvs writes too.
const KEY_BY_HAND: usize = 6;

impl Game {
    /// A person edits a file, which is in its form at rest.
    pub(super) fn edit(&self, number: usize, edit: &Edit, by_rename: bool, failed_syncs: usize) {
        for process in 0..if self.had_limit.load(Ordering::SeqCst) { self.processes() } else { 0 } {
            // A compaction that a full disk has started would replace the file that the person saves.
            self.reopen(process);
        }
        self.perform(0, &Op::Scan { bucket: number, limit: 100 }, false);
        self.perform(0, &Op::Maintain { bucket: number, task: Task::Compact }, false);
        if failed_syncs > 0 {
            self.do_step(&failing_write(number, failed_syncs), false);
        }
        let path = data(number);
        let Some(text) = self.disk().inner.bytes(&path).and_then(|bytes| String::from_utf8(bytes).ok()) else { return };
        if self.failure().is_some() || text.contains("\n...\n") || !text.ends_with('\n') {
            return;
        }
        let Some(new) = self.edited(number, edit, &text) else { return };
        self.pass(1_000);
        if by_rename {
            self.disk().inner.put(&path, new.as_bytes());
        } else {
            self.disk().inner.edit(&path, new.as_bytes());
            self.sync(number);
        }
        if self.disk().is_limited() {
            self.buckets.lock()[number].has_no_room(self.processes());
        }
        self.pass(1_000);
    }

    fn sync(&self, number: usize) {
        let file = self.disk().inner.open(&data(number), OpenMode::Append);
        file.and_then(|file| file.sync()).unwrap();
    }

    /// The text after an edit, which is known from now on; `None` if the edit is not possible.
    fn edited(&self, number: usize, edit: &Edit, text: &str) -> Option<String> {
        let mut buckets = self.buckets.lock();
        let is_unrecorded = buckets[number].has_forgotten;
        let content = buckets[number].certain()?;
        let floor = content.revision.floor();
        // Other keys are in quotes.
        let is_plain = |key: &Key| key.as_str() != "a: b" && key.as_str() != "yes" && key.as_str().is_ascii();
        let line_of = |name: &Key| {
            let begin = format!("{name}: ");
            text.lines().position(|line| line.starts_with(&begin))
        };
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match edit {
            Edit::AddLine { key: number, value } => {
                let name = key(*number);
                if !is_plain(&name) || content.entries.contains_key(&name) || line_of(&name).is_some() {
                    return None;
                }
                lines.push(format!("{name}: {value}"));
                content.entries.insert(name, Held::by_hand(value.clone(), floor));
            }
            Edit::Change { key: number, value } => {
                let name = key(*number);
                let at = line_of(&name)?;
                let held = content.entries.get_mut(&name)?;
                let (line, begin) = (&lines[at], format!("{name}: {{value: "));
                if !line.starts_with(&begin) {
                    return None;
                }
                let end = line.rfind(", updated: ")?;
                let end = if held.kind == ContentType::default() { end } else { line[..end].find(", type: ")? };
                lines[at] = format!("{begin}{value}{}", &line[end..]);
                held.value = value.clone().into();
                (held.modified, held.created) = (None, None);
                (held.revision, held.is_by_hand) = (Rev::After(held.revision.floor()), true);
            }
            Edit::RemoveLine { key: number } => {
                let name = key(*number);
                lines.remove(line_of(&name)?);
                content.entries.remove(&name);
            }
            Edit::Comment => lines.insert(lines.len(), "# A comment at the end.".to_owned()),
        }
        content.revision = match edit {
            Edit::Comment => Rev::From(floor),
            // On a full disk, a process that starts does not know of the last edit.
            _ if is_unrecorded => Rev::From(Revision::ZERO),
            _ => Rev::After(floor),
        };
        buckets[number].may_be_mistaken = true;
        let values = buckets[number].ever.entry(key(KEY_BY_HAND)).or_default();
        values.extend(lines.iter().map(|line| line.clone().into()));
        Some(lines.iter().flat_map(|line| [line, "\n"]).collect())
    }

    /// A person adds a line while a process makes a call. It is lost only if the file is being replaced, or if a call of
    /// the operation fails, since the file is then cut off before it. Not covered: the file has a torn tail, or one whose
    /// sync has failed, which is cut off at the same moment.
    pub(super) fn add_line(&self, number: usize, value: &str) {
        let path = data(number);
        let Some(text) = self.disk().inner.bytes(&path).and_then(|bytes| String::from_utf8(bytes).ok()) else { return };
        let is_suspect =
            self.disk().inner.bytes(&path.with_extension("lock")).is_some_and(|record| record.starts_with(b"suspect"));
        if !text.ends_with("\n...\n") || text.contains('\0') || is_suspect || self.added.lock().is_some() {
            return;
        }
        let name = key(KEY_BY_HAND);
        let line = format!("{name}: {value}\n");
        self.disk().inner.edit(&path, format!("{text}{line}").as_bytes());
        self.sync(number);
        let mut buckets = self.buckets.lock();
        let mut with = buckets[number].candidates.clone();
        for candidate in &mut with {
            let floor = candidate.content.revision.floor();
            candidate.content.entries.insert(name.clone(), Held::by_hand(value.to_owned(), floor));
            candidate.content.revision = Rev::After(floor);
        }
        buckets[number].candidates.extend(with);
        buckets[number].may_be_mistaken = true;
        let renames = self.disk().renames();
        *self.added.lock() = Some(AddedLine { bucket: number, key: name, value: value.to_owned(), renames });
    }

    /// The step is over during which a line was added. There had been this number of faults before it. Returns whether
    /// the run goes on: nobody can tell what a write has left that failed behind the line.
    pub(super) fn settle_added_line(&self, hits: usize) -> bool {
        let Some(AddedLine { bucket, key, value, renames }) = self.added.lock().take() else { return true };
        // The line itself counts as a fault.
        if self.disk().hits() != hits + 1 || self.disk().is_limited() {
            return false;
        }
        if self.disk().renames() == renames {
            let is_there = |held: &Held| held.value == value;
            self.buckets.lock()[bucket]
                .candidates
                .retain(|candidate| candidate.content.entries.get(&key).is_some_and(is_there));
        }
        true
    }

    /// The faults are over: everything is readable and writable for every process, and survives a power cut.
    pub(super) fn finish(&self, seed: u64) {
        self.step(&Step::Room { bytes: None });
        for number in 0..BUCKETS {
            for process in 0..self.processes() {
                let put =
                    WritePlan::Put { key: 0, value: format!("end {process}"), kind: 0, lives: None, modified: None };
                let batch = BatchPlan { writes: vec![put], ..BatchPlan::default() };
                self.must_do(process, Op::Scan { bucket: number, limit: 2 });
                self.must_do(process, Op::Apply { bucket: number, batch });
                for log in 0..LOGS {
                    self.must_do(process, Op::ReadLog { bucket: number, log });
                    let (values, index) = (vec![format!("end {process}")], super::steps::IndexPlan::Any);
                    self.must_do(process, Op::AppendToLog { bucket: number, log, values, keeps: None, index });
                }
            }
        }
        if !self.step(&Step::PowerCut { seed }) {
            return;
        }
        for number in 0..BUCKETS {
            let process = number % self.processes();
            self.must_do(process, Op::Scan { bucket: number, limit: 100 });
            for log in 0..LOGS {
                self.must_do(process, Op::ReadLog { bucket: number, log });
            }
            self.must_do(process, Op::Maintain { bucket: number, task: Task::Check });
        }
    }

    fn must_do(&self, process: usize, op: Op) {
        if self.failure().is_none() {
            self.step(&Step::Do { process, op, faults: vec![] });
        }
    }

    /// The power has failed after a sync that did nothing: what is served was once written, or there is a report of the
    /// damage with its place.
    pub(super) fn examine_after_lies(&self) {
        let store = self.store(0);
        let has_place = |error: &kvs::model::Error| {
            let text = error.to_string();
            error.kind() == ErrorKind::Corrupt
                && (text.contains("line ") || text.contains(".yaml") || text.contains(".log"))
        };
        for number in 0..BUCKETS {
            let name = bucket(number);
            match run(store.scan(&name, Scan { limit: usize::MAX, ..Scan::default() })) {
                Ok(page) => {
                    for (key, entry) in page.entries {
                        let value = entry.unwrap().value;
                        let buckets = self.buckets.lock();
                        if !buckets[number].ever.get(&key).is_some_and(|values| values.contains(&value)) {
                            self.fail(format!("after lies of the disk {key:?} has {value:?}, which was never written"));
                        }
                    }
                }
                Err(error) if has_place(&error) => {}
                Err(error) => self.fail(format!("after lies of the disk a scan fails without a place: {error}")),
            }
            for log in 0..LOGS {
                let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
                match run(store.logs().unwrap().read_log(&name, &log_key(log), query)) {
                    Ok(page) => {
                        let logs = self.logs.lock();
                        for entry in page.into_iter().flat_map(|page| page.entries) {
                            let text = entry.as_text().unwrap_or_default();
                            if !logs[number * LOGS + log].ever.iter().any(|value| value == text) {
                                self.fail(format!(
                                    "after lies of the disk a log has {text:?}, which was never appended"
                                ));
                            }
                        }
                    }
                    Err(error) if has_place(&error) => {}
                    Err(error) => self.fail(format!("after lies of the disk a log fails without a place: {error}")),
                }
            }
            let _runtime = RUNTIME.enter();
            if let Err(error) = run(store.maintain(&name, Task::Check))
                && !has_place(&error)
            {
                self.fail(format!("after lies of the disk the check fails: {error}"));
            }
        }
    }
}
