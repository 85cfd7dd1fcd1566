//! Gets: one statement each, so that entries and revision are of one moment. What the rows say is read off while the server
//! still sends others.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use futures_util::future::join;
use tokio::task::yield_now;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, RowStream, Statement};

use super::engine::Engine;
use super::fault::{Attempts, Fault};
use super::row::{column, entry, place, revision};
use super::statements::{Gets, Statements};
use super::url::Expired;
use crate::model::{Bucket, ContentType, Entry, Key, Result, Revision, Snapshot, Time};

/// From so many keys on it pays to look whether the table is small.
const LONG: usize = 200;

/// What may be asked of each entry.
trait Asked: Clone + Send {
    /// Where the revision of the bucket stands, in the row of no entry.
    const MOVED: usize;

    fn gets(statements: &Statements) -> &Gets;

    /// Reads it in the columns from 1 on.
    fn read(row: &Row, key: &Key, last: &mut ContentType) -> Result<Self>;

    fn end(&self) -> Option<Time>;
}

impl Asked for Entry {
    const MOVED: usize = 3;

    fn gets(statements: &Statements) -> &Gets {
        &statements.entries
    }

    fn read(row: &Row, key: &Key, last: &mut ContentType) -> Result<Self> {
        entry(row, 1, key, last)
    }

    fn end(&self) -> Option<Time> {
        self.expires
    }
}

/// A value, and when its entry ends.
impl Asked for (Bytes, Option<Time>) {
    const MOVED: usize = 2;

    fn gets(statements: &Statements) -> &Gets {
        &statements.values
    }

    fn read(row: &Row, _: &Key, _: &mut ContentType) -> Result<Self> {
        Ok((Bytes::copy_from_slice(column(row, 1)?), column::<Option<i64>>(row, 2)?.map(Time::from_nanos)))
    }

    fn end(&self) -> Option<Time> {
        self.1
    }
}

impl Engine {
    /// What stands under the keys.
    pub(super) async fn get(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let (revision, entries) = self.live(bucket, keys).await?;
        Ok(Snapshot { revision, entries })
    }

    /// The values of what stands under the keys.
    pub(super) async fn values(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let (_, values) = self.live::<(Bytes, Option<Time>)>(bucket, keys).await?;
        Ok(values.into_iter().map(|value| value.map(|(value, _)| value)).collect())
    }

    /// What is asked of those entries that have not expired.
    async fn live<T: Asked>(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<(Revision, Vec<Option<T>>)> {
        let mut attempts = Attempts::default();
        let (moved, mut parts) = loop {
            match self.try_get::<T>(bucket, keys).await {
                Ok(found) => break found,
                Err(fault) => self.again(&mut attempts, fault).await?,
            }
        };
        let now = self.place.options.clock.now();
        let mut expired = vec![];
        for (key, slot) in keys.iter().zip(&mut parts) {
            if slot.as_ref().and_then(T::end).is_some_and(|end| end <= now) {
                *slot = None;
                expired.push(key.clone());
            }
        }
        if !expired.is_empty() && self.place.url.expired == Expired::OnRead {
            self.remove_expired(bucket, expired, now);
        }
        Ok((moved, parts))
    }

    /// The same of all entries.
    async fn try_get<T: Asked>(&self, bucket: &Bucket, keys: &[Key]) -> Result<(Revision, Vec<Option<T>>), Fault> {
        let client = self.client().await?;
        let gets = T::gets(&self.place.statements);
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let (mut found, mut moved) = (Found::new(keys), None);
        // A server that cannot tell the size of a table does not take the statement.
        let many = if names.len() > LONG { client.prepare_cached(&gets.many).await.ok() } else { None };
        if let Some(statement) = many {
            // Whose place is where is found out while the server works.
            let places = async {
                yield_now().await;
                Places::of(&names)
            };
            let (rows, places) = join(rows(&client, &statement, [&bucket.as_str(), &names]), places).await;
            let mut rows = pin!(rows?);
            while let Some(row) = rows.try_next().await.map_err(Fault::before)? {
                match column::<Option<&str>>(&row, 0)? {
                    Some(name) => found.take(&row, places.first.get(name).copied())?,
                    None => moved = column(&row, T::MOVED)?,
                }
            }
            for (at, first) in places.again {
                found.repeat(at, first);
            }
        } else {
            let (text, listed): (&str, &(dyn ToSql + Sync)) = match names.as_slice() {
                [key] => (&gets.one, key),
                _ => (&gets.each, &names),
            };
            let statement = client.prepare_cached(text).await.map_err(Fault::before)?;
            let mut rows = pin!(rows(&client, &statement, [&bucket.as_str(), listed]).await?);
            while let Some(row) = rows.try_next().await.map_err(Fault::before)? {
                match place(&row, 0)? {
                    Some(at) => found.take(&row, Some(at))?,
                    None => moved = column(&row, T::MOVED)?,
                }
            }
        }
        Ok(found.at(moved))
    }
}

async fn rows(
    client: &Client,
    statement: &Statement,
    parameters: [&(dyn ToSql + Sync); 2],
) -> Result<RowStream, Fault> {
    client.query_raw(statement, parameters).await.map_err(Fault::before)
}

/// The first place of each key of a list, and for each further place of one the first.
struct Places<'a> {
    first: HashMap<&'a str, usize>,
    again: Vec<(usize, usize)>,
}

impl<'a> Places<'a> {
    fn of(names: &[&'a str]) -> Self {
        let mut places = Self { first: HashMap::with_capacity(names.len()), again: vec![] };
        for (at, name) in names.iter().enumerate() {
            match places.first.entry(*name) {
                Place::Vacant(vacant) => {
                    vacant.insert(at);
                }
                Place::Occupied(first) => places.again.push((at, *first.get())),
            }
        }
        places
    }
}

/// What has been found so far of what is asked for.
struct Found<'a, T> {
    keys: &'a [Key],
    parts: Vec<Option<T>>,
    /// The type of the last one.
    last: ContentType,
}

impl<'a, T: Asked> Found<'a, T> {
    fn new(keys: &'a [Key]) -> Self {
        Self { keys, parts: vec![None; keys.len()], last: ContentType::default() }
    }

    /// Takes what a row says of the key at that place.
    fn take(&mut self, row: &Row, at: Option<usize>) -> Result<()> {
        let Some(at) = at else { return Ok(()) };
        if let (Some(key), Some(slot)) = (self.keys.get(at), self.parts.get_mut(at)) {
            *slot = Some(T::read(row, key, &mut self.last)?);
        }
        Ok(())
    }

    /// What stands at the one place stands at the other too.
    fn repeat(&mut self, at: usize, first: usize) {
        let known = self.parts.get(first).cloned().flatten();
        if let Some(slot) = self.parts.get_mut(at) {
            *slot = known;
        }
    }

    /// All of it, given the revision of the bucket. If the bucket is not there, nothing is, whatever rows there are.
    fn at(mut self, moved: Option<i64>) -> (Revision, Vec<Option<T>>) {
        if moved.is_none() {
            self.parts.fill(None);
        }
        (moved.map_or(Revision::ZERO, revision), self.parts)
    }
}
