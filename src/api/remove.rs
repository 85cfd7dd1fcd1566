//! Removing entries: one, several, all that begin so, all.

use bytes::Bytes;

use super::{Client, keys};
use crate::model::{Key, Result, Write};

impl Client {
    /// Removes an entry; whether there was one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("door", "open").await?;
    /// assert!(client.delete("door").await?);
    /// assert!(!client.delete("door").await?, "what is missing is no error");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.commit_one(Write::Delete { key: Key::new(key)? }).await?.before.is_some())
    }

    /// Removes these entries, all at one moment; how many there were. One call of the store.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    /// assert_eq!(client.delete_many(&["a", "b", "x"]).await?, 2);
    /// assert_eq!(client.count("").await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        self.remove(keys(names)?).await
    }

    /// Removes an entry and gives the value that it had.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("job", "paint the fence").await?;
    /// assert_eq!(client.get_and_delete("job").await?, Some("paint the fence".into()));
    /// assert_eq!(client.get_and_delete("job").await?, None, "only one gets it");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_and_delete(&self, key: &str) -> Result<Option<Bytes>> {
        let removed = self.commit_one(Write::Delete { key: Key::new(key)? }).await?.before;
        Ok(removed.map(|entry| entry.value))
    }

    /// Removes all entries whose keys begin with `prefix`, all at one moment; how many there were.
    ///
    /// The keys are looked up first, 10,000 to a call of the store, then removed in one call: a key that comes to be in
    /// between stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("tmp/1", "a"), ("tmp/2", "b"), ("keep", "c")]).await?;
    /// assert_eq!(client.delete_prefix("tmp/").await?, 2);
    /// assert!(client.exists("keep").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let found = self.keys(prefix).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.remove(found).await
    }

    /// Removes all entries of the bucket, all at one moment; how many there were. The bucket itself, with its revision,
    /// stays, so whoever waits for a change of it is told.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("a", "1"), ("b", "2")]).await?;
    /// assert_eq!(client.clear().await?, 2);
    /// assert_eq!(client.count("").await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<u64> {
        self.delete_prefix("").await
    }

    async fn remove(&self, keys: Vec<Key>) -> Result<u64> {
        let writes = keys.into_iter().map(|key| Write::Delete { key }).collect();
        Ok(self.commit(writes).await?.iter().filter(|change| change.before.is_some()).count() as u64)
    }
}
