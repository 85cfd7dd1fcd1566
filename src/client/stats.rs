//! Maintenance of a bucket, and statistics about it.

use super::client::Client;
use crate::model::{Result, Scan};
use crate::store::Task;

/// The number of entries that one call of the store reads.
const PAGE_ENTRIES: usize = 100;

/// Statistics about a bucket. Expired entries are not counted, but take space until they are removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The number of entries.
    pub keys: u64,
    /// The total length of all values, in bytes.
    pub value_bytes: u64,
    /// The length of the largest value, in bytes.
    pub largest_value: u64,
    /// The space that the bucket takes in the store, in bytes, including space that is not reclaimed yet.
    pub stored_bytes: u64,
}

impl Stats {
    /// The mean length of a value, in bytes; 0 if there are no values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than the 15 digits of a double")]
    pub fn mean_value(&self) -> f64 {
        if self.keys == 0 { 0.0 } else { self.value_bytes as f64 / self.keys as f64 }
    }
}

impl Client {
    /// Removes expired entries and returns how many there were. They were invisible already; this reclaims their space.
    /// A server does it automatically.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set_ex("flash", "boo", Duration::from_millis(1)).await?;
    /// tokio::time::sleep(Duration::from_millis(5)).await;
    /// assert_eq!(client.cleanup_expired().await?, 1);
    /// assert_eq!(client.cleanup_expired().await?, 0);
    /// # Ok(()) });
    /// ```
    pub async fn cleanup_expired(&self) -> Result<u64> {
        Ok(self.store.maintain(&self.bucket, Task::RemoveExpired).await?.removed)
    }

    /// Statistics about the bucket. It reads all entries, page by page; those that others write meanwhile may or may
    /// not be counted.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("a", "1"), ("b", "333")]).await?;
    /// let stats = client.stats().await?;
    /// assert_eq!((stats.keys, stats.value_bytes, stats.largest_value), (2, 4, 3));
    /// assert_eq!(stats.mean_value(), 2.0);
    /// println!("{} bytes stored", stats.stored_bytes);
    /// # Ok(()) });
    /// ```
    pub async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
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
        stats.stored_bytes = self.store.maintain(&self.bucket, Task::Check).await?.bytes_after;
        Ok(stats)
    }
}
