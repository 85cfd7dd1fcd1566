//! What a run consists of: steps, the operations in them, and the faults that hit an operation.
//!
//! A step has everything that it needs, so it means the same whatever steps are removed before it. What depends on the
//! state, such as the revision that a condition names, is found when the step is done.

use std::io;

use kvs::store::Task;

use crate::support::disks::Call;

/// The number of buckets, keys in each, logs in each, followers, and blobs that can be held at once.
pub(super) const BUCKETS: usize = 2;
pub(super) const KEYS: usize = 6;
pub(super) const LOGS: usize = 2;
pub(super) const FOLLOWERS: usize = 2;
pub(super) const HELD_BLOBS: usize = 2;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A process does something, while these faults hit it.
    Do {
        process: usize,
        op: Op,
        faults: Vec<Fault>,
    },
    /// A process ends properly and starts again.
    Reopen {
        process: usize,
    },
    /// A process is killed between two operations, and starts again.
    Kill {
        process: usize,
    },
    /// The power fails between two operations. The seed chooses what the disk keeps.
    PowerCut {
        seed: u64,
    },
    /// A person edits the file of a bucket.
    Edit {
        bucket: usize,
        edit: Edit,
        by_rename: bool,
        /// So many syncs of a write fail just before.
        failed_syncs: usize,
    },
    Pass {
        milliseconds: u64,
    },
    /// The disk has room for this many bytes from now on, in addition to those in use.
    Room {
        bytes: Option<u64>,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Apply {
        bucket: usize,
        batch: BatchPlan,
    },
    Get {
        bucket: usize,
        keys: Vec<usize>,
    },
    Scan {
        bucket: usize,
        limit: usize,
    },
    AppendToLog {
        bucket: usize,
        log: usize,
        values: Vec<String>,
        #[expect(clippy::option_option, reason = "as before, everything, or so many")]
        keeps: Option<Option<u64>>,
        index: IndexPlan,
    },
    RemoveLog {
        bucket: usize,
        log: usize,
        before: Option<u64>,
    },
    ReadLog {
        bucket: usize,
        log: usize,
    },
    /// Stores a blob under a key.
    PutBlob {
        bucket: usize,
        key: usize,
        blob: BlobPlan,
    },
    /// Stores a blob, but no reference to it yet.
    HoldBlob {
        slot: usize,
        bucket: usize,
        key: usize,
        blob: BlobPlan,
    },
    /// Stores the reference to a held blob.
    CommitHeldBlob {
        slot: usize,
    },
    /// Removes the blobs that were replaced last, unless they are in use.
    RemoveBlobs {
        bucket: usize,
    },
    Follow {
        follower: usize,
        limit: usize,
    },
    Maintain {
        bucket: usize,
        task: Task,
    },
}

/// The index that an append asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum IndexPlan {
    Any,
    /// The next one, as far as is known.
    Next,
    /// The last one that was given.
    Taken,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BlobPlan {
    pub(super) content: u64,
    pub(super) bytes: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct BatchPlan {
    pub(super) expectations: Vec<(usize, ConditionPlan)>,
    pub(super) writes: Vec<WritePlan>,
    pub(super) returning_nothing: bool,
}

/// A condition on a key. `Known` ones hold if the state is as known; `Old` ones name a value of the past.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConditionPlan {
    Absent,
    Present,
    KnownValue,
    KnownRevision,
    KnownUnchanged,
    OldRevision,
    NotKnownRevision,
}

#[derive(Clone, Debug)]
pub(super) enum WritePlan {
    Put {
        key: usize,
        value: String,
        kind: usize,
        lives: Option<u64>,
        modified: Option<i64>,
    },
    Delete {
        key: usize,
    },
    Touch {
        key: usize,
        lives: Option<u64>,
    },
    Read {
        key: usize,
    },
    Increment {
        key: usize,
        by: i64,
    },
    Append {
        key: usize,
        value: String,
        before: bool,
    },
    /// An entry of another store, whose revision is this far from the present.
    Restore {
        key: usize,
        value: String,
        ahead: i64,
    },
}

impl WritePlan {
    pub(super) fn key(&self) -> usize {
        let (Self::Put { key, .. }
        | Self::Delete { key }
        | Self::Touch { key, .. }
        | Self::Read { key }
        | Self::Increment { key, .. }
        | Self::Append { key, .. }
        | Self::Restore { key, .. }) = self;
        *key
    }
}

/// What a person does to a file in its form at rest.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// `echo 'key: value' >> FILE`
    AddLine {
        key: usize,
        value: String,
    },
    /// Changes the value of a line, and nothing else in it.
    Change {
        key: usize,
        value: String,
    },
    RemoveLine {
        key: usize,
    },
    /// Saves the file with a comment.
    Comment,
}

/// A fault in an operation: at the call of this number among those that it concerns.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) on: Filter,
    pub(super) nth: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Filter {
    Any,
    /// Calls that change something.
    Changing,
    Only(Call),
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// The call fails, and so do those after it, `times` in all. Of a write a part is done; a sync loses what it should
    /// have made durable.
    Fail { error: io::ErrorKind, percent: usize, times: usize },
    /// The process is killed before the call, after a part of it, or after it.
    Kill { moment: Moment },
    /// The power fails.
    PowerCut { moment: Moment, seed: u64 },
    /// A sync does nothing and succeeds.
    Lie { times: usize },
    /// Something else happens: an operation of another process, or a person adds a line. If the other process would
    /// have to wait for this one, this is left out, unless `waits`.
    Meanwhile { step: Box<Step>, waits: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Before,
    /// After so many percent of a write; of other calls: before them.
    Within(usize),
    After,
}

impl Op {
    /// The bucket that it needs.
    pub(super) fn bucket(&self) -> Option<usize> {
        match self {
            Self::Apply { bucket, .. }
            | Self::Get { bucket, .. }
            | Self::Scan { bucket, .. }
            | Self::AppendToLog { bucket, .. }
            | Self::RemoveLog { bucket, .. }
            | Self::ReadLog { bucket, .. }
            | Self::PutBlob { bucket, .. }
            | Self::HoldBlob { bucket, .. }
            | Self::RemoveBlobs { bucket }
            | Self::Maintain { bucket, .. } => Some(*bucket),
            Self::CommitHeldBlob { .. } | Self::Follow { .. } => None,
        }
    }
}

impl Step {
    /// The number of its faults, also those of a step within it.
    pub(super) fn faults(&self) -> usize {
        let Self::Do { faults, .. } = self else { return 0 };
        let within = |fault: &Fault| match &fault.what {
            What::Meanwhile { step, .. } => 1 + step.faults(),
            _ => 1,
        };
        faults.iter().map(within).sum()
    }
}
