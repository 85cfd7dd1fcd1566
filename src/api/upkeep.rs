//! Keeping a bucket in order, and what it holds in figures.

use super::Client;
use crate::model::{Query, Result};
use crate::store::Task;

/// How many entries are looked at in one call of the store.
const PAGE: usize = 100;

/// A bucket in figures. What has expired is not counted, but takes room until it is cleaned up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Entries that are there.
    pub keys: u64,
    /// Bytes of all values together.
    pub value_bytes: u64,
    /// Bytes of the largest value.
    pub largest_value: u64,
    /// Bytes that the store needs for the bucket, with all that it has not given back yet.
    pub stored_bytes: u64,
}

impl Stats {
    /// Bytes of a value in the mean; 0 if there is none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than the 15 digits of a double")]
    pub fn mean_value(&self) -> f64 {
        if self.keys == 0 { 0.0 } else { self.value_bytes as f64 / self.keys as f64 }
    }
}

impl Client {
    /// Removes what has expired; how many entries there were. Nobody saw them any more: this gives their room back, and
    /// servers do it by themselves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set_ex("flash", "boo", Duration::from_millis(1)).await?;
    /// tokio::time::sleep(Duration::from_millis(5)).await;
    /// assert_eq!(client.cleanup_expired().await?, 1);
    /// assert_eq!(client.cleanup_expired().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cleanup_expired(&self) -> Result<u64> {
        Ok(self.store.upkeep(&self.bucket, Task::PurgeExpired).await?.removed)
    }

    /// The bucket in figures. All of it is read, page by page: what others write meanwhile may or may not be counted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("a", "1"), ("b", "333")]).await?;
    /// let stats = client.stats().await?;
    /// assert_eq!((stats.keys, stats.value_bytes, stats.largest_value), (2, 4, 3));
    /// assert_eq!(stats.mean_value(), 2.0);
    /// println!("{} bytes stored", stats.stored_bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let mut query = Query { limit: PAGE, ..Query::default() };
        loop {
            let page = self.scan(query.clone()).await?;
            for (_, entry) in page.entries {
                let size = entry.map_or(0, |entry| entry.value.len() as u64);
                stats.keys += 1;
                stats.value_bytes += size;
                stats.largest_value = stats.largest_value.max(size);
            }
            let Some(cursor) = page.cursor else { break };
            query.after = Some(cursor.as_str().to_owned());
        }
        stats.stored_bytes = self.store.upkeep(&self.bucket, Task::Check).await?.bytes_after;
        Ok(stats)
    }
}
