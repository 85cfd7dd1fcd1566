//! The statements about logs. `<table>_logs` has a row for each log, and `<table>_log_entries` one for each entry.
//!
//! An append changes the row of its log first, so appends to a log happen one after another. Entries before
//! `first_index` are not in the log; they are removed in groups.

use super::schema::TableNames;

/// In all statements `$1` is the bucket and `$2` the key.
pub(crate) struct LogStatements {
    /// Appends the values `$9` of the types `$10` at the times `$3`, beginning at the index `$4` or, if it is NULL, at
    /// the next one. If `$5`, the log keeps `$6` entries for `$7` milliseconds from now, `$8`, on. Returns the first index of
    /// the new entries and the columns of the log after it; no row if the index is taken.
    pub(crate) append: String,
    /// The parts of `append` for a Citus cluster, which carries out each of them on the node of the bucket alone.
    pub(crate) append_parts: AppendParts,
    /// Reads the next index.
    pub(crate) next: String,
    /// Reads the log and its entries from the index `$3`, or the last `$4` ones, not older than `$6`, at most `$5`.
    /// `$7` is the present time, and `$8` the maximum length of all values. There is one row without an entry if there
    /// are none, and no row if there is no log.
    pub(crate) read: String,
    /// Removes entries that are no longer kept: too many, or older at the present time `$3`.
    pub(crate) trim: String,
    /// Locks the log.
    pub(crate) lock: String,
    /// Removes the entries before the index `$3`, and counts those from the index `$4` on.
    pub(crate) remove_entries: String,
    /// Moves the first index to `$3`.
    pub(crate) move_first: String,
    /// Removes the row of the log.
    pub(crate) remove_log: String,
    /// Lists the keys after `$2` that begin with `$3`, at most `$4`.
    pub(crate) keys: String,
    /// Lists the buckets that have logs.
    pub(crate) buckets: String,
}

/// The parts of `append`, for one transaction.
pub(crate) struct AppendParts {
    /// Makes an empty log unless there is one.
    pub(crate) create: String,
    /// Changes the row of the log, which locks it. The parameters are the first eight of `append`, and so is the result.
    pub(crate) raise: String,
    /// Stores the values `$4` of the types `$5` at the times `$3` as the last entries of the log.
    pub(crate) store: String,
}

impl LogStatements {
    pub(crate) fn new(names: &TableNames) -> Self {
        let TableNames { logs, log_entries, .. } = names;
        let of_log = "bucket = $1 AND key = $2";
        Self {
            append: append(names),
            append_parts: append_parts(names),
            next: format!("SELECT next_index FROM {logs} WHERE {of_log}"),
            read: read(names),
            trim: format!(
                "WITH l AS (UPDATE {logs} l SET first_index = GREATEST(first_index, next_index - keep, {oldest}) \
                 WHERE {of_log} RETURNING first_index) \
                 DELETE FROM {log_entries} WHERE {of_log} AND index < (SELECT first_index FROM l)",
                oldest = first_since(names, "$3 - keep_for_ms * 1000000", "keep_for_ms IS NOT NULL"),
            ),
            lock: format!("SELECT next_index FROM {logs} WHERE {of_log} FOR UPDATE"),
            remove_entries: format!(
                "WITH gone AS (DELETE FROM {log_entries} WHERE {of_log} AND index < $3 RETURNING index) \
                 SELECT count(*) FILTER (WHERE index >= $4) FROM gone"
            ),
            move_first: format!(
                "UPDATE {logs} SET first_index = GREATEST(first_index, LEAST(next_index, $3)) WHERE {of_log}"
            ),
            remove_log: format!("DELETE FROM {logs} WHERE {of_log}"),
            keys: format!(
                "SELECT key FROM {logs} WHERE bucket = $1 AND key > $2 AND left(key, length($3::text)) = $3 \
                 ORDER BY key LIMIT $4"
            ),
            buckets: format!("SELECT DISTINCT bucket FROM {logs} ORDER BY bucket"),
        }
    }
}

/// The columns of an existing log `l` after an append.
fn raised(names: &TableNames) -> String {
    format!(
        "first_index = CASE WHEN l.first_index = l.next_index AND cardinality($3::bigint[]) > 0 \
         THEN coalesce($4::bigint, l.next_index) \
         WHEN $5::boolean THEN GREATEST(l.first_index, l.next_index - l.keep, {oldest}) ELSE l.first_index END, \
         next_index = CASE WHEN cardinality($3::bigint[]) > 0 \
         THEN coalesce($4::bigint, l.next_index) + cardinality($3::bigint[]) ELSE l.next_index END, \
         previous_at = l.last_at, last_at = GREATEST(l.last_at, (SELECT max(t) FROM unnest($3::bigint[]) t)), \
         keep = CASE WHEN $5::boolean THEN $6::bigint ELSE l.keep END, \
         keep_for_ms = CASE WHEN $5::boolean THEN $7::bigint ELSE l.keep_for_ms END \
         WHERE coalesce($4::bigint, l.next_index) >= l.next_index",
        oldest = first_since(names, "$8::bigint - l.keep_for_ms * 1000000", "l.keep_for_ms IS NOT NULL"),
    )
}

