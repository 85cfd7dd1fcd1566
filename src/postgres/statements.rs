//! The texts of the statements that read and write entries.
//!
//! What always holds: the server finds each entry by its whole primary key, whatever it believes of the table when it plans, but
//! for long lists in a table that is small when it is read. A plan may be kept as long as the connection, and one that was made
//! while the table was small and reads all of a bucket would still be there when the bucket has grown. So a list of keys is
//! joined key by key: the `LIMIT 1` inside rules out any other way. The `LIMIT` over the list takes nothing away; it lets a plan for
//! any list seem cheap, so that the server makes one and keeps it instead of making one for each list.

use super::schema::Names;

/// The columns of an entry that `row.rs` reads, which knows the key.
const COLUMNS: &str = "value, type, revision, created_at, modified_at, expires_at";

/// The columns that are stored.
const STORED: &str = "(bucket, key, value, type, revision, created_at, modified_at, expires_at)";

/// What replaces an entry, but for when its key came to be and was modified.
const REPLACED: &str = "ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value, type = excluded.type, \
     revision = excluded.revision, expires_at = excluded.expires_at";

/// What the successor of an entry `t` keeps, unless that has expired at `$2`: when its key came to be, and a time of
/// modification that is ahead, as `Entry::ahead_of` has it.
const SUCCEEDED: &str = "created_at = CASE WHEN t.expires_at <= $2 THEN excluded.created_at ELSE t.created_at END, \
     modified_at = CASE WHEN excluded.modified_at IS NULL AND (t.expires_at <= $2) IS NOT TRUE \
     AND t.modified_at / 1000000000 - excluded.revision / 1000000000 BETWEEN 1 AND 2 \
     THEN t.modified_at ELSE excluded.modified_at END";

/// What is not expired at `$2`.
const LIVE: &str = "(expires_at IS NULL OR expires_at > $2)";

/// A table is small for a list that has a key for each so many bytes of it. That is room for twenty rows at most, mostly for less
/// than five, which the server reads about as quickly as it looks one key up. It is the server that looks, each time: a
/// table that has grown is not small any more. What has no bytes, as the parent of partitions, is not small.
const SMALL: &str = "1024::bigint";

/// What the statements of `once.rs` answer: the revision that was seen, the new one if anything was done, and then, once for each
/// entry that was there before, its place in the list and its columns.
const SEEN: &str = "SELECT o.revision, m.revision, e.* FROM old o LEFT JOIN moved m ON true LEFT JOIN e ON true";

/// The same of no entries.
const UNTOLD: &str = "SELECT o.revision, m.revision, NULL::bigint FROM old o LEFT JOIN moved m ON true";

/// The texts. In all of them `$1` is the bucket. Each is prepared once on each connection, but for `once` and `write`, which
/// are planned each time: how the rows of a list that are to be removed are found, no text can make sure.
pub(super) struct Statements {
    /// Fails if the tables are not there.
    pub(super) look: String,
    /// Gets of entries.
    pub(super) entries: Gets,
    /// Gets of values, each with the end of its entry.
    pub(super) values: Gets,
    /// The revision.
    pub(super) revision: String,
    /// The same, and nobody else writes the bucket until the end of the transaction.
    pub(super) lock: String,
    /// Places and entries of keys `$2`, for who holds the lock.
    pub(super) held: String,
    /// Makes the row of a bucket.
    pub(super) born: String,
    /// Sets the revision `$2` and stores entries `$3` to `$9`, for who holds the lock.
    pub(super) store: String,
    /// The same, and removes those of keys `$10`.
    pub(super) write: String,
    /// What `once.rs` sends.
    pub(super) plain: Plain,
    /// All buckets.
    pub(super) buckets: String,
}

/// Gets. The columns of each entry are led by its place; one row without a place has the revision of the bucket, if it is there.
pub(super) struct Gets {
    /// Of the key `$2`, whose place is 1.
    pub(super) one: String,
    /// Of keys `$2`, each looked up by itself.
    pub(super) each: String,
    /// Of keys `$2`, which are many, each led by its key. Of a small table the bucket is read as a whole.
    pub(super) many: String,
}

