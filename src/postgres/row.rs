//! Entries as rows: the texts of the statements that read and write them, and the columns there and back.

use bytes::Bytes;
use tokio_postgres::Row;

use super::schema::Names;
use crate::model::{ContentType, Entry, Error, Key, Kind, Result, Revision, Time};

/// The columns of an entry, in the order in which [`entry`] reads them.
const COLUMNS: &str = "e.key, e.value, e.type, e.revision, e.created_at, e.modified_at, e.expires_at";

/// What replaces an entry that is there.
const REPLACED: &str = "ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value, type = excluded.type, \
     revision = excluded.revision, created_at = excluded.created_at, modified_at = excluded.modified_at, \
     expires_at = excluded.expires_at";

/// The texts of the statements. Each is prepared once on each connection. In all of them `$1` is the bucket.
pub(super) struct Statements {
    /// Fails if the tables are not there.
    pub(super) look: String,
    /// Revision and entries of keys `$2`.
    pub(super) get: String,
    /// The revision.
    pub(super) revision: String,
    /// The same, and nobody else writes the bucket until the end of the transaction.
    pub(super) lock: String,
    /// Entries of keys `$2`, for who holds the lock.
    pub(super) held: String,
    /// Makes the row of a bucket.
    pub(super) born: String,
    /// Stores and removes entries and sets the revision, for who holds the lock.
    pub(super) write: String,
    /// Stores an entry, if nobody writes the bucket meanwhile.
    pub(super) put: String,
    /// Stores and removes entries, if nobody writes the bucket meanwhile.
    pub(super) once: String,
    /// All buckets.
    pub(super) buckets: String,
}

impl Statements {
    pub(super) fn new(names: &Names) -> Self {
        let Names { table, buckets, .. } = names;
        Self {
            look: format!("SELECT bucket FROM {buckets} LIMIT 0; SELECT bucket FROM {table} LIMIT 0"),
            get: format!(
                "SELECT b.revision, {COLUMNS} FROM {buckets} b \
                 LEFT JOIN {table} e ON e.bucket = $1 AND e.key = ANY($2::text[]) WHERE b.bucket = $1"
            ),
            revision: format!("SELECT revision FROM {buckets} WHERE bucket = $1"),
            lock: format!("SELECT revision FROM {buckets} WHERE bucket = $1 FOR UPDATE"),
            // Key by key, whatever the server believes of a table that has just been filled.
            held: format!(
                "SELECT {COLUMNS} FROM unnest($2::text[]) AS g (key) CROSS JOIN LATERAL \
                 (SELECT * FROM {table} t WHERE t.bucket = $1 AND t.key = g.key LIMIT 1) e"
            ),
            born: format!("INSERT INTO {buckets} (bucket, revision) VALUES ($1, 0) ON CONFLICT (bucket) DO NOTHING"),
            write: Self::write(names),
            put: Self::put(names),
            once: Self::once(names),
            buckets: format!("SELECT bucket FROM {buckets} WHERE revision > 0 ORDER BY bucket"),
        }
    }

    /// `$2` the revision, `$3` to `$9` the entries to be there, `$10` the keys to be gone.
    fn write(Names { table, buckets, .. }: &Names) -> String {
        format!(
            "WITH moved AS (UPDATE {buckets} SET revision = $2 WHERE bucket = $1), \
             stored AS (INSERT INTO {table} (bucket, key, value, type, revision, created_at, modified_at, expires_at) \
             SELECT $1, g.* FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[], \
             $8::bigint[], $9::bigint[]) AS g {REPLACED}) \
             DELETE FROM {table} WHERE bucket = $1 AND key = ANY($10::text[])"
        )
    }

    /// `$2` the time, `$3` to `$7` the entry but for its revision. One row if the bucket is there; without a new revision if
    /// another wrote it meanwhile: the row that was seen and the row that is changed must be the same, and if they are,
    /// nothing else has changed since the statement began.
    fn put(Names { table, buckets, .. }: &Names) -> String {
        format!(
            "WITH old AS (SELECT revision FROM {buckets} WHERE bucket = $1), \
             e AS (SELECT key, value, type, revision, created_at, modified_at, expires_at FROM {table} \
             WHERE bucket = $1 AND key = $3 AND (expires_at IS NULL OR expires_at > $2)), \
             moved AS (UPDATE {buckets} SET revision = GREATEST($2, revision + 1) \
             WHERE bucket = $1 AND revision = (SELECT revision FROM old) RETURNING revision), \
             stored AS (INSERT INTO {table} (bucket, key, value, type, revision, created_at, modified_at, expires_at) \
             SELECT $1, $3, $4::bytea, $5::text, m.revision, COALESCE((SELECT created_at FROM e), m.revision), \
             $6::bigint, $7::bigint FROM moved m {REPLACED}) \
             SELECT o.revision, m.revision, {COLUMNS} FROM old o LEFT JOIN moved m ON true LEFT JOIN e ON true"
        )
    }

