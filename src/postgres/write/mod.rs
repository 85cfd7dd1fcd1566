//! Writes: queued per bucket, and committed in as few transactions as possible.

pub(super) mod change_columns;
pub(super) mod expired_entries;
pub(super) mod locked_transaction;
pub(super) mod old_changes;
pub(super) mod single_statement;
pub(super) mod write_queue;
