//! The tables: what they are called and how they are made. What the columns mean is for `docs/postgres.md`.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::model::Bucket;

/// The longest name PostgreSQL tells apart, in bytes.
const LONGEST: usize = 63;

/// A fifth of each page is left for new versions of its rows, which then need no new entries in the indexes, and old ones are
/// tidied away early. Values are written over again and again.
const ROOM: &str = "WITH (fillfactor = 80)";

/// What the tables of a store are called, ready to stand in a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    schema: Option<String>,
    name: String,
    /// The table of entries.
    pub(super) table: String,
    /// The table of buckets.
    pub(super) buckets: String,
    /// The channel on which writers tell of changes, without quotes.
    pub(super) channel: String,
}

/// How tables are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Making {
    /// Without a log: faster, and empty after a crash of the server.
    pub(super) unlogged: bool,
    /// One partition for each bucket.
    pub(super) partitioned: bool,
}

impl Names {
    /// Names made of identifiers that have been checked.
    pub(super) fn new(schema: Option<&str>, name: &str) -> Self {
        let place = schema.map(|schema| format!("\"{schema}\".")).unwrap_or_default();
        Self {
            table: format!("{place}\"{name}\""),
            buckets: format!("{place}\"{name}_buckets\""),
            channel: format!("{name}_changed"),
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// The schema, in quotes, if the URL names one.
    pub(super) fn schema(&self) -> Option<String> {
        self.schema.as_ref().map(|schema| format!("\"{schema}\""))
    }

    /// A name beside the table's.
    fn beside(&self, name: &str) -> String {
        let place = self.schema.as_ref().map(|schema| format!("\"{schema}\".")).unwrap_or_default();
        format!("{place}\"{name}\"")
    }

    /// The partition of a bucket. No table of ours is called so: they have no `_of_` in front of a bucket.
    fn partition(&self, bucket: &Bucket) -> String {
        let whole = format!("{}_of_{bucket}", self.name);
        if whole.len() <= LONGEST {
            return self.beside(&whole);
        }
        let digest: String = Sha256::digest(bucket.as_str()).iter().take(8).map(|b| format!("{b:02x}")).collect();
        // Both are ASCII, so any byte is the end of a character.
        let begin = whole.get(..LONGEST - 17).unwrap_or_default();
        self.beside(&format!("{begin}_{digest}"))
    }

    /// The key of the lock under which tables are made, so that two processes do not do it at once.
    fn making_lock(&self) -> i64 {
        let digest = Sha256::digest(format!("kvs {}", self.table));
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    /// One transaction that carries out these statements, alone among all that make tables of this name.
    pub(super) fn alone(&self, statements: &str) -> String {
        format!("BEGIN;\nSELECT pg_advisory_xact_lock({});\n{statements}COMMIT;\n", self.making_lock())
    }

    /// Makes the tables, those that are not there.
    pub(super) fn tables(&self, making: Making) -> String {
        let Self { table, buckets, name, .. } = self;
        let unlogged = if making.unlogged { "UNLOGGED " } else { "" };
        // The parent of partitions holds nothing that could be logged or have room.
        let (unlogged_parent, layout) =
            if making.partitioned { ("", "PARTITION BY LIST (bucket)") } else { (unlogged, ROOM) };
        let mut sql = String::new();
        if let Some(schema) = &self.schema {
            let _ = writeln!(sql, "CREATE SCHEMA IF NOT EXISTS \"{schema}\";");
        }
        let _ = write!(
            sql,
            r#"CREATE {unlogged}TABLE IF NOT EXISTS {buckets} (
    bucket text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL
) {ROOM};
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
            view = self.beside(&format!("{name}_readable")),
        );
        sql
    }

    /// Distributes the tables over the nodes of a Citus cluster, those that are not.
    pub(super) fn distribution(&self) -> String {
        let place = |table: &str| {
            format!(
                "SELECT create_distributed_table('{table}', 'bucket')\n    \
                 WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = '{table}'::regclass);\n"
            )
        };
        // The second is placed beside the first by itself: their columns of distribution are of one type.
        place(&self.buckets) + &place(&self.table)
    }

    /// Makes the partition of a bucket, if it is not there, without holding up those who use others.
    pub(super) fn make_partition(&self, bucket: &Bucket, making: Making) -> String {
        let (table, partition) = (&self.table, self.partition(bucket));
        let unlogged = if making.unlogged { "UNLOGGED " } else { "" };
        // A name of a bucket holds no quotes and no dollars.
        self.alone(&format!(
            "DO $make$ BEGIN\n\
             IF to_regclass('{partition}') IS NULL THEN\n    \
             CREATE {unlogged}TABLE {partition} (LIKE {table} INCLUDING ALL) {ROOM};\n    \
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN ('{bucket}');\n\
             END IF;\nEND $make$;\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_quotes() {
        let names = Names::new(Some("App"), "kvs");
        assert_eq!(names.table, r#""App"."kvs""#);
        assert_eq!(names.buckets, r#""App"."kvs_buckets""#);
        assert_eq!(Names::new(None, "kvs").table, r#""kvs""#);
    }

    #[test]
    fn partitions_have_names_of_their_own_however_long_the_buckets() {
        let names = Names::new(None, "kvs");
        let partition = |bucket: &str| names.partition(&Bucket::new(bucket).unwrap());
        assert_eq!(partition("a.b-C"), r#""kvs_of_a.b-C""#);
        let long = ["x".repeat(63) + "1", "x".repeat(63) + "2"].map(|bucket| partition(&bucket));
        assert_ne!(long[0], long[1]);
        assert!(long.iter().all(|name| name.len() == LONGEST + 2), "{long:?}");
    }

    #[test]
    fn tables_are_made_as_asked_for() {
        let names = Names::new(Some("s"), "t");
        let plain = names.tables(Making::default());
        assert!(
            plain.starts_with("CREATE SCHEMA IF NOT EXISTS \"s\";\nCREATE TABLE IF NOT EXISTS \"s\".\"t_buckets\"")
        );
        assert!(!plain.contains("UNLOGGED") && !plain.contains("PARTITION"));
        assert_eq!(plain.matches(") WITH (fillfactor = 80);").count(), 2);
        let fast = names.tables(Making { unlogged: true, partitioned: false });
        assert_eq!(fast.matches("CREATE UNLOGGED TABLE").count(), 2);
        let parted = names.tables(Making { unlogged: true, partitioned: true });
        assert_eq!(parted.matches("CREATE UNLOGGED TABLE").count(), 1);
        assert!(parted.contains(") PARTITION BY LIST (bucket);"));
        let partition = names.make_partition(&Bucket::new("b").unwrap(), Making::default());
        assert!(partition.contains("INCLUDING ALL) WITH (fillfactor = 80);"), "{partition}");
    }
}
