//! Entries as rows: the columns there and back.

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::model::{ContentType, Entry, Error, Key, Kind, Result, Revision, Time};

/// The entry of a key in the columns from that one on. `last` is the type of the one before, which is mostly the same again.
///
/// # Errors
/// `Damaged` if it is not one that kvs has written.
pub(super) fn entry(row: &Row, from: usize, key: &Key, last: &mut ContentType) -> Result<Entry> {
    let bad = |e: Error| Error::new(Kind::Damaged, format!("the row of {key:?} is damaged")).because(e);
    match column::<Option<&str>>(row, from + 1)? {
        Some(text) if text == last.as_str() => {}
        Some(text) => *last = ContentType::new(text).map_err(bad)?,
        None => *last = ContentType::default(),
    }
    with_type(row, from, last.clone())
}

/// The entry that a write found, which is done: what somebody has made of its type by hand must not make that a failure.
pub(super) fn replaced(row: &Row, from: usize) -> Result<Entry> {
    let content_type = column::<Option<&str>>(row, from + 1)?.and_then(|text| ContentType::new(text).ok());
    with_type(row, from, content_type.unwrap_or_default())
}

fn with_type(row: &Row, from: usize, content_type: ContentType) -> Result<Entry> {
    Ok(Entry {
        value: Bytes::copy_from_slice(column(row, from)?),
        content_type,
        revision: revision(column(row, from + 2)?),
        created: Time::from_nanos(column(row, from + 3)?),
        modified: column::<Option<i64>>(row, from + 4)?.map(Time::from_nanos),
        expires: column::<Option<i64>>(row, from + 5)?.map(Time::from_nanos),
    })
}

/// The place in a list, from 0, that a column has; none if there is no row of the table behind it.
pub(super) fn place(row: &Row, at: usize) -> Result<Option<usize>> {
    Ok(column::<Option<i64>>(row, at)?.and_then(|n| usize::try_from(n - 1).ok()))
}

/// A key as the table has it.
pub(super) fn key(text: &str) -> Result<Key> {
    let bad = |e| Error::new(Kind::Damaged, format!("there is a row whose key {text:?} is none; remove it")).because(e);
    Key::new(text).map_err(bad)
}

/// The value of a column.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
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

/// The parameters of a statement that stores and removes, with their types, so that it is planned anew: the bucket, a number, keys,
/// values and types; then lists of numbers; then the keys of what is to be gone.
pub(super) fn typed<'a>(
    stored: &[&'a (dyn ToSql + Sync)],
    gone: &'a (dyn ToSql + Sync),
) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let first = [Type::TEXT, Type::INT8, Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::TEXT_ARRAY];
    let types = first.into_iter().chain(std::iter::repeat(Type::INT8_ARRAY));
    stored.iter().copied().zip(types).chain([(gone, Type::TEXT_ARRAY)]).collect()
}
