//! Chooses the steps of a run from a seed.

use std::io;

use kvs::store::Task;

use super::steps::{
    BUCKETS, BatchPlan, BlobPlan, ConditionPlan, Edit, FOLLOWERS, Fault, Filter, HELD_BLOBS, IndexPlan, KEYS, LOGS,
    Moment, Op, Step, What, WritePlan,
};
use crate::support::disks::Call;
use crate::support::disks::seed::Seed;

/// The steps of a run, and how many processes do them.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) steps: Vec<Step>,
}

/// Chooses what happens in a run.
#[expect(clippy::struct_excessive_bools, reason = "each kind of event may occur or not")]
struct Chooser {
    seed: Seed,
    processes: usize,
    /// Of 100 operations, so many have a fault.
    faults: usize,
    has_edits: bool,
    has_blobs: bool,
    has_logs: bool,
    has_lies: bool,
    has_full_disk: bool,
    /// Most operations are on one bucket.
    bucket: usize,
}

pub(super) fn plan(number: u64) -> Plan {
    let mut seed = Seed::new(number);
    let has_lies = seed.below(10) == 0;
    let mut chooser = Chooser {
        processes: 1 + seed.below(3),
        faults: [0, 10, 25, 50][seed.below(4)],
        has_edits: !has_lies && seed.below(3) == 0,
        has_blobs: seed.below(3) == 0,
        has_logs: seed.below(2) == 0,
        has_full_disk: seed.below(8) == 0,
        bucket: seed.below(BUCKETS),
        has_lies,
        seed,
    };
    let length = 15 + chooser.pick(45);
    let steps = (0..length).map(|_| chooser.step()).collect();
    Plan { processes: chooser.processes, steps }
}

impl Chooser {
    fn pick(&mut self, end: usize) -> usize {
        self.seed.below(end)
    }

    fn is_one_of(&mut self, number: usize) -> bool {
        self.pick(number) == 0
    }

    fn step(&mut self) -> Step {
        let process = self.pick(self.processes);
        match self.pick(40) {
            0 => Step::Reopen { process },
            1 => Step::Kill { process },
            2 => Step::PowerCut { seed: self.seed.next() },
            3 | 4 => Step::Pass { milliseconds: [1, 100, 3_000, 60_000][self.pick(4)] },
            5..=7 if self.has_edits => {
                let (bucket, edit, by_rename) = (self.pick_bucket(), self.edit(), self.is_one_of(2));
                Step::Edit { bucket, edit, by_rename, failed_syncs: [0, 0, 0, 1, 2, 3][self.pick(6)] }
            }
            8 | 9 if self.has_full_disk => {
                let bytes = [0, 50, 200, 1_000, 4_000][self.pick(5)];
                Step::Room { bytes: if self.is_one_of(4) { None } else { Some(bytes) } }
            }
            10..=13 if self.processes > 1 && self.faults > 0 => self.race(),
            _ => self.operation(true),
        }
    }

    fn pick_bucket(&mut self) -> usize {
        if self.is_one_of(6) { self.pick(BUCKETS) } else { self.bucket }
    }

    fn operation(&mut self, has_meanwhile: bool) -> Step {
        let (process, op) = (self.pick(self.processes), self.op());
        let mut faults = vec![];
        if self.pick(100) < self.faults {
            faults.push(self.fault(has_meanwhile));
            if self.is_one_of(4) {
                faults.push(self.fault(has_meanwhile));
            }
        }
        Step::Do { process, op, faults }
    }