    /// The same for many: `$2` the time, `$3` to `$7` the keys, values (none: to be gone), types, times of modification
    /// and ends, `$8` again the keys to be gone. Each that changes something takes a revision, in their order; the last is the bucket's.
    fn once(Names { table, buckets, .. }: &Names) -> String {
        format!(
            "WITH old AS (SELECT revision FROM {buckets} WHERE bucket = $1), \
             e AS (SELECT key, value, type, revision, created_at, modified_at, expires_at FROM {table} \
             WHERE bucket = $1 AND key = ANY($3::text[]) AND (expires_at IS NULL OR expires_at > $2)), \
             work AS (SELECT g.*, e.created_at AS born, \
             count(*) FILTER (WHERE g.value IS NOT NULL OR e.key IS NOT NULL) OVER (ORDER BY g.n) AS place \
             FROM unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[]) \
             WITH ORDINALITY AS g (key, value, type, modified_at, expires_at, n) LEFT JOIN e ON e.key = g.key), \
             moved AS (UPDATE {buckets} SET revision = GREATEST($2, revision + 1) + (SELECT max(place) FROM work) - 1 \
             WHERE bucket = $1 AND revision = (SELECT revision FROM old) AND (SELECT max(place) FROM work) > 0 \
             RETURNING revision), \
             base AS (SELECT m.revision - (SELECT max(place) FROM work) AS revision FROM moved m), \
             stored AS (INSERT INTO {table} (bucket, key, value, type, revision, created_at, modified_at, expires_at) \
             SELECT $1, w.key, w.value, w.type, base.revision + w.place, COALESCE(w.born, base.revision + w.place), \
             w.modified_at, w.expires_at FROM base, work w WHERE w.value IS NOT NULL {REPLACED}), \
             removed AS (DELETE FROM {table} USING moved \
             WHERE bucket = $1 AND key = ANY($8::text[])) \
             SELECT o.revision, m.revision, {COLUMNS} FROM old o LEFT JOIN moved m ON true LEFT JOIN e ON true"
        )
    }
}

/// The entry in the columns from that one on, with its key; none if there is no row of the table behind them.
///
/// # Errors
/// `Damaged` if it is not one that kvs has written.
pub(super) fn entry(row: &Row, from: usize) -> Result<Option<(Key, Entry)>> {
    let Some(key) = column::<Option<&str>>(row, from)? else { return Ok(None) };
    let key = self::key(key)?;
    let bad = |e: Error| Error::new(Kind::Damaged, format!("the row of {key:?} is damaged")).because(e);
    let content_type = match column::<Option<&str>>(row, from + 2)? {
        Some(text) => ContentType::new(text).map_err(bad)?,
        None => ContentType::default(),
    };
    let entry = Entry {
        value: Bytes::copy_from_slice(column(row, from + 1)?),
        content_type,
        revision: revision(column(row, from + 3)?),
        created: Time::from_nanos(column(row, from + 4)?),
        modified: column::<Option<i64>>(row, from + 5)?.map(Time::from_nanos),
        expires: column::<Option<i64>>(row, from + 6)?.map(Time::from_nanos),
    };
    Ok(Some((key, entry)))
}

/// A key as the table has it.
pub(super) fn key(text: &str) -> Result<Key> {
    let bad = |e| Error::new(Kind::Damaged, format!("there is a row whose key {text:?} is none; remove it")).because(e);
    Key::new(text).map_err(bad)
}

/// The value of a column.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    let bad =
        |e| Error::new(Kind::Damaged, "a column of the table is of another type; see docs/postgres.md").because(e);
    row.try_get(at).map_err(bad)
}

/// A revision as the table has it.
pub(super) fn revision(number: i64) -> Revision {
    Revision::new(u64::try_from(number).unwrap_or(0))
}

/// A revision for the table.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}

/// A type for the table.
pub(super) fn type_name(content_type: &ContentType) -> Option<&str> {
    (!content_type.is_default()).then(|| content_type.as_str())
}
