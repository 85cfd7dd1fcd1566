//! Names and `CREATE` statements of the tables. `docs/postgres.md` describes the columns.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::model::{BlobRef, Bucket};

/// PostgreSQL truncates longer names.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// A fifth of each page stays free for new versions of its rows, so that they stay on the page and PostgreSQL reclaims
/// the old versions early. Values are typically overwritten many times.
const FILLFACTOR: &str = "WITH (fillfactor = 80)";

/// The collation of the buckets in the indexes of revisions. It has the same order as that of the column, but only a
/// condition that names it can use these indexes. Otherwise the server could choose one of them to look up a key in a
/// small table, and the plan would stay in use after the table has grown.
pub(super) const REVISIONS_COLLATION: &str = r#"COLLATE "POSIX""#;

/// The name of the blob in an entry that refers to one: it comes after `{"sha-256":"`.
pub(super) const REFERENCE: &str = "substring(value FROM 13 FOR 64)";

/// The names of the tables of a store, quoted for use in statements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableNames {
    schema: Option<String>,
    name: String,
    /// The table of entries.
    pub(crate) table: String,
    /// The table of buckets.
    pub(crate) buckets: String,
    /// The table of changes that the revisions of the entries do not show.
    pub(crate) changes: String,
    /// The table of logs, without their entries.
    pub(crate) logs: String,
    /// The table of the entries of logs.
    pub(crate) log_entries: String,
    /// The table of blobs, without their bytes.
    pub(crate) blobs: String,
    /// The table of the bytes of blobs, in parts.
    pub(crate) blob_parts: String,
    /// The NOTIFY channel for changes, without quotes.
    pub(crate) channel: String,
}

/// The options with which tables are created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TableOptions {
    /// Without a write-ahead log: faster, but empty after a crash of the server.
    pub(crate) unlogged: bool,
    /// One partition per bucket.
    pub(crate) partitioned: bool,
}

