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
use super::log_statements::LogStatements;
use super::row::ENTRY_COLUMNS;
use super::schema::TableNames;

/// All columns of the table.
const TABLE_COLUMNS: &str = "(bucket, key, value, type, revision, created_at, modified_at, expires_at)";

/// Replaces an entry, except for its times of creation and modification.
const ON_CONFLICT_REPLACE: &str = "ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value, \
     type = excluded.type, revision = excluded.revision, expires_at = excluded.expires_at";

/// The times that a new entry keeps from its predecessor `t`, unless that had expired at `$2`.
fn keep_times() -> String {
    format!(
        "created_at = CASE WHEN t.expires_at <= $2 THEN excluded.created_at ELSE t.created_at END, {}",
        keep_modified_at("excluded.modified_at", "excluded.revision")
    )
}

/// A new entry keeps a modification time ahead of its revision, by the rule of `Entry::ahead_of`.
fn keep_modified_at(modified_at: &str, revision: &str) -> String {
    format!(
        "modified_at = CASE WHEN {modified_at} IS NULL AND (t.expires_at <= $2) IS NOT TRUE \
         AND t.modified_at / 1000000000 - {revision} / 1000000000 BETWEEN 1 AND 2 \
         THEN t.modified_at ELSE {modified_at} END"
    )
}

/// The entry has not expired at `$2`.
const NOT_EXPIRED: &str = "(expires_at IS NULL OR expires_at > $2)";

/// A table is small for a list if it has at most this many bytes for each key of the list. That is room for at most
/// twenty rows, typically for fewer than five, which the server reads about as fast as it looks up one key. The server
/// checks the size at each execution. A relation of zero bytes, such as the parent of partitions, is not small.
const SMALL_TABLE_BYTES_PER_KEY: &str = "1024::bigint";

/// The revision of a write at the time `$2`.
const NEXT_REVISION: &str = "GREATEST($2::bigint, revision + 1)";

/// The number of the entry and `$4` together; NULL if it is not a number.
const SUM: &str = "sum AS MATERIALIZED (SELECT CASE WHEN e.n IS NULL THEN $4::bigint \
     WHEN octet_length(e.value) < 20 AND encode(e.value, 'escape') ~ '^[+-]?[0-9]{1,18}$' \
     THEN encode(e.value, 'escape')::bigint + $4 END AS sum FROM old LEFT JOIN e ON true)";

/// The result of a plain write: the revision before the write, the new revision if anything was written, and for each
/// replaced entry its position in the list and its columns.
const RETURN_REPLACED: &str =
    "SELECT o.revision, m.revision, e.* FROM old o LEFT JOIN moved m ON true LEFT JOIN e ON true";

/// The same result without the replaced entries.
const RETURN_REVISIONS: &str = "SELECT o.revision, m.revision, NULL::bigint FROM old o LEFT JOIN moved m ON true";

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

/// Plain writes that a Citus cluster carries out on the node of the bucket alone: they only replace an entry that exists.
/// Their parameters and their result are those of the plain writes.
///
/// The row of the bucket is locked only if it is free, because the nodes do not know `lock_timeout`. If it is not, there
/// is no new revision.
pub(crate) struct ReplaceStatements {
    /// Replaces the key `$3`, as `PutStatements::one`.
    pub(crate) put: String,
    /// Adds to the key `$3`, as `PlainWriteStatements::increment`.
    pub(crate) increment: String,
}