    /// Two processes at the same key: a write with a condition, or a compaction, in the middle of which the other one
    /// writes.
    fn race(&mut self) -> Step {
        use ConditionPlan::{Absent, KnownRevision, KnownUnchanged, KnownValue, Present};
        let (process, bucket, key) = (self.pick(self.processes), self.pick_bucket(), self.pick(KEYS));
        let mut put = || WritePlan::Put { key, value: self.value(), kind: 0, lives: None, modified: None };
        let (first, second) = (put(), put());
        let theirs = if self.is_one_of(3) { WritePlan::Delete { key } } else { first };
        let batch = BatchPlan { writes: vec![theirs], ..BatchPlan::default() };
        let step =
            Step::Do { process: (process + 1) % self.processes, op: Op::Apply { bucket, batch }, faults: vec![] };
        let what = What::Meanwhile { step: Box::new(step), waits: false };
        let (op, on, nth) = if self.is_one_of(2) {
            let (on, nth) = [(Filter::Changing, self.pick(8)), (Filter::Only(Call::Rename), 0)][self.pick(2)];
            (Op::Maintain { bucket, task: Task::Compact }, on, nth)
        } else {
            let condition = [Absent, Present, KnownValue, KnownRevision, KnownUnchanged][self.pick(5)];
            let expectations = vec![(key, condition)];
            let batch = BatchPlan { expectations, writes: vec![second], returning_nothing: false };
            (Op::Apply { bucket, batch }, Filter::Any, self.pick(8))
        };
        Step::Do { process, op, faults: vec![Fault { on, nth, what }] }
    }

    fn op(&mut self) -> Op {
        let bucket = self.pick_bucket();
        let key = self.pick(KEYS);
        let log = self.pick(LOGS);
        match self.pick(24) {
            0..=3 => Op::Scan { bucket, limit: 1 + self.pick(5) },
            4 | 5 => Op::Get { bucket, keys: (0..=self.pick(2)).map(|_| self.pick(KEYS)).collect() },
            6 => Op::Maintain { bucket, task: Task::Compact },
            7 => {
                let tasks = [Task::RemoveExpired, Task::RemoveLeftovers, Task::Check, Task::Status];
                Op::Maintain { bucket, task: tasks[self.pick(4)] }
            }
            8 => Op::Follow { follower: self.pick(FOLLOWERS), limit: 1 + self.pick(4) },
            9..=11 if self.has_logs => self.append_to_log(bucket, log),
            12 if self.has_logs => {
                let before = if self.is_one_of(3) { None } else { Some(self.seed.next() % 20) };
                Op::RemoveLog { bucket, log, before }
            }
            13 if self.has_logs => Op::ReadLog { bucket, log },
            9 | 10 if self.has_blobs => Op::PutBlob { bucket, key, blob: self.blob() },
            11 if self.has_blobs => Op::HoldBlob { slot: self.pick(HELD_BLOBS), bucket, key, blob: self.blob() },
            12 | 13 if self.has_blobs => Op::CommitHeldBlob { slot: self.pick(HELD_BLOBS) },
            14 if self.has_blobs => Op::RemoveBlobs { bucket },
            _ => Op::Apply { bucket, batch: self.batch() },
        }
    }

    fn append_to_log(&mut self, bucket: usize, log: usize) -> Op {
        let many = if self.is_one_of(10) { 70 } else { 1 + self.pick(4) };
        let values = (0..many).map(|_| self.value()).collect();
        let keeps = match self.pick(8) {
            0 => Some(Some(self.seed.next() % 6)),
            1 => Some(None),
            _ => None,
        };
        let index = [IndexPlan::Any, IndexPlan::Any, IndexPlan::Next, IndexPlan::Taken][self.pick(4)];
        Op::AppendToLog { bucket, log, values, keeps, index }
    }

    fn blob(&mut self) -> BlobPlan {
        // Few contents, so that keys share blobs.
        BlobPlan { content: self.seed.next() % 4, bytes: [0, 10, 300, 3_000][self.pick(4)] }
    }

    fn value(&mut self) -> String {
        let number = self.pick(1_000);
        match self.pick(8) {
            0 => String::new(),
            1 => format!("line {number}\nand another\n"),
            2 => format!("{number}: \"quoted\" # 'no comment', ключ, updated: 1"),
            3 => format!("{number} {}", "x".repeat(self.pick(300))),
            4 => format!("...\n---\nk0: {number}\n"),
            _ => number.to_string(),
        }
    }

    fn lives(&mut self) -> Option<u64> {
        match self.pick(6) {
            0 => Some(1 + self.seed.next() % 5_000),
            1 => Some(10_000_000),
            _ => None,
        }
    }

