//! The statements that read and write entries.
//!
//! The server must find each entry by its whole primary key, even if the table was small when it made the plan. (The
//! one exception is a long list of keys in a table that is small when it is read.) A plan is kept as long as the
//! connection. A plan that was made for a small table and reads all of a bucket would stay in use after the bucket has
//! grown.
//!
//! So a list of keys is joined key by key: the inner `LIMIT 1` rules out any other plan. The `LIMIT` over the list
//! removes nothing. It makes a generic plan look cheap, so that the server makes and keeps one plan instead of one for
//! each list.

use super::blob_statements::BlobStatements;
use super::change_statements::{ChangeStatements, remember};
use super::distributed_statements::DistributedStatements;
use super::log_statements::LogStatements;
use super::lookup_statements::{LookupStatements, found};
use super::plain_statements::{ON_CONFLICT_REPLACE, PlainWriteStatements, TABLE_COLUMNS};
use super::row::ENTRY_COLUMNS;
use super::schema::TableNames;

/// The statements of a store. In all of them `$1` is the bucket.
///
/// Each is prepared once on each connection, except `store_and_remember`, `plain.mixed` and `changes.forget`. The
/// server plans these three each time: no wording makes sure how it finds the rows that are to be deleted.
pub(crate) struct Statements {
    /// Fails if the tables do not exist, with or without the table of changes, which older versions do not have.
    pub(crate) find_data: String,
    /// Fails if one of the tables does not exist.
    pub(crate) find_tables: String,
    /// Reads entries.
    pub(crate) entries: LookupStatements,
    /// Reads values, each with the expiry of its entry.
    pub(crate) values: LookupStatements,
    /// Reads the revision of the bucket.
    pub(crate) revision: String,
    /// Reads the revision of the bucket and locks the bucket until the end of the transaction.
    pub(crate) lock: String,
    /// Reads the entries of keys `$2`, with their positions in the list, while the bucket is locked.
    pub(crate) locked_entries: String,
    /// Inserts the row of a bucket, with revision 0.
    pub(crate) create_bucket: String,
    /// Sets the revision `$2` and stores entries `$3` to `$9`, while the bucket is locked.
    pub(crate) store: String,
    /// Does the same, deletes keys `$10`, and remembers the changes of keys `$11` at the revisions `$12`.
    pub(crate) store_and_remember: String,
    pub(crate) distributed: DistributedStatements,
    pub(crate) plain: PlainWriteStatements,
    pub(crate) changes: ChangeStatements,
    pub(crate) logs: LogStatements,
    /// The statements about blobs.
    pub(crate) blobs: BlobStatements,
    /// Lists all buckets.
    pub(crate) buckets: String,
}

impl Statements {
    pub(crate) fn new(names: &TableNames) -> Self {
        let TableNames { table, buckets, changes, blob_parts, .. } = names;
        let stored = format!(
            "INSERT INTO {table} {TABLE_COLUMNS} SELECT $1, g.* FROM (SELECT * FROM unnest($3::text[], $4::bytea[], \
             $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) LIMIT cardinality($3::text[])) g \
             {ON_CONFLICT_REPLACE}, created_at = excluded.created_at, modified_at = excluded.modified_at"
        );
        let raised = format!("moved AS (UPDATE {buckets} SET revision = $2 WHERE bucket = $1)");
        let find_data = format!("SELECT bucket FROM {buckets} LIMIT 0; SELECT bucket FROM {table} LIMIT 0");
        Self {
            // A role that only reads entries needs no privilege for the table of changes.
            find_tables: format!("{find_data}; SELECT '{changes}'::regclass, '{blob_parts}'::regclass"),
            find_data,
            entries: LookupStatements::new(
                names,
                ENTRY_COLUMNS,
                "NULL::bytea, NULL::text, revision, NULL::bigint, NULL::bigint, NULL::bigint",
            ),
            values: LookupStatements::new(names, "value, expires_at", "NULL::bytea, revision"),
            revision: format!("SELECT revision FROM {buckets} WHERE bucket = $1"),
            lock: format!("SELECT revision FROM {buckets} WHERE bucket = $1 FOR UPDATE"),
            locked_entries: format!("SELECT g.n, e.* FROM {}", found("$2", table, ENTRY_COLUMNS, "true")),
            create_bucket: format!(
                "INSERT INTO {buckets} (bucket, revision) VALUES ($1, 0) ON CONFLICT (bucket) DO NOTHING"
            ),
            store: format!("WITH {raised} {stored}"),
            store_and_remember: format!(
                "WITH {raised}, stored AS ({stored}), \
                 removed AS (DELETE FROM {table} WHERE bucket = $1 AND key = ANY($10::text[])) {remembered}",
                remembered = remember(names, "SELECT $1, g.* FROM unnest($11::text[], $12::bigint[]) g"),
            ),
            distributed: DistributedStatements::new(names),
            plain: PlainWriteStatements::new(names),
            changes: ChangeStatements::new(names),
            logs: LogStatements::new(names),
            blobs: BlobStatements::new(names),
            buckets: format!("SELECT bucket FROM {buckets} WHERE revision > 0 ORDER BY bucket"),
        }
    }
}
