//! What a transaction reads. All of it is of one moment, with the transaction's own writes laid over it.

use std::slice;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::super::number::{negated, sum};
use super::super::typed::parse;
use super::super::{keys, text};
use super::Transaction;
use crate::model::{Entry, Key, Result, Write};

impl Transaction {
    /// The value under a key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let seen = client.transaction(|mut t| async move {
    ///     t.set("door", "open")?;
    ///     t.get("door").await
    /// });
    /// assert_eq!(seen.await?, Some("open".into()), "its own writes are seen");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value under a key as text.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("name", "Ada").await?;
    /// let name = client.transaction(|mut t| async move { t.get_string("name").await }).await?;
    /// assert_eq!(name.as_deref(), Some("Ada"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not UTF-8.
    pub async fn get_string(&mut self, key: &str) -> Result<Option<String>> {
        self.get(key).await?.map(|value| text(key, value)).transpose()
    }

    /// The value under a key, of a type of yours: as [`Typed::get`](crate::api::Typed::get).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let primes = client.transaction(|mut t| async move {
    ///     let mut primes: Vec<u32> = t.get_typed("primes").await?.unwrap_or_default();
    ///     primes.push(2);
    ///     t.set_typed("primes", &primes)?;
    ///     Ok(primes.len())
    /// });
    /// assert_eq!(primes.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is no JSON of this type.
    pub async fn get_typed<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.get_entry(key).await?.map(|entry| parse(key, &entry.value)).transpose()
    }

    /// The entry under a key. Of one that the transaction has written, revision and times are not the final ones.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("door", "open").await?;
    /// let entry = client.transaction(|mut t| async move { t.get_entry("door").await }).await?.expect("it is there");
    /// assert_eq!(entry.created, entry.updated());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_entry(&mut self, key: &str) -> Result<Option<Entry>> {
        let key = Key::new(key)?;
        self.attempt.read(&self.client, slice::from_ref(&key)).await?;
        self.attempt.written(&self.client, &key)
    }

    /// The values under these keys, in their order: at most one call of the store (two if others are writing).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    /// let warmer = client.transaction(|mut t| async move {
    ///     let found = t.get_many(&["hall", "attic"]).await?;
    ///     t.set("warmer", if found[0] > found[1] { "hall" } else { "attic" })
    /// });
    /// warmer.await?;
    /// assert_eq!(client.get_string("warmer").await?.as_deref(), Some("hall"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many(&mut self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys(names)?;
        self.attempt.read(&self.client, &keys).await?;
        keys.iter().map(|key| Ok(self.attempt.written(&self.client, key)?.map(|entry| entry.value))).collect()
    }

    /// Whether there is an entry under a key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let taken = client.transaction(|mut t| async move {
    ///     if t.exists("seat/7").await? {
    ///         return Ok(false);
    ///     }
    ///     t.set("seat/7", "Ada")?;
    ///     t.increment("taken", 1).await?;
    ///     Ok(true)
    /// });
    /// assert!(taken.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&mut self, key: &str) -> Result<bool> {
        Ok(self.get_entry(key).await?.is_some())
    }

    /// Adds to a decimal number and gives the sum, which counts as read; a missing number counts as 0.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let ticket = client.transaction(|mut t| async move {
    ///     let number = t.increment("tickets", 1).await?;
    ///     t.set(&format!("ticket/{number}"), "Ada")?;
    ///     Ok(number)
    /// });
    /// assert_eq!(ticket.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is no number, or the sum does not fit into 64 bits.
    pub async fn increment(&mut self, key: &str, by: i64) -> Result<i64> {
        let key = Key::new(key)?;
        self.attempt.read(&self.client, slice::from_ref(&key)).await?;
        self.attempt.writes.push(Write::Increment { key: key.clone(), by });
        let after = self.attempt.written(&self.client, &key);
        if after.is_err() {
            // It failed, so it is not done, even if the transaction goes on.
            self.attempt.writes.pop();
        }
        sum(after?.as_ref())
    }

    /// Takes from a decimal number and gives the rest, as [`increment`](Self::increment) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let left = client.transaction(|mut t| async move {
    ///     t.set("seats", "10")?;
    ///     t.decrement("seats", 3).await
    /// });
    /// assert_eq!(left.await?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn decrement(&mut self, key: &str, by: i64) -> Result<i64> {
        self.increment(key, negated(by)?).await
    }
}