/// What an append returns.
const RAISED: &str = "next_index - cardinality($3::bigint[]) AS base, first_index, next_index, keep, keep_for_ms";

/// The new entries, with their places from 1 on.
fn new_entries(values: &str, types: &str) -> String {
    format!(
        "SELECT n, v, ty, max(t) OVER (ORDER BY n) AS t \
         FROM unnest($3::bigint[], {values}::bytea[], {types}::text[]) WITH ORDINALITY AS u(t, v, ty, n)"
    )
}

fn append_parts(names: &TableNames) -> AppendParts {
    let TableNames { logs, log_entries, .. } = names;
    AppendParts {
        create: format!(
            "INSERT INTO {logs} (bucket, key, first_index, next_index, previous_at, last_at) \
             VALUES ($1, $2, 0, 0, 0, 0) ON CONFLICT (bucket, key) DO NOTHING"
        ),
        raise: format!("UPDATE {logs} l SET {} AND l.bucket = $1 AND l.key = $2 RETURNING {RAISED}", raised(names)),
        store: format!(
            "INSERT INTO {log_entries} (bucket, key, index, value, type, updated_at) \
             SELECT l.bucket, l.key, l.next_index - cardinality($3::bigint[]) + new.n - 1, new.v, new.ty, \
             GREATEST(new.t, l.previous_at) FROM {logs} l CROSS JOIN ({}) new \
             WHERE l.bucket = $1 AND l.key = $2",
            new_entries("$4", "$5")
        ),
    }
}

/// Times only grow, so the time of an entry is the latest of its own, those before it in the append, and that of the
/// last entry of the log, which the row keeps as `previous_at`.
fn append(names: &TableNames) -> String {
    let TableNames { logs, log_entries, .. } = names;
    format!(
        "WITH new AS MATERIALIZED ({new}), \
         l AS (INSERT INTO {logs} AS l \
         (bucket, key, first_index, next_index, previous_at, last_at, keep, keep_for_ms) \
         SELECT $1, $2, coalesce($4::bigint, 0), coalesce($4::bigint, 0) + count(*), 0, coalesce(max(t), 0), \
         $6::bigint, $7::bigint FROM new \
         ON CONFLICT (bucket, key) DO UPDATE SET {raised} RETURNING {RAISED}, previous_at), \
         stored AS (INSERT INTO {log_entries} (bucket, key, index, value, type, updated_at) \
         SELECT $1, $2, l.base + new.n - 1, new.v, new.ty, GREATEST(new.t, l.previous_at) FROM l, new) \
         SELECT base, first_index, next_index, keep, keep_for_ms FROM l",
        new = new_entries("$9", "$10"),
        raised = raised(names),
    )
}

/// The index of the first entry of a log that is not older than a time; if there is none, the index after the last entry,
/// or `first_index` without entries. NULL unless the condition holds.
///
/// All of it is what the statement saw when it began. An entry that was appended since, while the statement waited for
/// the row of the log, has a later index. So it is never taken for an old one, as it would be with `next_index`.
fn first_since(names: &TableNames, time: &str, condition: &str) -> String {
    let of_log = format!("FROM {} e WHERE e.bucket = $1 AND e.key = $2", names.log_entries);
    format!(
        "CASE WHEN {condition} THEN coalesce(\
         (SELECT e.index {of_log} AND e.updated_at >= {time} ORDER BY e.updated_at, e.index LIMIT 1), \
         (SELECT e.index + 1 {of_log} ORDER BY e.index DESC LIMIT 1), l.first_index) END"
    )
}

fn read(names: &TableNames) -> String {
    let TableNames { logs, log_entries, .. } = names;
    format!(
        "WITH kept AS MATERIALIZED (SELECT next_index, keep, keep_for_ms, \
         GREATEST(first_index, next_index - keep, {oldest}) AS first, {since} AS since \
         FROM {logs} l WHERE bucket = $1 AND key = $2) \
         SELECT k.first, k.next_index, k.keep, k.keep_for_ms, e.index, e.value, e.type, e.updated_at \
         FROM kept k LEFT JOIN LATERAL (SELECT * FROM (\
         SELECT *, sum(octet_length(value)) OVER (ORDER BY index) AS bytes, row_number() OVER (ORDER BY index) AS n \
         FROM (SELECT index, value, type, updated_at FROM {log_entries} WHERE bucket = $1 AND key = $2 \
         AND index >= GREATEST(k.first, k.since, CASE WHEN $4::bigint IS NULL THEN $3::bigint \
         ELSE k.next_index - $4 END) ORDER BY index LIMIT $5) p) q WHERE n = 1 OR bytes <= $8::bigint) e ON true \
         ORDER BY e.index",
        oldest = first_since(names, "$7::bigint - keep_for_ms * 1000000", "keep_for_ms IS NOT NULL"),
        since = first_since(names, "$6::bigint", "$6::bigint IS NOT NULL"),
    )
}