    fn batch(&mut self) -> BatchPlan {
        use ConditionPlan::{
            Absent, KnownRevision, KnownUnchanged, KnownValue, NotKnownRevision, OldRevision, Present,
        };
        let conditions = [Absent, Present, KnownValue, KnownRevision, KnownUnchanged, OldRevision, NotKnownRevision];
        let expected = if self.is_one_of(2) { self.pick(3) } else { 0 };
        BatchPlan {
            expectations: (0..expected).map(|_| (self.pick(KEYS), conditions[self.pick(conditions.len())])).collect(),
            writes: (0..=self.pick(4)).map(|_| self.write()).collect(),
            returning_nothing: self.is_one_of(6),
        }
    }

    fn write(&mut self) -> WritePlan {
        let key = self.pick(KEYS);
        match self.pick(14) {
            0 | 1 => WritePlan::Delete { key },
            2 => WritePlan::Touch { key, lives: self.lives() },
            3 => WritePlan::Read { key },
            4 | 5 => WritePlan::Increment { key, by: 7 },
            6 => WritePlan::Append { key, value: self.value(), before: self.is_one_of(2) },
            7 => WritePlan::Restore { key, value: self.value(), ahead: [-60_000, -1, 500, 2_000][self.pick(4)] },
            _ => {
                let modified = if self.is_one_of(6) {
                    Some(1_000_000_000 + i64::try_from(self.pick(1_000)).unwrap())
                } else {
                    None
                };
                WritePlan::Put { key, value: self.value(), kind: self.pick(5).min(2), lives: self.lives(), modified }
            }
        }
    }

    fn edit(&mut self) -> Edit {
        let (key, number) = (self.pick(KEYS), self.pick(1_000));
        match self.pick(6) {
            0 | 1 => Edit::AddLine { key, value: format!("added {number}") },
            2 | 3 => Edit::Change { key, value: format!("changed {number}") },
            4 => Edit::RemoveLine { key },
            _ => Edit::Comment,
        }
    }

    fn fault(&mut self, has_meanwhile: bool) -> Fault {
        let calls = [
            Call::Stat,
            Call::Open,
            Call::Rename,
            Call::Remove,
            Call::MakeFolder,
            Call::SyncFolder,
            Call::List,
            Call::FileStat,
            Call::Read,
            Call::Write,
            Call::Truncate,
            Call::Sync,
            Call::Resemble,
            Call::Lock,
            Call::Write,
            Call::Sync,
        ];
        let (on, nth) = match self.pick(4) {
            0 => (Filter::Any, self.pick(40)),
            1 | 2 => (Filter::Changing, self.pick(12)),
            _ => (Filter::Only(calls[self.pick(calls.len())]), self.pick(4)),
        };
        Fault { on, nth, what: self.what(has_meanwhile) }
    }

    fn moment(&mut self) -> Moment {
        [Moment::Before, Moment::Within(self.pick(101)), Moment::After][self.pick(3)]
    }

    fn what(&mut self, has_meanwhile: bool) -> What {
        match self.pick(10) {
            0..=2 if self.has_lies => What::Lie { times: 1 + self.pick(20) },
            0..=2 => {
                let error = [io::ErrorKind::Other, io::ErrorKind::Other, io::ErrorKind::StorageFull][self.pick(3)];
                let times = [1, 1, 2, 30][self.pick(4)];
                What::Fail { error, percent: [0, 50, 99, 100][self.pick(4)], times }
            }
            3 => What::Kill { moment: self.moment() },
            4 | 5 => What::PowerCut { moment: self.moment(), seed: self.seed.next() },
            _ if has_meanwhile && self.has_edits && self.is_one_of(4) => {
                let edit = Edit::AddLine { key: 0, value: format!("meanwhile {}", self.pick(1_000)) };
                let step = Step::Edit { bucket: self.bucket, edit, by_rename: false, failed_syncs: 0 };
                What::Meanwhile { step: Box::new(step), waits: false }
            }
            _ if has_meanwhile && self.processes > 1 => {
                let step = self.operation(false);
                What::Meanwhile { step: Box::new(step), waits: self.is_one_of(12) }
            }
            _ => What::Kill { moment: self.moment() },
        }
    }
}
