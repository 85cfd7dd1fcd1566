//! The statements for tables that are spread over a Citus cluster.

use super::change_statements::remember;
use super::plain_statements::{
    NEXT_REVISION, ON_CONFLICT_REPLACE, RETURN_REPLACED, SUM, TABLE_COLUMNS, keep_modified_at, lone_entry,
};
use super::schema::TableNames;

/// What `store` and `store_and_remember` do, in statements that a Citus cluster carries out on the node of the bucket
/// alone. Citus splits a statement that inserts in a `WITH` over all nodes, and commits it on all of them.
pub(crate) struct DistributedStatements {
    /// Whether the server is a node of a cluster.
    pub(crate) find_cluster: String,
    /// Whether the table of buckets is distributed over the cluster.
    pub(crate) find: String,
    /// Sets the revision `$2`.
    pub(crate) set_revision: String,
    /// Stores entries `$2` to `$8`.
    pub(crate) store: String,
    /// Deletes the keys `$2`.
    pub(crate) delete: String,
    /// Remembers the changes of the keys `$2` at the revisions `$3`.
    pub(crate) remember: String,
    pub(crate) replace: ReplaceStatements,
}

impl DistributedStatements {
    pub(super) fn new(names: &TableNames) -> Self {
        let TableNames { table, buckets, .. } = names;
        // The row of the bucket says which node the rows go to.
        let of_bucket =
            |rows: &str| format!("SELECT b.bucket, g.* FROM {buckets} b CROSS JOIN {rows} g WHERE b.bucket = $1");
        let entries = of_bucket(
            "(SELECT * FROM unnest($2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], \
             $8::bigint[]) LIMIT cardinality($2::text[]))",
        );
        Self {
            find_cluster: "SELECT to_regclass('pg_dist_partition') IS NOT NULL".to_owned(),
            find: format!("SELECT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = '{buckets}'::regclass)"),
            set_revision: format!("UPDATE {buckets} SET revision = $2 WHERE bucket = $1"),
            store: format!(
                "INSERT INTO {table} {TABLE_COLUMNS} {entries} {ON_CONFLICT_REPLACE}, \
                 created_at = excluded.created_at, modified_at = excluded.modified_at"
            ),
            delete: format!("DELETE FROM {table} WHERE bucket = $1 AND key = ANY($2::text[])"),
            remember: remember(names, &of_bucket("(SELECT * FROM unnest($2::text[], $3::bigint[]))")),
            replace: ReplaceStatements::new(names),
        }
    }
}

/// Plain writes that a Citus cluster carries out on the node of the bucket alone: they only replace an entry that exists.
/// Their parameters and their result are those of the plain writes.
///
/// The rows of the bucket and of the entry are locked only if they are free, because the nodes do not know `lock_timeout`.
/// If they are not, there is no new revision. The lock of the entry keeps others from removing it because it has expired.
pub(crate) struct ReplaceStatements {
    /// Replaces the key `$3`, as `PutStatements::one`.
    pub(crate) put: String,
    /// Adds to the key `$3`, as `PlainWriteStatements::increment`.
    pub(crate) increment: String,
}

/// Locks rows that are free. Others are skipped, as if they did not exist.
const LOCK: &str = " FOR UPDATE SKIP LOCKED";

impl ReplaceStatements {
    fn new(names: &TableNames) -> Self {
        let TableNames { table, buckets, .. } = names;
        let begin = format!(
            "WITH old AS MATERIALIZED (SELECT revision FROM {buckets} WHERE bucket = $1), \
             free AS MATERIALIZED (SELECT revision FROM {buckets} WHERE bucket = $1{LOCK}), {}",
            lone_entry(table, LOCK)
        );
        let moved = |when: &str| {
            format!(
                "moved AS (UPDATE {buckets} SET revision = {NEXT_REVISION} WHERE bucket = $1 AND {when} \
                 AND revision = (SELECT o.revision FROM old o JOIN free f ON f.revision = o.revision) \
                 RETURNING revision)"
            )
        };
        let stored = format!("stored AS (UPDATE {table} t SET revision = m.revision");
        let of_key = "WHERE t.bucket = $1 AND t.key = $3)";
        Self {
            put: format!(
                "{begin}, {}, {stored}, value = $4::bytea, type = $5::text, {}, expires_at = $7::bigint FROM moved m \
                 {of_key} {RETURN_REPLACED}",
                moved("EXISTS (SELECT 1 FROM e)"),
                keep_modified_at("$6::bigint", "m.revision"),
            ),
            increment: format!(
                "{begin}, {SUM}, {}, {stored}, value = decode(s.sum::text, 'escape'), {} FROM moved m CROSS JOIN sum s \
                 {of_key} {RETURN_REPLACED}",
                moved("EXISTS (SELECT 1 FROM e) AND (SELECT sum FROM sum) IS NOT NULL"),
                keep_modified_at("NULL::bigint", "m.revision"),
            ),
        }
    }
}
