//! Deletes: one entry, several, all with a prefix, all.

use bytes::Bytes;

use super::client::Client;
use super::parse::keys;
use crate::model::{Key, Result, Write};

impl Client {
    /// Deletes an entry and returns whether there was one.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("door", "open").await?;
    /// assert!(client.delete("door").await?);
    /// assert!(!client.delete("door").await?, "a missing entry is not an error");
    /// # Ok(()) });
    /// ```
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.commit_one(Write::Delete { key: Key::new(key)? }).await?.before.is_some())
    }

    /// Deletes these entries, all at one moment, in one call of the store. Returns how many there were.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    /// assert_eq!(client.delete_many(&["a", "b", "x"]).await?, 2);
    /// assert_eq!(client.count("").await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        self.remove(keys(names)?).await
    }

    /// Deletes an entry and returns its value.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("job", "paint the fence").await?;
    /// assert_eq!(client.get_and_delete("job").await?, Some("paint the fence".into()));
    /// assert_eq!(client.get_and_delete("job").await?, None, "only one caller gets it");
    /// # Ok(()) });
    /// ```
    pub async fn get_and_delete(&self, key: &str) -> Result<Option<Bytes>> {
        let removed = self.commit_one(Write::Delete { key: Key::new(key)? }).await?.before;
        Ok(removed.map(|entry| entry.value))
    }

    /// Deletes all entries whose keys begin with `prefix`, all at one moment. Returns how many there were.
    ///
    /// It reads the keys, 10,000 in a call of the store, and then deletes them in one call. A key that is created in
    /// between stays.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("tmp/1", "a"), ("tmp/2", "b"), ("keep", "c")]).await?;
    /// assert_eq!(client.delete_prefix("tmp/").await?, 2);
    /// assert!(client.exists("keep").await?);
    /// # Ok(()) });
    /// ```
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let found = self.keys(prefix).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.remove(found).await
    }

    /// Deletes all entries of the bucket, all at one moment. Returns how many there were. The bucket itself stays and
    /// gets a new revision, so its waiters wake up.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("a", "1"), ("b", "2")]).await?;
    /// assert_eq!(client.clear().await?, 2);
    /// assert_eq!(client.count("").await?, 0);
    /// # Ok(()) });
    /// ```
    pub async fn clear(&self) -> Result<u64> {
        self.delete_prefix("").await
    }

    async fn remove(&self, keys: Vec<Key>) -> Result<u64> {
        let writes = keys.into_iter().map(|key| Write::Delete { key }).collect();
        Ok(self.commit_returning_metadata(writes).await?.iter().filter(|change| change.before.is_some()).count() as u64)
    }
}
