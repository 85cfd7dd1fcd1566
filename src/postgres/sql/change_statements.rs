//! The statements about `<table>_changes`, which remembers the changes that the revisions of the entries do not show:
//! deletions, new expiries and restored entries. It has at most one row for each key, with its last such change.
//!
//! The row with the empty key, which no entry has, is the mark of the bucket: changes up to its revision are no longer
//! all known, and later ones are.

use super::row::ENTRY_COLUMNS;
use super::schema::{REVISIONS_COLLATION, TableNames};

pub(crate) struct ChangeStatements {
    /// Reads the changes after the revision `$2` of keys that begin with `$3`, at most `$4`, in the order of their
    /// revisions.
    ///
    /// Each row begins with the revision of the bucket and the mark. Then come the revision of a change, its key and
    /// the columns of its entry. There is one row without a change if there are no changes, and no row if there is no
    /// bucket.
    pub(crate) since: String,
    /// Forgets the `$3` oldest changes up to the revision `$2`, moves the mark, and counts the rows that are removed.
    pub(crate) forget: String,
    /// Removes the entries that have expired at `$2`, and counts them. Their last changes are remembered if they are
    /// later than the revision `$3`.
    pub(crate) remove_expired: String,
    /// Does the same for the keys `$4`.
    pub(crate) remove_expired_keys: String,
}

impl ChangeStatements {
    pub(crate) fn new(names: &TableNames) -> Self {
        Self {
            since: since(names),
            forget: forget(names),
            remove_expired: remove_expired(names, ""),
            remove_expired_keys: remove_expired(names, "AND key = ANY($4::text[])"),
        }
    }
}

/// Remembers the changes in `rows`, which select bucket, key and revision, each key once.
pub(super) fn remember(names: &TableNames, rows: &str) -> String {
    format!(
        "INSERT INTO {} AS c (bucket, key, revision) {rows} \
         ON CONFLICT (bucket, key) DO UPDATE SET revision = GREATEST(c.revision, excluded.revision)",
        names.changes
    )
}

/// A change is in the row of its entry or in that of `changes`, whichever has the later revision. Both tables are read
/// in the order of their revisions, as far as the limit needs. The counterpart of each row is looked up by its key.
fn since(names: &TableNames) -> String {
    let TableNames { table, buckets, changes, .. } = names;
    let begins = |key: &str| format!("left({key}, length($3::text)) = $3");
    let newer =
        |row: &str| format!("{row}.bucket = $1 AND {row}.bucket {REVISIONS_COLLATION} = $1 AND {row}.revision > $2");
    format!(
        "SELECT b.revision, mark.revision, u.* FROM {buckets} b \
         LEFT JOIN {changes} mark ON mark.bucket = $1 AND mark.key = '' \
         LEFT JOIN LATERAL (SELECT * FROM (\
         (SELECT e.revision AS changed, e.key, {entry} FROM {table} e LEFT JOIN LATERAL \
         (SELECT revision FROM {changes} WHERE bucket = $1 AND key = e.key LIMIT 1) c ON true \
         WHERE {newer_entry} AND {entry_begins} AND (c.revision >= e.revision) IS NOT TRUE \
         ORDER BY e.revision LIMIT $4) \
         UNION ALL \
         (SELECT c.revision, c.key, {entry} FROM {changes} c LEFT JOIN LATERAL \
         (SELECT {ENTRY_COLUMNS} FROM {table} WHERE bucket = $1 AND key = c.key LIMIT 1) e ON true \
         WHERE {newer_change} AND c.key <> '' AND {change_begins} \
         AND (e.revision > c.revision) IS NOT TRUE \
         ORDER BY c.revision LIMIT $4)) u ORDER BY changed LIMIT $4) u ON true \
         WHERE b.bucket = $1 ORDER BY u.changed",
        entry = "e.value, e.type, e.revision, e.created_at, e.modified_at, e.expires_at",
        newer_entry = newer("e"),
        newer_change = newer("c"),
        entry_begins = begins("e.key"),
        change_begins = begins("c.key"),
    )
}

/// A bucket without a mark gets one: somebody has emptied the table, or an older kvs has made the bucket.
fn forget(names: &TableNames) -> String {
    let TableNames { buckets, changes, .. } = names;
    let has_mark = has_mark(names);
    let of_bucket = format!("bucket = $1 AND bucket {REVISIONS_COLLATION} = $1 AND key <> ''");
    let marked = remember(
        names,
        &format!(
            "SELECT $1, '', CASE WHEN {has_mark} THEN past.revision ELSE b.revision END FROM past, {buckets} b \
             WHERE b.bucket = $1 AND (past.revision IS NOT NULL OR NOT {has_mark})"
        ),
    );
    format!(
        "WITH past AS MATERIALIZED (SELECT max(revision) AS revision FROM (SELECT revision FROM {changes} \
         WHERE {of_bucket} AND revision <= $2 ORDER BY revision LIMIT $3) p), \
         gone AS (DELETE FROM {changes} WHERE {of_bucket} AND revision <= (SELECT revision FROM past) RETURNING 1), \
         marked AS ({marked}) SELECT count(*) FROM gone"
    )
}

/// Whether the bucket has a mark.
fn has_mark(names: &TableNames) -> String {
    format!("EXISTS (SELECT 1 FROM {} WHERE bucket = $1 AND key = '')", names.changes)
}

/// The last change of an entry that is removed must not be lost: a caller may not have seen it. A mark that is missing
/// stays missing, because earlier deletions may be unknown.
fn remove_expired(names: &TableNames, condition: &str) -> String {
    let remembered = remember(
        names,
        &format!(
            "SELECT $1, key, revision FROM gone WHERE revision > $3 \
             UNION ALL SELECT $1, '', max(revision) FROM gone WHERE revision <= $3 AND {} \
             HAVING max(revision) IS NOT NULL",
            has_mark(names)
        ),
    );
    format!(
        "WITH gone AS (DELETE FROM {} WHERE bucket = $1 AND expires_at <= $2 {condition} RETURNING key, revision), \
         remembered AS ({remembered}) SELECT count(*) FROM gone",
        names.table
    )
}