impl ReplaceStatements {
    fn new(names: &TableNames) -> Self {
        let TableNames { table, buckets, .. } = names;
        let begin = format!(
            "WITH old AS MATERIALIZED (SELECT revision FROM {buckets} WHERE bucket = $1), \
             free AS MATERIALIZED (SELECT revision FROM {buckets} WHERE bucket = $1 FOR UPDATE SKIP LOCKED), {}",
            lone_entry(table)
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

/// The entry of the key `$3`, as the only one of a list.
fn lone_entry(table: &str) -> String {
    format!(
        "e AS MATERIALIZED (SELECT 1::bigint AS n, {ENTRY_COLUMNS} FROM {table} \
         WHERE bucket = $1 AND key = $3::text AND {NOT_EXPIRED})"
    )
}

impl DistributedStatements {
    fn new(names: &TableNames) -> Self {
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

/// Reads of keys. A row with NULL in its first column has the revision of the bucket; it is missing if there is no
/// bucket.
pub(crate) struct LookupStatements {
    /// Reads the key `$2`. The first column is its position, 1.
    pub(crate) one: String,
    /// Reads keys `$2`, each by its own index lookup. The first column is the position in the list.
    pub(crate) each: String,
    /// Reads the keys `$2` of a long list. The first column is the key. If the table is small, the whole bucket is
    /// read.
    pub(crate) many: String,
}

impl LookupStatements {
    /// `columns` are those of an entry. `revision_columns` take their place in the row with the revision of the bucket.
    fn new(names: &TableNames, columns: &str, revision_columns: &str) -> Self {
        let TableNames { table, buckets, .. } = names;
        let found = found("$2", table, columns, "true");
        let revision = |first: &str| {
            format!("SELECT NULL::{first}, {revision_columns} FROM {buckets} WHERE bucket = $1 UNION ALL SELECT")
        };
        Self {
            one: format!("{} 1::bigint, {columns} FROM {table} WHERE bucket = $1 AND key = $2", revision("bigint")),
            each: format!("{} g.n, e.* FROM {found}", revision("bigint")),
            many: format!(
                "WITH small AS MATERIALIZED (SELECT pg_relation_size('{table}'::regclass) \
                 BETWEEN 1 AND {SMALL_TABLE_BYTES_PER_KEY} * cardinality($2::text[]) AS yes) \
                 {} key, {columns} FROM {table} WHERE bucket = $1 \
                 AND (key IN (SELECT unnest($2::text[]))) IS TRUE AND (SELECT yes FROM small) \
                 UNION ALL SELECT g.key, e.* FROM {found} WHERE (SELECT yes FROM small) IS NOT TRUE",
                revision("text")
            ),
        }
    }
}

/// Joins the keys of a parameter, with their positions, as `g` with the columns of their entries as `e`. `condition`
/// limits the entries.
fn found(keys: &str, table: &str, columns: &str, condition: &str) -> String {
    format!(
        "(SELECT * FROM unnest({keys}::text[]) WITH ORDINALITY AS g (key, n) LIMIT cardinality({keys}::text[])) g \
         CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE bucket = $1 AND key = g.key AND {condition} LIMIT 1) e"
    )
}

/// Writes in one statement, at the time `$2`.
///
/// The result is empty if the bucket does not exist. There is no new revision if there was nothing to write, or if
/// another process wrote the bucket after the statement began: the statement changes the row of the bucket only while
/// it has the revision that was read. If it does, nothing else in the bucket has changed either.
pub(crate) struct PlainWriteStatements {
    pub(crate) returning_replaced: PutStatements,
    /// These neither read nor return the replaced entries.
    pub(crate) returning_nothing: PutStatements,
    /// Deletes the key `$3`.
    pub(crate) delete: String,
    /// Gives the key `$3` the expiry `$4`.
    pub(crate) touch: String,
    /// Adds `$4` to the number of the key `$3`. Writes nothing if the value is not a number or has more than 18 digits.
    /// So the sum cannot overflow while `$4` is at most 8 * 10^18.
    pub(crate) increment: String,
    /// Stores and deletes: `$3` to `$7` as for puts, where a NULL value means a deletion; `$8` the deleted keys again.
    pub(crate) mixed: String,
}

/// Statements that store entries.
pub(crate) struct PutStatements {
    /// Stores the key `$3` with `$4` to `$7`: value, type, modification time and expiry.
    pub(crate) one: String,
    /// Stores many keys; each parameter is a list.
    pub(crate) many: String,
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

impl PlainWriteStatements {
    fn new(names: &TableNames) -> Self {
        let table = &names.table;
        let lone = lone_entry(table);
        let old = format!("WITH old AS MATERIALIZED (SELECT revision FROM {} WHERE bucket = $1)", names.buckets);
        let stored = format!("stored AS (INSERT INTO {table} AS t {TABLE_COLUMNS} SELECT $1,");
        let (next, replace) = (NEXT_REVISION, format!("{ON_CONFLICT_REPLACE}, {}", keep_times()));
        let last = format!("{next} + cardinality($3::text[]) - 1");
        let moved = |next: &str, when: &str| {
            format!(
                "moved AS (UPDATE {} SET revision = {next} \
                 WHERE bucket = $1 AND revision = (SELECT revision FROM old){when} RETURNING revision)",
                names.buckets
            )
        };
        let one = format!(
            "{stored} $3, $4::bytea, $5::text, m.revision, m.revision, $6::bigint, $7::bigint FROM moved m {replace})"
        );
        let listed =
            format!("e AS MATERIALIZED (SELECT g.n, e.* FROM {})", found("$3", table, ENTRY_COLUMNS, NOT_EXPIRED));
        let many = Self::stored_in_order(table);
        let remembered = format!("remembered AS ({})", remember(names, "SELECT $1, $3::text, m.revision FROM moved m"));
        Self {
            returning_replaced: PutStatements {
                one: format!("{old}, {lone}, {}, {one} {RETURN_REPLACED}", moved(next, "")),
                many: format!("{old}, {listed}, {}, {many} {RETURN_REPLACED}", moved(&last, "")),
            },
            returning_nothing: PutStatements {
                one: format!("{old}, {}, {one} {RETURN_REVISIONS}", moved(next, "")),
                many: format!("{old}, {}, {many} {RETURN_REVISIONS}", moved(&last, "")),
            },
            delete: format!(
                "{old}, {lone}, {moved}, removed AS (DELETE FROM {table} USING moved WHERE bucket = $1 AND key = $3), \
                 {remembered} {RETURN_REPLACED}",
                moved = moved(next, " AND EXISTS (SELECT 1 FROM e)"),
            ),
            touch: format!(
                "{old}, {lone}, {moved}, touched AS (UPDATE {table} SET expires_at = $4 FROM moved \
                 WHERE bucket = $1 AND key = $3), {remembered} {RETURN_REPLACED}",
                moved = moved(next, " AND (SELECT expires_at IS DISTINCT FROM $4::bigint FROM e)"),
            ),
            increment: format!(
                "{old}, {lone}, {SUM}, {moved}, {stored} $3, decode(s.sum::text, 'escape'), e.type, m.revision, m.revision, NULL::bigint, \
                 e.expires_at FROM moved m CROSS JOIN sum s LEFT JOIN e ON true {replace}) {RETURN_REPLACED}",
                moved = moved(next, " AND (SELECT sum FROM sum) IS NOT NULL"),
            ),
            mixed: Self::mixed(
                names,
                &old,
                &moved(
                    &format!("{next} + (SELECT max(place) FROM work) - 1"),
                    " AND (SELECT max(place) FROM work) > 0",
                ),
            ),
        }
    }

    /// Each entry takes one revision, in the order of the list. The last revision is that of the bucket.
    fn stored_in_order(table: &str) -> String {
        let own = "m.revision - cardinality($3::text[]) + g.n";
        format!(
            "stored AS (INSERT INTO {table} AS t {TABLE_COLUMNS} \
             SELECT $1, g.key, g.value, g.type, {own}, {own}, g.modified_at, g.expires_at FROM moved m CROSS JOIN \
             (SELECT * FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[]) \
             WITH ORDINALITY AS g (key, value, type, modified_at, expires_at, n) LIMIT cardinality($3::text[])) g \
             {ON_CONFLICT_REPLACE}, {})",
            keep_times()
        )
    }

    /// Puts and deletes together. A delete of a missing key takes no revision, and an expired entry stays: its last
    /// change must not be lost.
    fn mixed(names: &TableNames, old: &str, moved: &str) -> String {
        let table = &names.table;
        let deleted =
            "SELECT $1, w.key, base.revision + w.place FROM base, work w WHERE w.value IS NULL AND w.is_present";
        let remembered = remember(names, deleted);
        format!(
            "{old}, g AS (SELECT * FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[]) \
             WITH ORDINALITY AS g (key, value, type, modified_at, expires_at, n)), \
             e AS MATERIALIZED (SELECT g.n, e.* FROM g CROSS JOIN LATERAL \
             (SELECT {ENTRY_COLUMNS} FROM {table} WHERE bucket = $1 AND key = g.key AND {NOT_EXPIRED} LIMIT 1) e), \
             work AS MATERIALIZED (SELECT g.*, e.n IS NOT NULL AS is_present, \
             count(*) FILTER (WHERE g.value IS NOT NULL OR e.n IS NOT NULL) OVER (ORDER BY g.n) AS place \
             FROM g LEFT JOIN e ON e.n = g.n), \
             {moved}, base AS (SELECT m.revision - (SELECT max(place) FROM work) AS revision FROM moved m), \
             stored AS (INSERT INTO {table} AS t {TABLE_COLUMNS} \
             SELECT $1, w.key, w.value, w.type, base.revision + w.place, base.revision + w.place, \
             w.modified_at, w.expires_at FROM base, work w WHERE w.value IS NOT NULL \
             {ON_CONFLICT_REPLACE}, {times}), \
             removed AS (DELETE FROM {table} USING moved WHERE bucket = $1 AND key = ANY($8::text[]) \
             AND {NOT_EXPIRED}), remembered AS ({remembered}) {RETURN_REPLACED}",
            times = keep_times(),
        )
    }
}
