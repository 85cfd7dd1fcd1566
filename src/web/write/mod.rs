//! The common part of all writes.

pub(super) mod commit;
