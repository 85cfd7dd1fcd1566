//! Reads keys of a bucket and its revision.
//!
//! A lookup is one statement, so its entries and its revision are of the same moment. Rows are decoded while the server
//! sends the next ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::pin::pin;

use bytes::Bytes;
use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use futures_util::future::join;
use tokio::task::yield_now;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, RowStream, Statement};

use crate::model::{Bucket, ContentType, Entry, Key, Result, Revision, Snapshot, Time};
use crate::postgres::connect::pool::{Pool, discard_if_late};
use crate::postgres::connect::url::ExpiryPolicy;
use crate::postgres::error::{PgError, Retry};
use crate::postgres::sql::lookup_statements::LookupStatements;
use crate::postgres::sql::row::{column, entry, position, revision};
use crate::postgres::sql::statements::Statements;
use crate::postgres::write::expired_entries;

/// A longer list of keys uses the statement that checks whether the table is small.
const MAX_SHORT_LIST_KEYS: usize = 200;

/// The parts of an entry that a lookup can read.
trait EntryColumns: Clone + Send {
    /// The column of the bucket's revision, in the row without an entry.
    const REVISION_COLUMN: usize;

    fn statements(statements: &Statements) -> &LookupStatements;

    /// Reads the columns from 1 on.
    fn read(row: &Row, key: &Key, last_type: &mut ContentType) -> Result<Self>;

    fn expires(&self) -> Option<Time>;
}

impl EntryColumns for Entry {
    const REVISION_COLUMN: usize = 3;

    fn statements(statements: &Statements) -> &LookupStatements {
        &statements.entries
    }

    fn read(row: &Row, key: &Key, last_type: &mut ContentType) -> Result<Self> {
        entry(row, 1, key, last_type)
    }

    fn expires(&self) -> Option<Time> {
        self.expires
    }
}

/// The value of an entry, with its expiry.
#[derive(Clone)]
struct ExpiringValue {
    value: Bytes,
    expires: Option<Time>,
}

impl EntryColumns for ExpiringValue {
    const REVISION_COLUMN: usize = 2;

    fn statements(statements: &Statements) -> &LookupStatements {
        &statements.values
    }

    fn read(row: &Row, _: &Key, _: &mut ContentType) -> Result<Self> {
        let value = Bytes::copy_from_slice(column(row, 1)?);
        Ok(Self { value, expires: column::<Option<i64>>(row, 2)?.map(Time::from_nanos) })
    }

    fn expires(&self) -> Option<Time> {
        self.expires
    }
}

/// Reads the entries of keys.
pub(crate) async fn entries(pool: &Pool, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
    let (revision, entries) = lookup(pool, bucket, keys).await?;
    Ok(Snapshot { revision, entries })
}

/// Reads the values of keys.
pub(crate) async fn values(pool: &Pool, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
    let (_, found) = lookup::<ExpiringValue>(pool, bucket, keys).await?;
    Ok(found.into_iter().map(|found| found.map(|found| found.value)).collect())
}

/// Reads the revision of a bucket.
pub(crate) async fn bucket_revision(pool: &Pool, bucket: &Bucket) -> Result<Revision> {
    let rows = pool.query(&pool.statements().revision, &[&bucket.as_str()]).await?;
    rows.first().map_or(Ok(Revision::ZERO), |row| column(row, 0).map(revision))
}

/// Looks up keys and leaves out expired entries.
async fn lookup<T: EntryColumns>(pool: &Pool, bucket: &Bucket, keys: &[Key]) -> Result<(Revision, Vec<Option<T>>)> {
    let mut retry = Retry::default();
    let (revision, mut found) = loop {
        match try_lookup::<T>(pool, bucket, keys).await {
            Ok(found) => break found,
            Err(error) => pool.retry(&mut retry, error).await?,
        }
    };
    let now = pool.now();
    let mut expired = vec![];
    for (key, slot) in keys.iter().zip(&mut found) {
        if slot.as_ref().and_then(T::expires).is_some_and(|expires| expires <= now) {
            *slot = None;
            expired.push(key.clone());
        }
    }
    if !expired.is_empty() && pool.url().expiry == ExpiryPolicy::OnRead {
        remove_expired(pool, bucket, expired, now);
    }
    Ok((revision, found))
}

async fn try_lookup<T: EntryColumns>(
    pool: &Pool,
    bucket: &Bucket,
    keys: &[Key],
) -> Result<(Revision, Vec<Option<T>>), PgError> {
    let client = pool.client().await?;
    let found = pool.response(read_rows(&client, pool, bucket, keys), PgError::no_response).await;
    discard_if_late(client, &found);
    found
}

