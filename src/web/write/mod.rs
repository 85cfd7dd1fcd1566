//! The common part of all writes.

pub(super) mod commit;
pub(crate) mod update;
