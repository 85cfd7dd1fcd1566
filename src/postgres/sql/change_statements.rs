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
    /// The parts of `forget` for a Citus cluster, which carries out each of them on the node of the bucket alone.
    pub(crate) forget_parts: ForgetParts,
    /// Removes entries that have expired.
    pub(crate) remove_expired: RemoveExpired,
    /// Removes entries of the keys `$4` that have expired.
    pub(crate) remove_expired_keys: RemoveExpired,
}

/// The parts of `forget`, for one transaction.
pub(crate) struct ForgetParts {
    /// Moves the mark to the last change up to the revision `$2`.
    pub(crate) mark: String,
    /// Removes the changes up to the mark and to the revision `$2`.
    pub(crate) remove: String,
}

/// Statements that remove entries that have expired at `$2`. Their last changes are remembered if they are later than the
/// revision `$3`.
pub(crate) struct RemoveExpired {
    /// Does all, and counts the entries.
    pub(crate) at_once: String,
    /// The first part, for a Citus cluster: remembers the changes. The bucket must be locked.
    pub(crate) remember: String,
    /// The second part, for a Citus cluster: removes the entries. If there are keys, they are `$3`.
    pub(crate) remove: String,
}

impl ChangeStatements {
    pub(crate) fn new(names: &TableNames) -> Self {
        Self {
            since: since(names),
            forget: forget(names),
            forget_parts: forget_parts(names),
            remove_expired: remove_expired(names, |_| String::new()),
            remove_expired_keys: remove_expired(names, |keys| format!("AND key = ANY({keys}::text[])")),
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

fn forget(names: &TableNames) -> String {
    let (changes, old) = (&names.changes, old_changes());
    format!(
        "WITH past AS MATERIALIZED (SELECT max(revision) AS revision FROM (SELECT revision FROM {changes} \
         WHERE {old} ORDER BY revision LIMIT $3) p), \
         gone AS (DELETE FROM {changes} WHERE {old} AND revision <= (SELECT revision FROM past) RETURNING 1), \
         marked AS ({}) SELECT count(*) FROM gone",
        mark(names, "past")
    )
}

fn forget_parts(names: &TableNames) -> ForgetParts {
    let (changes, old) = (&names.changes, old_changes());
    ForgetParts {
        mark: mark(names, &format!("(SELECT max(revision) AS revision FROM {changes} WHERE {old}) past")),
        remove: format!(
            "DELETE FROM {changes} WHERE {old} \
             AND revision <= (SELECT revision FROM {changes} WHERE bucket = $1 AND key = '')"
        ),
    }
}

/// The changes up to the revision `$2`.
fn old_changes() -> String {
    format!("bucket = $1 AND bucket {REVISIONS_COLLATION} = $1 AND key <> '' AND revision <= $2")
}

/// Moves the mark to the revision of `past`, if it has one. A bucket without a mark gets one: somebody has emptied the
/// table, or an older kvs has made the bucket.
fn mark(names: &TableNames, past: &str) -> String {
    let (buckets, has_mark) = (&names.buckets, has_mark(names));
    let marked = format!(
        "SELECT b.bucket, '', CASE WHEN {has_mark} THEN past.revision ELSE b.revision END FROM {past}, {buckets} b \
         WHERE b.bucket = $1 AND (past.revision IS NOT NULL OR NOT {has_mark})"
    );
    remember(names, &marked)
}

/// Whether the bucket has a mark.
fn has_mark(names: &TableNames) -> String {
    format!("EXISTS (SELECT 1 FROM {} WHERE bucket = $1 AND key = '')", names.changes)
}

/// The last change of an entry that is removed must not be lost: a caller may not have seen it. A mark that is missing
/// stays missing, because earlier deletions may be unknown.
fn remove_expired(names: &TableNames, of_keys: impl Fn(&str) -> String) -> RemoveExpired {
    let (table, has_mark) = (&names.table, has_mark(names));
    let expired = |keys: &str| format!("bucket = $1 AND expires_at <= $2 {}", of_keys(keys));
    let last_changes = |entries: &str| {
        let last = format!(
            "SELECT bucket, CASE WHEN revision > $3 THEN key ELSE '' END, max(revision) FROM {entries} \
             AND (revision > $3 OR {has_mark}) GROUP BY 1, 2"
        );
        remember(names, &last)
    };
    RemoveExpired {
        at_once: format!(
            "WITH gone AS (DELETE FROM {table} WHERE {} RETURNING bucket, key, revision), \
             remembered AS ({}) SELECT count(*) FROM gone",
            expired("$4"),
            last_changes("gone WHERE true")
        ),
        remember: last_changes(&format!("{table} WHERE {}", expired("$4"))),
        remove: format!("DELETE FROM {table} WHERE {}", expired("$3")),
    }
}
