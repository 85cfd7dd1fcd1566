//! The statements that write without an evaluation by kvs.

use super::change_statements::remember;
use super::lookup_statements::found;
use super::row::ENTRY_COLUMNS;
use super::schema::TableNames;

/// All columns of the table.
pub(super) const TABLE_COLUMNS: &str = "(bucket, key, value, type, revision, created_at, modified_at, expires_at)";

/// Replaces an entry, except for its times of creation and modification.
pub(super) const ON_CONFLICT_REPLACE: &str = "ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value, \
     type = excluded.type, revision = excluded.revision, expires_at = excluded.expires_at";

/// The times that a new entry keeps from its predecessor `t`, unless that had expired at `$2`.
fn keep_times() -> String {
    format!(
        "created_at = CASE WHEN t.expires_at <= $2 THEN excluded.created_at ELSE t.created_at END, {}",
        keep_modified_at("excluded.modified_at", "excluded.revision")
    )
}

/// A new entry keeps a modification time ahead of its revision, by the rule of `Entry::ahead_of`.
pub(super) fn keep_modified_at(modified_at: &str, revision: &str) -> String {
    format!(
        "modified_at = CASE WHEN {modified_at} IS NULL AND (t.expires_at <= $2) IS NOT TRUE \
         AND t.modified_at / 1000000000 - {revision} / 1000000000 BETWEEN 1 AND 2 \
         THEN t.modified_at ELSE {modified_at} END"
    )
}

/// The entry has not expired at `$2`.
const NOT_EXPIRED: &str = "(expires_at IS NULL OR expires_at > $2)";

/// The revision of a write at the time `$2`.
pub(super) const NEXT_REVISION: &str = "GREATEST($2::bigint, revision + 1)";

/// The number of the entry and `$4` together; NULL if it is not a number.
pub(super) const SUM: &str = "sum AS MATERIALIZED (SELECT CASE WHEN e.n IS NULL THEN $4::bigint \
     WHEN octet_length(e.value) < 20 AND encode(e.value, 'escape') ~ '^[+-]?[0-9]{1,18}$' \
     THEN encode(e.value, 'escape')::bigint + $4 END AS sum FROM old LEFT JOIN e ON true)";

/// The result of a plain write: the revision before the write, the new revision if anything was written, and for each
/// replaced entry its position in the list and its columns.
pub(super) const RETURN_REPLACED: &str =
    "SELECT o.revision, m.revision, e.* FROM old o LEFT JOIN moved m ON true LEFT JOIN e ON true";

/// The same result without the replaced entries.
const RETURN_REVISIONS: &str = "SELECT o.revision, m.revision, NULL::bigint FROM old o LEFT JOIN moved m ON true";

/// The entry of the key `$3`, as the only one of a list; `lock` may be a locking clause.
pub(super) fn lone_entry(table: &str, lock: &str) -> String {
    format!(
        "e AS MATERIALIZED (SELECT 1::bigint AS n, {ENTRY_COLUMNS} FROM {table} \
         WHERE bucket = $1 AND key = $3::text AND {NOT_EXPIRED}{lock})"
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

impl PlainWriteStatements {
    pub(super) fn new(names: &TableNames) -> Self {
        let table = &names.table;
        let lone = lone_entry(table, "");
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
