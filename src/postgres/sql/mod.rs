//! The SQL of the store: how its tables are created, its statements, and its rows.

pub(super) mod blob_statements;
pub(super) mod change_statements;
pub(super) mod distributed_statements;
pub(super) mod log_statements;
pub(super) mod lookup_statements;
pub(super) mod plain_statements;
pub(super) mod row;
pub(super) mod schema;
pub(super) mod statements;
