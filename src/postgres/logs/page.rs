//! Reads logs. A page is one statement, so all of it is of the same moment.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;

use super::LogName;
use crate::model::{
    Bucket, ContentType, Error, ErrorKind, Key, LogEntry, LogKeysQuery, LogPage, LogQuery, LogStart, Result, Retention,
    Time,
};
use crate::postgres::connect::pool::Pool;
use crate::postgres::sql::row;
use crate::postgres::sql::row::column;

/// Reads a page of a log; `None` if there is no such log.
pub(crate) async fn read(pool: &Pool, name: LogName<'_>, query: &LogQuery) -> Result<Option<LogPage>> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (start, from_end) = match query.start {
        LogStart::Index(index) => (Some(number(index)), None),
        LogStart::FromEnd(count) => (None, Some(number(count))),
    };
    let (bucket, key) = (name.bucket.as_str(), name.key.as_str());
    let (since, now) = (query.since.map(Time::nanos), pool.now().nanos());
    let (limit, bytes) = (number(query.limit as u64), number(LogQuery::MAX_PAGE_BYTES as u64));
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&bucket, &key, &start, &from_end, &limit, &since, &now, &bytes];
    let rows = pool.query(&pool.statements().logs.read, &parameters).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut page = LogPage {
        entries: vec![],
        first: index(first, 0)?,
        next: index(first, 1)?,
        retention: Retention {
            max_entries: optional(first, 2)?,
            max_age: optional(first, 3)?.map(Duration::from_millis),
        },
    };
    for row in &rows {
        if column::<Option<i64>>(row, 4)?.is_some() {
            page.entries.push(entry(row, name.key)?);
        }
    }
    Ok(Some(page))
}

fn entry(row: &Row, key: &Key) -> Result<LogEntry> {
    let content_type = match column::<Option<&str>>(row, 6)? {
        None => ContentType::default(),
        Some(text) => ContentType::new(text).map_err(|e| {
            Error::new(ErrorKind::Corrupt, format!("an entry of log {key:?} is damaged")).with_source(e)
        })?,
    };
    Ok(LogEntry {
        index: index(row, 4)?,
        value: Bytes::copy_from_slice(column(row, 5)?),
        content_type,
        updated: Time::from_nanos(column(row, 7)?),
    })
}

fn index(row: &Row, at: usize) -> Result<u64> {
    Ok(u64::try_from(column::<i64>(row, at)?).unwrap_or(0))
}

fn optional(row: &Row, at: usize) -> Result<Option<u64>> {
    Ok(column::<Option<i64>>(row, at)?.map(|number| u64::try_from(number).unwrap_or(0)))
}

/// The index of the next entry of a log; 0 if there is no log.
pub(crate) async fn next_index(pool: &Pool, name: LogName<'_>) -> Result<u64> {
    let rows = pool.query(&pool.statements().logs.next, &[&name.bucket.as_str(), &name.key.as_str()]).await?;
    rows.first().map_or(Ok(0), |row| index(row, 0))
}

/// The keys of the logs of a bucket.
pub(crate) async fn keys(pool: &Pool, bucket: &Bucket, query: &LogKeysQuery) -> Result<Vec<Key>> {
    if query.prefix.contains('\0') {
        // No key has it, and a text in PostgreSQL cannot contain it.
        return Ok(vec![]);
    }
    let after = query.after.as_ref().map_or("", Key::as_str);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = pool.query(&pool.statements().logs.keys, &[&bucket.as_str(), &after, &query.prefix, &limit]).await?;
    rows.iter().map(|found| row::key(&pool.names().logs, column(found, 0)?)).collect()
}
