//! A store as a source. It is read in pages of a few megabytes, so that a copy needs little memory.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;

use crate::model::{Bucket, Entry, Key, Projection, Result, Scan};
use crate::store::{BatchLimits, Blobs, ImportSource, Logs, Rejected, Row, Rows, Store, all_buckets};

/// The number of entries of the first page. The size of the others is chosen so that they have about as many bytes as a
/// batch.
const FIRST_PAGE_ENTRIES: usize = 64;

/// A store that entries are copied from.
pub(crate) struct StoreSource(pub(crate) Arc<dyn Store>);

/// The next page to read.
struct NextPage {
    after: Option<Key>,
    limit: usize,
}

impl NextPage {
    /// The page after one with these rows; `None` after the last page.
    fn following(self, cursor: Option<Key>, rows: &[Row]) -> Option<Self> {
        let size = |row: &Row| if let Row::Entry(_, entry) = row { entry.value.len() } else { 0 };
        let mean = rows.iter().map(size).sum::<usize>() / rows.len().max(1);
        let BatchLimits { keys, bytes } = BatchLimits::DEFAULT;
        let limit = (bytes / mean.max(1)).clamp(1, keys).min(self.limit * 2);
        cursor.map(|after| Self { after: Some(after), limit })
    }
}

#[async_trait]
impl ImportSource for StoreSource {
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Rejected>)> {
        Ok((all_buckets(&*self.0).await?, vec![]))
    }

    async fn count(&self, bucket: &Bucket) -> Result<u64> {
        let page = self.0.scan(bucket, Scan { projection: Projection::Count, ..Scan::default() }).await?;
        Ok(page.count.unwrap_or(0))
    }

    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a> {
        let first = Some(NextPage { after: None, limit: FIRST_PAGE_ENTRIES });
        Box::pin(stream::try_unfold(first, move |next| async move {
            let Some(next) = next else { return Ok(None) };
            let query = Scan { after: next.after.as_ref().map(Key::to_string), limit: next.limit, ..Scan::default() };
            let page = self.0.scan(bucket, query).await?;
            let entry = |(key, entry): (Key, Option<Entry>)| Some(Row::Entry(key, entry?));
            let rows: Vec<Row> = page.entries.into_iter().filter_map(entry).collect();
            let following = next.following(page.cursor, &rows);
            Ok(Some((rows, following)))
        }))
    }

    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        Ok(self.0.get(bucket, keys).await?.entries)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.0.logs()
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        self.0.blobs()
    }

    fn has_revisions(&self) -> bool {
        true
    }
}
