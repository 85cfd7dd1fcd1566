//! Gets: one statement each, so that entries and revision are of one moment. What the rows say is read off while the server
//! still sends others.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::pin::pin;
use std::sync::Arc;

use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use futures_util::future::join;
use tokio::task::yield_now;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::engine::Engine;
use super::fault::{Attempts, Fault};
use super::row::{column, entry, place, revision};
use super::url::Expired;
use crate::model::{Bucket, ContentType, Entry, Key, Result, Revision, Snapshot};

/// From so many keys on it pays to plan anew for a list.
const LONG: usize = 200;

/// Where the revision of the bucket stands: in the row of no entry, and where the list is long in each row.
const MOVED: usize = 3;
const MOVED_OF_LONG: usize = 7;

impl Engine {
    /// What stands under the keys.
    pub(super) async fn get(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let mut attempts = Attempts::default();
        let mut snapshot = loop {
            match self.try_get(bucket, keys).await {
                Ok(snapshot) => break snapshot,
                Err(fault) => self.again(&mut attempts, fault).await?,
            }
        };
        let now = self.place.options.clock.now();
        let mut expired = vec![];
        for (key, slot) in keys.iter().zip(&mut snapshot.entries) {
            if slot.as_ref().is_some_and(|entry| !entry.is_live(now)) {
                *slot = None;
                expired.push(key.clone());
            }
        }
        if !expired.is_empty() && self.place.url.expired == Expired::OnRead {
            self.remove_expired(bucket, expired, now);
        }
        Ok(snapshot)
    }

    /// The same with what has expired.
    async fn try_get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot, Fault> {
        let client = self.client().await?;
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let long = if keys.len() > LONG { self.get_long(&client, bucket, (keys, &names)).await? } else { None };
        match long {
            Some(snapshot) => Ok(snapshot),
            None => self.get_each(&client, bucket, (keys, &names)).await,
        }
    }

    /// The server looks each key up by itself.
    async fn get_each(
        &self,
        client: &Client,
        bucket: &Bucket,
        (keys, names): (&[Key], &[&str]),
    ) -> Result<Snapshot, Fault> {
        let statements = &self.place.statements;
        let (text, listed): (&str, &(dyn ToSql + Sync)) = match names {
            [key] => (&statements.one, key),
            _ => (&statements.get, &names),
        };
        let statement = client.prepare_cached(text).await.map_err(Fault::before)?;
        let parameters = [&bucket.as_str() as &(dyn ToSql + Sync), listed];
        let mut rows = pin!(client.query_raw(&statement, parameters).await.map_err(Fault::before)?);
        let (mut found, mut moved) = (Found::new(keys), None);
        while let Some(row) = rows.try_next().await.map_err(Fault::before)? {
            match place(&row, 0)? {
                Some(at) => found.take(&row, at)?,
                None => moved = column(&row, MOVED)?,
            }
        }
        Ok(found.at(moved))
    }

    /// The server finds the keys in the way that seems best to it. None: it has none of them, and has told no revision.
    async fn get_long(
        &self,
        client: &Client,
        bucket: &Bucket,
        (keys, names): (&[Key], &[&str]),
    ) -> Result<Option<Snapshot>, Fault> {
        let bucket = bucket.as_str();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&bucket, Type::TEXT), (&names, Type::TEXT_ARRAY)];
        let sent = client.query_typed_raw(&self.place.statements.list, parameters);
        // Whose place is where is found out while the server plans.
        let (rows, places) = join(sent, async {
            yield_now().await;
            Places::of(names)
        })
        .await;
        let mut rows = pin!(rows.map_err(Fault::before)?);
        let (mut found, mut moved) = (Found::new(keys), None);
        while let Some(row) = rows.try_next().await.map_err(Fault::before)? {
            if moved.is_none() {
                moved = Some(column::<Option<i64>>(&row, MOVED_OF_LONG)?);
            }
            if let Some(at) = places.first.get(column::<&str>(&row, 0)?) {
                found.take(&row, *at)?;
            }
        }
        for (at, first) in places.again {
            found.repeat(at, first);
        }
        Ok(moved.map(|moved| found.at(moved)))
    }
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
struct Found<'a> {
    keys: &'a [Key],
    entries: Vec<Option<Entry>>,
    /// The type of the last one.
    last: ContentType,
}

impl<'a> Found<'a> {
    fn new(keys: &'a [Key]) -> Self {
        Self { keys, entries: vec![None; keys.len()], last: ContentType::default() }
    }

    /// Takes the entry of a row, which is that of the key at that place.
    fn take(&mut self, row: &Row, at: usize) -> Result<()> {
        if let (Some(key), Some(slot)) = (self.keys.get(at), self.entries.get_mut(at)) {
            *slot = Some(entry(row, 1, key, &mut self.last)?);
        }
        Ok(())
    }

    /// What stands at the one place stands at the other too.
    fn repeat(&mut self, at: usize, first: usize) {
        let known = self.entries.get(first).cloned().flatten();
        if let Some(slot) = self.entries.get_mut(at) {
            *slot = known;
        }
    }

    /// All of it, given the revision of the bucket. If the bucket is not there, nothing is, whatever rows there are.
    fn at(mut self, moved: Option<i64>) -> Snapshot {
        if moved.is_none() {
            self.entries.fill(None);
        }
        Snapshot { revision: moved.map_or(Revision::ZERO, revision), entries: self.entries }
    }
}
