//! The statements that read keys.

use super::schema::TableNames;

/// A table is small for a list if it has at most this many bytes for each key of the list. That is room for at most
/// twenty rows, typically for fewer than five, which the server reads about as fast as it looks up one key. The server
/// checks the size at each execution. A relation of zero bytes, such as the parent of partitions, is not small.
const SMALL_TABLE_BYTES_PER_KEY: &str = "1024::bigint";

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
    pub(super) fn new(names: &TableNames, columns: &str, revision_columns: &str) -> Self {
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
pub(super) fn found(keys: &str, table: &str, columns: &str, condition: &str) -> String {
    format!(
        "(SELECT * FROM unnest({keys}::text[]) WITH ORDINALITY AS g (key, n) LIMIT cardinality({keys}::text[])) g \
         CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE bucket = $1 AND key = g.key AND {condition} LIMIT 1) e"
    )
}
