//! The cases of the parts that a store need not have.

pub(super) mod blobs;
pub(super) mod changes_since;
pub(super) mod log_retention;
pub(super) mod logs;
