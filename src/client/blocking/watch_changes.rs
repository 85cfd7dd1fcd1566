//! Watching, for programs without `async`.

use futures_util::TryStreamExt as _;

use super::client::Client;
use crate::client::watch_changes::WatchEvent;
use crate::model::{Result, Revision};

impl Client {
    /// See [`Client::watch`](crate::client::client::Client::watch). The iterator waits for each event.
    ///
    /// ```
    /// # fn main() -> kvs::model::Result<()> {
    /// use kvs::client::WatchEvent;
    ///
    /// let client = kvs::blocking::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()))?;
    /// let mut changes = client.watch("")?;
    /// client.set("door", "open")?;
    /// assert!(matches!(changes.next(), Some(Ok(WatchEvent::Put { key, .. })) if key.as_str() == "door"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, prefix: &str) -> Result<impl Iterator<Item = Result<WatchEvent>> + Send + use<>> {
        let now = self.wait(async { Ok(self.inner.store.get(&self.inner.bucket, &[]).await?.revision) })?;
        self.watch_since(prefix, now)
    }

    /// See [`Client::watch_since`](crate::client::client::Client::watch_since). The iterator waits for each event.
    pub fn watch_since(
        &self,
        prefix: &str,
        since: Revision,
    ) -> Result<impl Iterator<Item = Result<WatchEvent>> + Send + use<>> {
        let (client, mut watch) = (self.clone(), self.inner.watch_since(prefix, since)?);
        Ok(std::iter::from_fn(move || client.wait(watch.try_next()).transpose()))
    }
}
