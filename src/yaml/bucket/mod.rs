//! A bucket: one data file, shared with other processes, and its state in memory.
//!
//! [`bucket_store`] is the bucket. Its parts are in `queue`, `locked_files` and `tidier`; its operations are in
//! `leader`, `group_commit`, `changes_since`, `compact`, `tidy`, `edit`, `maintenance` and `status`.

pub(super) mod bucket_store;
pub(super) mod changes_since;
pub(super) mod compact;
pub(super) mod edit;
pub(super) mod evaluated_group;
pub(super) mod group_commit;
pub(super) mod leader;
pub(super) mod locked_files;
pub(super) mod maintenance;
pub(super) mod queue;
pub(super) mod status;
pub(super) mod tidier;
pub(super) mod tidy;
pub(super) mod waiter_lock;
