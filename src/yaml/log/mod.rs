//! The logs of a bucket: a file for each in the folder `<bucket>.logs`, with a line for each entry.
//!
//! From the bottom: `log_path` names the files, `log_file` is an open and locked file, `tail` finds where its last
//! append ends, `page` finds and reads entries, `rewrite` replaces the file without its oldest entries, `log_store` is
//! a log in this process, `group_append` appends, `log_upkeep` is the maintenance, and `log_status` finds what a person
//! must fix. `used_logs` has the logs of a store.
//!
//! What always holds: an entry is durable before anybody reads it. A line is written once, at the end of the file.

mod group_append;
mod known_log;
pub(super) mod log_file;
pub(super) mod log_path;
mod log_status;
mod log_store;
mod log_upkeep;
mod page;
mod rewrite;
mod tail;
pub(super) mod used_logs;
