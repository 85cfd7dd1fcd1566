//! Entries as rows of the table, in both directions.

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::model::{ContentType, Entry, Error, ErrorKind, Key, Result, Revision, Time};

/// The columns of an entry, in the order in which [`entry`] reads them.
pub(super) const ENTRY_COLUMNS: &str = "value, type, revision, created_at, modified_at, expires_at";

/// Reads an entry from the columns that begin at `first`. `last_type` is the content type of the previous row. Most
/// rows have the same one, which is then shared instead of allocated.
///
/// # Errors
/// `Corrupt` if kvs cannot have written the row.
pub(crate) fn entry(row: &Row, first: usize, key: &Key, last_type: &mut ContentType) -> Result<Entry> {
    let bad = |e: Error| Error::new(ErrorKind::Corrupt, format!("the row of {key:?} is damaged")).with_source(e);
    match column::<Option<&str>>(row, first + 1)? {
        Some(text) if text == last_type.as_str() => {}
        Some(text) => *last_type = ContentType::new(text).map_err(bad)?,
        None => *last_type = ContentType::default(),
    }
    with_type(row, first, last_type.clone())
}

/// Reads an entry that a write has replaced. The write is already committed, so an invalid content type (set by hand)
/// must not become an error.
pub(crate) fn replaced_entry(row: &Row, first: usize) -> Result<Entry> {
    let content_type = column::<Option<&str>>(row, first + 1)?.and_then(|text| ContentType::new(text).ok());
    with_type(row, first, content_type.unwrap_or_default())
}

fn with_type(row: &Row, first: usize, content_type: ContentType) -> Result<Entry> {
    Ok(Entry {
        value: Bytes::copy_from_slice(column(row, first)?),
        content_type,
        revision: revision(column(row, first + 2)?),
        created: Time::from_nanos(column(row, first + 3)?),
        modified: column::<Option<i64>>(row, first + 4)?.map(Time::from_nanos),
        expires: column::<Option<i64>>(row, first + 5)?.map(Time::from_nanos),
    })
}

/// The position in a list of parameters, from 0. SQL counts from 1. `None` if the column is NULL.
pub(crate) fn position(row: &Row, column_index: usize) -> Result<Option<usize>> {
    Ok(column::<Option<i64>>(row, column_index)?.and_then(|n| usize::try_from(n - 1).ok()))
}

/// Checks a key that was read from the table.
pub(crate) fn key(table: &str, text: &str) -> Result<Key> {
    Key::new(text).map_err(|e| {
        let what = format!("the table {table} contains the invalid key {text:?}; delete that row");
        Error::new(ErrorKind::Corrupt, what).with_source(e)
    })
}

/// The value of a column.
pub(crate) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|e| {
        let what = "a column of the table does not have the expected type; see docs/postgres.md";
        Error::new(ErrorKind::Corrupt, what).with_source(e)
    })
}

/// A revision from the table.
pub(crate) fn revision(number: i64) -> Revision {
    Revision::new(u64::try_from(number).unwrap_or(0))
}

/// A revision for the table.
pub(crate) fn revision_number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}

/// A content type for the table: NULL is the default.
pub(crate) fn type_name(content_type: &ContentType) -> Option<&str> {
    (!content_type.is_default()).then(|| content_type.as_str())
}

/// The typed parameters of a statement that stores and deletes. The server plans such a statement anew each time.
///
/// `stored` is the bucket, a number, the lists of keys, values and types, and then lists of numbers. `others` are the
/// parameters after them.
pub(crate) fn typed_parameters<'a>(
    stored: &[&'a (dyn ToSql + Sync)],
    others: impl IntoIterator<Item = (&'a (dyn ToSql + Sync), Type)>,
) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let first = [Type::TEXT, Type::INT8, Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::TEXT_ARRAY];
    let types = first.into_iter().chain(std::iter::repeat(Type::INT8_ARRAY));
    stored.iter().copied().zip(types).chain(others).collect()
}
