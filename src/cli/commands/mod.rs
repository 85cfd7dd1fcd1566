//! The commands, one file each.

pub(super) mod backups;
pub(super) mod buckets;
pub(super) mod check_config;
pub(super) mod completions;
pub(super) mod copy;
pub(super) mod delete;
pub(super) mod edit;
pub(super) mod export;
pub(super) mod get;
pub(super) mod import;
pub(super) mod incr;
pub(super) mod init;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod maintenance;
pub(super) mod man;
pub(super) mod passcode;
pub(super) mod serve;
pub(super) mod set;
pub(super) mod store_init;
pub(super) mod watch;
