//! The store on PostgreSQL, for several machines or for more data than one file can hold.
//!
//! `<table>_buckets` has one row per bucket, with its revision, and `<table>` has the entries. `<table>_changes`
//! remembers the changes that the revisions of the entries do not show. `<table>_logs` and `<table>_log_entries` have
//! the logs, `<table>_blobs` and `<table>_blob_parts` the large values. A write changes the row of its bucket first. So
//! writes to a bucket happen one after another, its revision never decreases, and one statement reads entries and
//! revision of the same moment. Every statement on a bucket begins with the condition `bucket = $1`, so a cluster that
//! distributes the tables by bucket sends it to one node.
//!
//! - `store` implements the contract; `runtime` has the parts of each tokio runtime, `options` their settings.
//! - `write/` queues and commits batches and removes old changes; `read/` looks up and scans keys and reads changes;
//!   `logs/` appends to logs and reads them; `blob/` stores large values; `notify` waits for changes; `maintenance`
//!   removes expired entries and checks the rows. They are functions over a connection pool.
//! - `connect/` has the pool, the URL, TLS and the checks of a new connection; `error` interprets the errors of the
//!   server.
//! - `sql/` has the tables, the statements and the rows.
//! - `foreign/` reads the tables of other programs.
//!
//! `docs/postgres.md` describes the store for its users.

mod blob;
mod connect;
mod error;
mod foreign;
mod logs;
mod maintenance;
mod notify;
mod options;
mod read;
mod runtime;
mod sql;
mod store;
mod write;

pub use self::connect::url::{check_url, location_of, without_password};
pub use self::foreign::ForeignTable;
pub use self::foreign::layout::Layout;
pub use self::options::PostgresOptions;
pub use self::store::PostgresStore;