impl Gets {
    /// `columns` of entries, and what stands for them beside the revision of the bucket.
    fn new(names: &Names, columns: &str, moved: &str) -> Self {
        let Names { table, buckets, .. } = names;
        let found = found("$2", table, columns, "true");
        let moved =
            |place: &str| format!("SELECT NULL::{place}, {moved} FROM {buckets} WHERE bucket = $1 UNION ALL SELECT");
        Self {
            one: format!("{} 1::bigint, {columns} FROM {table} WHERE bucket = $1 AND key = $2", moved("bigint")),
            each: format!("{} g.n, e.* FROM {found}", moved("bigint")),
            many: format!(
                "WITH small AS MATERIALIZED (SELECT pg_relation_size('{table}'::regclass) \
                 BETWEEN 1 AND {SMALL} * cardinality($2::text[]) AS yes) \
                 {} key, {columns} FROM {table} WHERE bucket = $1 \
                 AND (key IN (SELECT unnest($2::text[]))) IS TRUE AND (SELECT yes FROM small) \
                 UNION ALL SELECT g.key, e.* FROM {found} WHERE (SELECT yes FROM small) IS NOT TRUE",
                moved("text")
            ),
        }
    }
}

/// The keys of a parameter as `g`, with their places, and columns of what stands under each as `e`, if that is so.
fn found(keys: &str, table: &str, columns: &str, so: &str) -> String {
    format!(
        "(SELECT * FROM unnest({keys}::text[]) WITH ORDINALITY AS g (key, n) LIMIT cardinality({keys}::text[])) g \
         CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE bucket = $1 AND key = g.key AND {so} LIMIT 1) e"
    )
}

/// Writes of one statement, at the time `$2`. There is no row if the bucket is not there. No new revision: another has written the
/// bucket since the statement began, or there was nothing to do. The row that was seen and the row that is changed must be
/// the same; if they are, nothing else of the bucket has changed since.
pub(super) struct Plain {
    /// Puts.
    pub(super) seen: Puts,
    /// Puts that do not read what they replace, and tell nothing of it.
    pub(super) untold: Puts,
    /// Removes the entry `$3`.
    pub(super) delete: String,
    /// Gives the entry `$3` the end `$4`.
    pub(super) touch: String,
    /// Adds `$4` to the number `$3`. Does nothing if that has more than 18 digits or is none, so that no sum overflows that has at
    /// most nine times as much added.
    pub(super) increment: String,
    /// Stores and removes entries: `$3` to `$7` as with puts, with no value where one is to be gone; `$8` the keys of those again.
    pub(super) once: String,
}

/// Statements that store.
pub(super) struct Puts {
    /// An entry: `$3` the key, `$4` to `$7` value, type, time of modification and end.
    pub(super) one: String,
    /// Entries: the same of each.
    pub(super) many: String,
}

impl Statements {
    pub(super) fn new(names: &Names) -> Self {
        let Names { table, buckets, .. } = names;
        let stored = format!(
            "INSERT INTO {table} {STORED} SELECT $1, g.* FROM (SELECT * FROM unnest($3::text[], $4::bytea[], \
             $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) LIMIT cardinality($3::text[])) g \
             {REPLACED}, created_at = excluded.created_at, modified_at = excluded.modified_at"
        );
        let raised = format!("moved AS (UPDATE {buckets} SET revision = $2 WHERE bucket = $1)");
        Self {
            look: format!("SELECT bucket FROM {buckets} LIMIT 0; SELECT bucket FROM {table} LIMIT 0"),
            entries: Gets::new(
                names,
                COLUMNS,
                "NULL::bytea, NULL::text, revision, NULL::bigint, NULL::bigint, NULL::bigint",
            ),
            values: Gets::new(names, "value, expires_at", "NULL::bytea, revision"),
            revision: format!("SELECT revision FROM {buckets} WHERE bucket = $1"),
            lock: format!("SELECT revision FROM {buckets} WHERE bucket = $1 FOR UPDATE"),
            held: format!("SELECT g.n, e.* FROM {}", found("$2", table, COLUMNS, "true")),
            born: format!("INSERT INTO {buckets} (bucket, revision) VALUES ($1, 0) ON CONFLICT (bucket) DO NOTHING"),
            store: format!("WITH {raised} {stored}"),
            write: format!(
                "WITH {raised}, stored AS ({stored}) DELETE FROM {table} WHERE bucket = $1 AND key = ANY($10::text[])"
            ),
            plain: Plain::new(names),
            buckets: format!("SELECT bucket FROM {buckets} WHERE revision > 0 ORDER BY bucket"),
        }
    }
}