async fn read_rows<T: EntryColumns>(
    client: &Client,
    pool: &Pool,
    bucket: &Bucket,
    keys: &[Key],
) -> Result<(Revision, Vec<Option<T>>), PgError> {
    let statements = T::statements(pool.statements());
    let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
    let (mut found, mut bucket_revision) = (FoundEntries::new(keys), None);
    // Preparing fails on a server that has no function for the size of a table.
    let is_long = names.len() > MAX_SHORT_LIST_KEYS;
    let many = if is_long { client.prepare_cached(&statements.many).await.ok() } else { None };
    if let Some(statement) = many {
        // The positions of the keys are computed while the server works.
        let positions = async {
            yield_now().await;
            KeyPositions::of(&names)
        };
        let (rows, positions) = join(rows(client, &statement, [&bucket.as_str(), &names]), positions).await;
        let mut rows = pin!(rows?);
        while let Some(row) = rows.try_next().await.map_err(PgError::query)? {
            match column::<Option<&str>>(&row, 0)? {
                Some(name) => found.set(&row, positions.first.get(name).copied())?,
                None => bucket_revision = column(&row, T::REVISION_COLUMN)?,
            }
        }
        for repetition in positions.repetitions {
            found.repeat(&repetition);
        }
    } else {
        let (text, key_parameter): (&str, &(dyn ToSql + Sync)) = match names.as_slice() {
            [key] => (&statements.one, key),
            _ => (&statements.each, &names),
        };
        let statement = client.prepare_cached(text).await.map_err(PgError::query)?;
        let mut rows = pin!(rows(client, &statement, [&bucket.as_str(), key_parameter]).await?);
        while let Some(row) = rows.try_next().await.map_err(PgError::query)? {
            match position(&row, 0)? {
                Some(at) => found.set(&row, Some(at))?,
                None => bucket_revision = column(&row, T::REVISION_COLUMN)?,
            }
        }
    }
    Ok(found.finish(bucket_revision))
}

async fn rows(
    client: &Client,
    statement: &Statement,
    parameters: [&(dyn ToSql + Sync); 2],
) -> Result<RowStream, PgError> {
    client.query_raw(statement, parameters).await.map_err(PgError::query)
}

/// Removes expired entries in the background; the reader does not wait.
fn remove_expired(pool: &Pool, bucket: &Bucket, keys: Vec<Key>, now: Time) {
    let (pool, bucket) = (pool.clone(), bucket.clone());
    tokio::spawn(async move {
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        if let Err(error) = expired_entries::remove_expired(&pool, &bucket, now, Some(&names)).await {
            tracing::debug!("cannot remove expired entries from bucket {bucket}: {error}");
        }
    });
}

/// The positions of the keys in a list that may contain a key more than once.
struct KeyPositions<'a> {
    first: HashMap<&'a str, usize>,
    repetitions: Vec<Repetition>,
}

/// A further position of a key.
struct Repetition {
    at: usize,
    first: usize,
}

impl<'a> KeyPositions<'a> {
    fn of(names: &[&'a str]) -> Self {
        let mut positions = Self { first: HashMap::with_capacity(names.len()), repetitions: vec![] };
        for (at, name) in names.iter().enumerate() {
            match positions.first.entry(*name) {
                MapEntry::Vacant(vacant) => {
                    vacant.insert(at);
                }
                MapEntry::Occupied(first) => positions.repetitions.push(Repetition { at, first: *first.get() }),
            }
        }
        positions
    }
}

/// The entries that were found so far, one slot per key.
struct FoundEntries<'a, T> {
    keys: &'a [Key],
    slots: Vec<Option<T>>,
    last_type: ContentType,
}

impl<'a, T: EntryColumns> FoundEntries<'a, T> {
    fn new(keys: &'a [Key]) -> Self {
        Self { keys, slots: vec![None; keys.len()], last_type: ContentType::default() }
    }

    fn set(&mut self, row: &Row, at: Option<usize>) -> Result<()> {
        let Some(at) = at else { return Ok(()) };
        if let (Some(key), Some(slot)) = (self.keys.get(at), self.slots.get_mut(at)) {
            *slot = Some(T::read(row, key, &mut self.last_type)?);
        }
        Ok(())
    }

    fn repeat(&mut self, repetition: &Repetition) {
        let known = self.slots.get(repetition.first).cloned().flatten();
        if let Some(slot) = self.slots.get_mut(repetition.at) {
            *slot = known;
        }
    }

    /// The revision and the entries. A bucket without a row has no entries, even if the table has rows for it.
    fn finish(mut self, bucket_revision: Option<i64>) -> (Revision, Vec<Option<T>>) {
        if bucket_revision.is_none() {
            self.slots.fill(None);
        }
        (bucket_revision.map_or(Revision::ZERO, revision), self.slots)
    }
}