impl TableNames {
    /// The names for a schema and a table name that were checked.
    pub(crate) fn new(schema: Option<&str>, name: &str) -> Self {
        let prefix = schema.map(|schema| format!("\"{schema}\".")).unwrap_or_default();
        Self {
            table: format!("{prefix}\"{name}\""),
            buckets: format!("{prefix}\"{name}_buckets\""),
            changes: format!("{prefix}\"{name}_changes\""),
            logs: format!("{prefix}\"{name}_logs\""),
            log_entries: format!("{prefix}\"{name}_log_entries\""),
            blobs: format!("{prefix}\"{name}_blobs\""),
            blob_parts: format!("{prefix}\"{name}_blob_parts\""),
            channel: format!("{name}_changed"),
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// All tables of the store.
    pub(crate) fn all_tables(&self) -> [&str; 7] {
        let Self { table, buckets, changes, logs, log_entries, blobs, blob_parts, .. } = self;
        [table, buckets, changes, logs, log_entries, blobs, blob_parts]
    }

    /// The schema of the URL, quoted.
    pub(crate) fn schema(&self) -> Option<String> {
        self.schema.as_ref().map(|schema| format!("\"{schema}\""))
    }

    /// A name in the schema of the table, quoted.
    fn in_schema(&self, name: &str) -> String {
        let prefix = self.schema.as_ref().map(|schema| format!("\"{schema}\".")).unwrap_or_default();
        format!("{prefix}\"{name}\"")
    }

    /// The partition of a bucket: `TABLE_of_BUCKET`. The other tables of a store have no such name.
    fn partition(&self, bucket: &Bucket) -> String {
        let whole = format!("{}_of_{bucket}", self.name);
        if whole.len() <= MAX_IDENTIFIER_BYTES {
            return self.in_schema(&whole);
        }
        // The name is ASCII, so it can be cut at any byte.
        let begin = whole.get(..MAX_IDENTIFIER_BYTES - 17).unwrap_or_default();
        self.in_schema(&format!("{begin}_{:.16x}", Sha256::digest(bucket.as_str())))
    }

    /// The key of the advisory lock that a process holds while it creates tables.
    fn advisory_lock_key(&self) -> i64 {
        let digest = Sha256::digest(format!("kvs {}", self.table));
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    /// A transaction with these statements that excludes all other processes that create tables of this name.
    pub(crate) fn exclusively(&self, statements: &str) -> String {
        format!("BEGIN;\nSELECT pg_advisory_xact_lock({});\n{statements}COMMIT;\n", self.advisory_lock_key())
    }

    /// Creates the tables that do not exist.
    pub(crate) fn create_tables(&self, options: TableOptions) -> String {
        let Self { table, buckets, name, .. } = self;
        let unlogged = if options.unlogged { "UNLOGGED " } else { "" };
        // The parent of partitions has no rows of its own.
        let (unlogged_parent, layout) =
            if options.partitioned { ("", "PARTITION BY LIST (bucket)") } else { (unlogged, FILLFACTOR) };
        let mut sql = String::new();
        if let Some(schema) = &self.schema {
            let _ = writeln!(sql, "CREATE SCHEMA IF NOT EXISTS \"{schema}\";");
        }
        let _ = write!(
            sql,
            r#"CREATE {unlogged}TABLE IF NOT EXISTS {buckets} (
    bucket text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL
) {FILLFACTOR};
CREATE {unlogged_parent}TABLE IF NOT EXISTS {table} (
    bucket text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    type text,
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    modified_at bigint,
    expires_at bigint,
    PRIMARY KEY (bucket, key)
) {layout};
CREATE INDEX IF NOT EXISTS "{name}_expires" ON {table} (bucket, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_revisions" ON {table} (bucket {REVISIONS_COLLATION}, revision);
CREATE OR REPLACE VIEW {view} AS SELECT
    bucket,
    key,
    encode(value, 'escape') AS value,
    coalesce(type, 'text/plain; charset=utf-8') AS type,
    revision,
    to_timestamp(created_at / 1000000000.0) AS created_at,
    to_timestamp(revision / 1000000000.0) AS updated_at,
    to_timestamp(modified_at / 1000000000.0) AS modified_at,
    to_timestamp(expires_at / 1000000000.0) AS expires_at
FROM {table};
"#,
            view = self.in_schema(&format!("{name}_readable")),
        );
        sql + &self.create_changes() + &self.create_logs(options) + &self.create_blobs(options)
    }

    /// Creates the tables of logs unless they exist. They have no partitions.
    fn create_logs(&self, options: TableOptions) -> String {
        let Self { logs, log_entries, name, .. } = self;
        let unlogged = if options.unlogged { "UNLOGGED " } else { "" };
        format!(
            r#"CREATE {unlogged}TABLE IF NOT EXISTS {logs} (
    bucket text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    first_index bigint NOT NULL,
    next_index bigint NOT NULL,
    previous_at bigint NOT NULL,
    last_at bigint NOT NULL,
    keep bigint,
    keep_for_ms bigint,
    PRIMARY KEY (bucket, key)
) {FILLFACTOR};
CREATE {unlogged}TABLE IF NOT EXISTS {log_entries} (
    bucket text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    index bigint NOT NULL,
    value bytea NOT NULL,
    type text,
    updated_at bigint NOT NULL,
    PRIMARY KEY (bucket, key, index)
);
CREATE INDEX IF NOT EXISTS "{name}_log_times" ON {log_entries} (bucket, key, updated_at, index);
"#
        )
    }

    /// Creates the tables of blobs unless they exist. They have no partitions.
    ///
    /// The bytes are not compressed, so that the server can read a part of them. Citus refuses to say so again of a table
    /// that it has distributed.
    fn create_blobs(&self, options: TableOptions) -> String {
        let Self { table, blobs, blob_parts, name, .. } = self;
        let unlogged = if options.unlogged { "UNLOGGED " } else { "" };
        format!(
            r#"CREATE {unlogged}TABLE IF NOT EXISTS {blobs} (
    bucket text COLLATE "C" NOT NULL,
    upload bigint NOT NULL,
    id bytea,
    bytes bigint,
    held_until timestamptz NOT NULL,
    kept_until timestamptz NOT NULL,
    PRIMARY KEY (bucket, upload)
);
CREATE INDEX IF NOT EXISTS "{name}_blob_ids" ON {blobs} (bucket, id, upload) WHERE id IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_blobs_unnamed" ON {blobs} (bucket, kept_until) WHERE id IS NULL;
CREATE {unlogged}TABLE IF NOT EXISTS {blob_parts} (
    bucket text COLLATE "C" NOT NULL,
    upload bigint NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (bucket, upload, part)
);
DO $make$ BEGIN
IF EXISTS (SELECT 1 FROM pg_attribute
           WHERE attrelid = '{blob_parts}'::regclass AND attname = 'data' AND attstorage <> 'e') THEN
    ALTER TABLE {blob_parts} ALTER COLUMN data SET STORAGE EXTERNAL;
END IF;
END $make$;
CREATE INDEX IF NOT EXISTS "{name}_references" ON {table} (bucket, ({REFERENCE})) WHERE type = '{mark}';
"#,
            mark = BlobRef::MARK,
        )
    }

    /// Creates the table of changes unless it exists.
    ///
    /// It marks in each bucket that nothing is known about deletions until now. In a transaction with the creation of
    /// the index, which locks the entries, no process deletes anything between that mark and the end.
    ///
    /// If one of the tables is empty after a crash, all must be. So it is unlogged if the table of buckets is.
    fn create_changes(&self) -> String {
        let Self { buckets, changes, name, .. } = self;
        format!(
            r#"DO $make$ BEGIN
IF to_regclass('{changes}') IS NULL THEN
    CREATE TABLE {changes} (
        bucket text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        revision bigint NOT NULL,
        PRIMARY KEY (bucket, key)
    ) {FILLFACTOR};
    IF (SELECT relpersistence FROM pg_class WHERE oid = '{buckets}'::regclass) = 'u' THEN
        ALTER TABLE {changes} SET UNLOGGED;
    END IF;
    CREATE INDEX "{name}_changes_revisions" ON {changes} (bucket {REVISIONS_COLLATION}, revision);
    INSERT INTO {changes} SELECT bucket, '', revision FROM {buckets};
END IF;
END $make$;
"#
        )
    }

    /// Creates the tables that do not exist, in a transaction that may take any time: an index over many entries does.
    pub(crate) fn create_tables_exclusively(&self, statements: &str) -> String {
        self.exclusively(&format!("SET LOCAL statement_timeout = 0;\n{statements}"))
    }

    /// Distributes the tables over the nodes of a Citus cluster, unless they are.
    pub(crate) fn distribute_tables(&self) -> String {
        let distribute = |table: &str| {
            format!(
                "SELECT create_distributed_table('{table}', 'bucket')\n    \
                 WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = '{table}'::regclass);\n"
            )
        };
        // Citus puts all rows of a bucket on one node, since their distribution columns have the same type.
        self.all_tables().map(distribute).concat()
    }

    /// Creates the partition of a bucket unless it exists. Other partitions stay usable meanwhile.
    pub(crate) fn create_partition(&self, bucket: &Bucket, options: TableOptions) -> String {
        let (table, partition) = (&self.table, self.partition(bucket));
        let unlogged = if options.unlogged { "UNLOGGED " } else { "" };
        // The name of a bucket contains no quotes and no dollar signs.
        self.exclusively(&format!(
            "DO $make$ BEGIN\n\
             IF to_regclass('{partition}') IS NULL THEN\n    \
             CREATE {unlogged}TABLE {partition} (LIKE {table} INCLUDING ALL) {FILLFACTOR};\n    \
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN ('{bucket}');\n\
             END IF;\nEND $make$;\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let names = TableNames::new(Some("App"), "kvs");
        assert_eq!(names.table, r#""App"."kvs""#);
        assert_eq!(names.buckets, r#""App"."kvs_buckets""#);
        assert_eq!(names.changes, r#""App"."kvs_changes""#);
        assert_eq!(TableNames::new(None, "kvs").table, r#""kvs""#);
    }

    #[test]
    fn long_bucket_names_have_distinct_partition_names() {
        let names = TableNames::new(None, "kvs");
        let partition = |bucket: &str| names.partition(&Bucket::new(bucket).unwrap());
        assert_eq!(partition("a.b-C"), r#""kvs_of_a.b-C""#);
        let long = ["x".repeat(63) + "1", "x".repeat(63) + "2"].map(|bucket| partition(&bucket));
        assert_ne!(long[0], long[1]);
        assert!(long.iter().all(|name| name.len() == MAX_IDENTIFIER_BYTES + 2), "{long:?}");
        // The names of existing partitions must not change.
        assert_eq!(long[0], format!("\"kvs_of_{}_e1cddcc3145dacc2\"", "x".repeat(39)));
    }

    #[test]
    fn options_determine_the_create_statements() {
        let names = TableNames::new(Some("s"), "t");
        let plain = names.create_tables(TableOptions::default());
        assert!(
            plain.starts_with("CREATE SCHEMA IF NOT EXISTS \"s\";\nCREATE TABLE IF NOT EXISTS \"s\".\"t_buckets\"")
        );
        assert!(!plain.contains("CREATE UNLOGGED") && !plain.contains("PARTITION"));
        assert_eq!(plain.matches(") WITH (fillfactor = 80);").count(), 4);
        let fast = names.create_tables(TableOptions { unlogged: true, partitioned: false });
        assert_eq!(fast.matches("CREATE UNLOGGED TABLE").count(), 6);
        let parted = names.create_tables(TableOptions { unlogged: true, partitioned: true });
        assert_eq!(parted.matches("CREATE UNLOGGED TABLE").count(), 5);
        assert!(parted.contains(") PARTITION BY LIST (bucket);"));
        let partition = names.create_partition(&Bucket::new("b").unwrap(), TableOptions::default());
        assert!(partition.contains("INCLUDING ALL) WITH (fillfactor = 80);"), "{partition}");
    }
}