impl Plain {
    fn new(names: &Names) -> Self {
        let table = &names.table;
        let lone = format!(
            "e AS MATERIALIZED (SELECT 1::bigint AS n, {COLUMNS} FROM {table} WHERE bucket = $1 AND key = $3::text AND {LIVE})"
        );
        let old = format!("WITH old AS MATERIALIZED (SELECT revision FROM {} WHERE bucket = $1)", names.buckets);
        let stored = format!("stored AS (INSERT INTO {table} AS t {STORED} SELECT $1,");
        let (next, never_less) = ("GREATEST($2::bigint, revision + 1)", format!("{REPLACED}, {SUCCEEDED}"));
        let last = format!("{next} + cardinality($3::text[]) - 1");
        let moved = |next: &str, when: &str| {
            format!(
                "moved AS (UPDATE {} SET revision = {next} \
                 WHERE bucket = $1 AND revision = (SELECT revision FROM old){when} RETURNING revision)",
                names.buckets
            )
        };
        let one = format!(
            "{stored} $3, $4::bytea, $5::text, m.revision, m.revision, $6::bigint, $7::bigint FROM moved m {never_less})"
        );
        let listed = format!("e AS MATERIALIZED (SELECT g.n, e.* FROM {})", found("$3", table, COLUMNS, LIVE));
        let many = Self::stored_in_order(table);
        Self {
            seen: Puts {
                one: format!("{old}, {lone}, {}, {one} {SEEN}", moved(next, "")),
                many: format!("{old}, {listed}, {}, {many} {SEEN}", moved(&last, "")),
            },
            untold: Puts {
                one: format!("{old}, {}, {one} {UNTOLD}", moved(next, "")),
                many: format!("{old}, {}, {many} {UNTOLD}", moved(&last, "")),
            },
            delete: format!(
                "{old}, {lone}, {moved}, removed AS (DELETE FROM {table} USING moved WHERE bucket = $1 AND key = $3) \
                 {SEEN}",
                moved = moved(next, " AND EXISTS (SELECT 1 FROM e)"),
            ),
            touch: format!(
                "{old}, {lone}, {moved}, touched AS (UPDATE {table} SET expires_at = $4 FROM moved \
                 WHERE bucket = $1 AND key = $3) {SEEN}",
                moved = moved(next, " AND (SELECT expires_at IS DISTINCT FROM $4::bigint FROM e)"),
            ),
            increment: format!(
                "{old}, {lone}, sum AS MATERIALIZED (SELECT CASE WHEN e.n IS NULL THEN $4::bigint \
                 WHEN octet_length(e.value) < 20 AND encode(e.value, 'escape') ~ '^[+-]?[0-9]{{1,18}}$' \
                 THEN encode(e.value, 'escape')::bigint + $4 END AS sum FROM old LEFT JOIN e ON true), \
                 {moved}, {stored} $3, decode(s.sum::text, 'escape'), e.type, m.revision, m.revision, NULL::bigint, \
                 e.expires_at FROM moved m CROSS JOIN sum s LEFT JOIN e ON true {never_less}) {SEEN}",
                moved = moved(next, " AND (SELECT sum FROM sum) IS NOT NULL"),
            ),
            once: Self::once(
                table,
                &old,
                &moved(
                    &format!("{next} + (SELECT max(place) FROM work) - 1"),
                    " AND (SELECT max(place) FROM work) > 0",
                ),
            ),
        }
    }

    /// Each takes a revision, in their order; the last is the bucket's.
    fn stored_in_order(table: &str) -> String {
        let own = "m.revision - cardinality($3::text[]) + g.n";
        format!(
            "stored AS (INSERT INTO {table} AS t {STORED} \
             SELECT $1, g.key, g.value, g.type, {own}, {own}, g.modified_at, g.expires_at FROM moved m CROSS JOIN \
             (SELECT * FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[]) \
             WITH ORDINALITY AS g (key, value, type, modified_at, expires_at, n) LIMIT cardinality($3::text[])) g \
             {REPLACED}, {SUCCEEDED})"
        )
    }

    /// What puts and deletes do. Those that remove nothing take no revision.
    fn once(table: &str, old: &str, moved: &str) -> String {
        format!(
            "{old}, g AS (SELECT * FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[]) \
             WITH ORDINALITY AS g (key, value, type, modified_at, expires_at, n)), \
             e AS MATERIALIZED (SELECT g.n, e.* FROM g CROSS JOIN LATERAL \
             (SELECT {COLUMNS} FROM {table} WHERE bucket = $1 AND key = g.key AND {LIVE} LIMIT 1) e), \
             work AS MATERIALIZED (SELECT g.*, \
             count(*) FILTER (WHERE g.value IS NOT NULL OR e.n IS NOT NULL) OVER (ORDER BY g.n) AS place \
             FROM g LEFT JOIN e ON e.n = g.n), \
             {moved}, base AS (SELECT m.revision - (SELECT max(place) FROM work) AS revision FROM moved m), \
             stored AS (INSERT INTO {table} AS t {STORED} \
             SELECT $1, w.key, w.value, w.type, base.revision + w.place, base.revision + w.place, \
             w.modified_at, w.expires_at FROM base, work w WHERE w.value IS NOT NULL {REPLACED}, {SUCCEEDED}), \
             removed AS (DELETE FROM {table} USING moved WHERE bucket = $1 AND key = ANY($8::text[])) {SEEN}"
        )
    }
}
