//! A store as a source: read page by page, so that no more than some megabytes of it are held at a time.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;

use super::{BYTES, KEYS};
use crate::model::{Bucket, Entry, Key, Query, Result, Shape};
use crate::store::{Row, Rows, Source, Store, Unfit};

/// The first page has so many entries; the others as many as what was seen so far lets expect to be [`BYTES`].
const FIRST: usize = 64;

/// A store, as something that entries are taken from.
pub(super) struct Stored(pub(super) Arc<dyn Store>);

/// Where reading has come to.
struct Place {
    after: Option<Key>,
    limit: usize,
}

impl Place {
    /// Where it goes on behind a page; none: nowhere.
    fn behind(self, cursor: Option<Key>, rows: &[Row]) -> Option<Self> {
        let size = |row: &Row| if let Row::Entry(_, entry) = row { entry.value.len() } else { 0 };
        let mean = rows.iter().map(size).sum::<usize>() / rows.len().max(1);
        let limit = (BYTES / mean.max(1)).clamp(1, KEYS).min(self.limit * 2);
        cursor.map(|after| Self { after: Some(after), limit })
    }
}

#[async_trait]
impl Source for Stored {
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Unfit>)> {
        Ok((self.0.buckets().await?, vec![]))
    }

    async fn count(&self, bucket: &Bucket) -> Result<u64> {
        let page = self.0.scan(bucket, Query { shape: Shape::Count, ..Query::default() }).await?;
        Ok(page.count.unwrap_or(0))
    }

    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a> {
        let begin = Some(Place { after: None, limit: FIRST });
        Box::pin(stream::try_unfold(begin, move |place| async move {
            let Some(place) = place else { return Ok(None) };
            let query =
                Query { after: place.after.as_ref().map(Key::to_string), limit: place.limit, ..Query::default() };
            let page = self.0.scan(bucket, query).await?;
            let entry = |(key, entry): (Key, Option<Entry>)| Some(Row::Entry(key, entry?));
            let rows: Vec<Row> = page.entries.into_iter().filter_map(entry).collect();
            let next = place.behind(page.cursor, &rows);
            Ok(Some((rows, next)))
        }))
    }

    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        Ok(self.0.get(bucket, keys).await?.entries)
    }

    fn has_revisions(&self) -> bool {
        true
    }
}
