//! Gets: one statement each, so that entries and revision are of one moment. What the rows say is read off while the server
//! still sends others.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::pin::pin;
use std::sync::Arc;

use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, RowStream};

use super::engine::Engine;
use super::fault::{Attempts, Fault};
use super::row::{column, entry, place, revision};
use super::url::Expired;
use crate::model::{Bucket, Entry, Key, Result, Revision, Snapshot};

/// From so many keys on it pays to plan anew for a list.
const LONG: usize = 200;

/// Where the revision stands: of an entry, and of the bucket in the row that is of none.
const MOVED: usize = 3;

/// What is asked for.
struct Wanted<'a> {
    bucket: &'a str,
    keys: &'a [Key],
    /// The keys again.
    names: Vec<&'a str>,
    /// Where the rows name keys and no places: the first place of each key, and for each further one the first.
    places: HashMap<&'a str, usize>,
    again: Vec<(usize, usize)>,
}

impl<'a> Wanted<'a> {
    fn new(bucket: &'a Bucket, keys: &'a [Key]) -> Self {
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let (mut places, mut again) = (HashMap::new(), vec![]);
        if keys.len() > LONG {
            places.reserve(keys.len());
            for (at, name) in names.iter().enumerate() {
                match places.entry(*name) {
                    Place::Vacant(vacant) => {
                        vacant.insert(at);
                    }
                    Place::Occupied(first) => again.push((at, *first.get())),
                }
            }
        }
        Self { bucket: bucket.as_str(), keys, names, places, again }
    }

    fn is_long(&self) -> bool {
        self.keys.len() > LONG
    }

    /// The place of a row's entry; none for the row that is of no entry.
    fn place(&self, row: &Row) -> Result<Option<usize>> {
        if !self.is_long() {
            return place(row, 0);
        }
        let name = column::<Option<&str>>(row, 0)?;
        Ok(name.and_then(|name| self.places.get(name).copied()))
    }
}

impl Engine {
    /// What stands under the keys.
    pub(super) async fn get(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let wanted = Wanted::new(bucket, keys);
        let mut attempts = Attempts::default();
        let mut snapshot = loop {
            match self.try_get(&wanted).await {
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
    async fn try_get(&self, wanted: &Wanted<'_>) -> Result<Snapshot, Fault> {
        let client = self.client().await?;
        let mut rows = pin!(self.rows(&client, wanted).await?);
        let (mut moved, mut entries) = (Revision::ZERO, vec![None; wanted.keys.len()]);
        while let Some(row) = rows.try_next().await.map_err(Fault::before)? {
            let Some(at) = wanted.place(&row)? else {
                moved = revision(column(&row, MOVED)?);
                continue;
            };
            if let (Some(key), Some(slot)) = (wanted.keys.get(at), entries.get_mut(at)) {
                *slot = Some(entry(&row, 1, key)?);
            }
        }
        for (at, first) in &wanted.again {
            let known: Option<Entry> = entries.get(*first).cloned().flatten();
            if let Some(slot) = entries.get_mut(*at) {
                *slot = known;
            }
        }
        if moved == Revision::ZERO {
            // The bucket is not there, whatever rows there are.
            entries.fill(None);
        }
        Ok(Snapshot { revision: moved, entries })
    }

    async fn rows(&self, client: &Client, wanted: &Wanted<'_>) -> Result<RowStream, Fault> {
        let statements = &self.place.statements;
        let Wanted { bucket, names, .. } = wanted;
        if wanted.is_long() {
            let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(bucket, Type::TEXT), (names, Type::TEXT_ARRAY)];
            let parameters = parameters.iter().map(|(value, kind)| (*value as &dyn ToSql, kind.clone()));
            return client.query_typed_raw(&statements.list, parameters).await.map_err(Fault::before);
        }
        let (text, keys): (&str, &(dyn ToSql + Sync)) = match names.as_slice() {
            [key] => (&statements.one, key),
            _ => (&statements.get, names),
        };
        let statement = client.prepare_cached(text).await.map_err(Fault::before)?;
        let parameters: [&(dyn ToSql + Sync); 2] = [bucket, keys];
        let parameters = parameters.iter().map(|value| *value as &dyn ToSql);
        client.query_raw(&statement, parameters).await.map_err(Fault::before)
    }
}
