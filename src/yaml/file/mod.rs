//! The files of a bucket: the data file, its lock file, and the files next to them.
//!
//! [`DataFile`](data_file::DataFile) is the data file with its lock file. Its methods are also in `append`, `rewrite`,
//! `refresh`, `look_up`, `last_copy`, `remembered_changes` and `writability`. `load` and `hand_edits` do no I/O: they
//! turn the bytes of a file into a state.

pub(super) mod append;
pub(super) mod data_file;
pub(super) mod errors;
pub(super) mod hand_edits;
pub(super) mod known_file;
pub(super) mod last_copy;
pub(super) mod last_copy_file;
pub(super) mod last_copy_format;
pub(super) mod load;
pub(super) mod lock;
pub(super) mod look_up;
pub(super) mod open_files;
pub(super) mod paths;
pub(super) mod record_match;
pub(super) mod refresh;
pub(super) mod remembered_changes;
pub(super) mod rewrite;
pub(super) mod writability;
