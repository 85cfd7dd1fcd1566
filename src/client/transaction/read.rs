//! The reads of a transaction: entries at one moment, changed by the transaction's own writes.

use std::slice;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Transaction;
use crate::client::counter::{negated, sum};
use crate::client::parse::{keys, text};
use crate::client::typed::from_json;
use crate::model::{Entry, Key, Result, Write};

impl Transaction {
    /// The value under a key.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let seen = client.transaction(|mut t| async move {
    ///     t.set("door", "open")?;
    ///     t.get("door").await
    /// });
    /// assert_eq!(seen.await?, Some("open".into()), "it sees its own writes");
    /// # Ok(()) });
    /// ```
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value under a key as text.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("name", "Ada").await?;
    /// let name = client.transaction(|mut t| async move { t.get_string("name").await }).await?;
    /// assert_eq!(name.as_deref(), Some("Ada"));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not UTF-8.
    pub async fn get_string(&mut self, key: &str) -> Result<Option<String>> {
        self.get(key).await?.map(|value| text(key, value)).transpose()
    }

    /// The value under a key, parsed from JSON as by [`Typed::get`](crate::client::typed::Typed::get).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let primes = client.transaction(|mut t| async move {
    ///     let mut primes: Vec<u32> = t.get_typed("primes").await?.unwrap_or_default();
    ///     primes.push(2);
    ///     t.set_typed("primes", &primes)?;
    ///     Ok(primes.len())
    /// });
    /// assert_eq!(primes.await?, 1);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not JSON of this type.
    pub async fn get_typed<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.get_entry(key).await?.map(|entry| from_json(key, &entry.value)).transpose()
    }

    /// The entry under a key. If the transaction has written it, its revision and times are not final.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("door", "open").await?;
    /// let entry = client.transaction(|mut t| async move { t.get_entry("door").await }).await?.expect("it exists");
    /// assert_eq!(entry.created, entry.updated());
    /// # Ok(()) });
    /// ```
    pub async fn get_entry(&mut self, key: &str) -> Result<Option<Entry>> {
        let key = Key::new(key)?;
        self.attempt.read(&self.client, slice::from_ref(&key)).await?;
        self.attempt.written(&self.client, &key)
    }

    /// The values under these keys, in their order, in at most one call of the store (two if others are writing).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    /// let warmer = client.transaction(|mut t| async move {
    ///     let found = t.get_many(&["hall", "attic"]).await?;
    ///     t.set("warmer", if found[0] > found[1] { "hall" } else { "attic" })
    /// });
    /// warmer.await?;
    /// assert_eq!(client.get_string("warmer").await?.as_deref(), Some("hall"));
    /// # Ok(()) });
    /// ```
    pub async fn get_many(&mut self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys(names)?;
        self.attempt.read(&self.client, &keys).await?;
        keys.iter().map(|key| Ok(self.attempt.written(&self.client, key)?.map(|entry| entry.value))).collect()
    }

    /// Whether there is an entry under a key.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let taken = client.transaction(|mut t| async move {
    ///     if t.exists("seat/7").await? {
    ///         return Ok(false);
    ///     }
    ///     t.set("seat/7", "Ada")?;
    ///     t.increment("taken", 1).await?;
    ///     Ok(true)
    /// });
    /// assert!(taken.await?);
    /// # Ok(()) });
    /// ```
    pub async fn exists(&mut self, key: &str) -> Result<bool> {
        Ok(self.get_entry(key).await?.is_some())
    }

    /// Adds to a decimal integer and returns the sum. The key counts as read. A missing entry counts as 0.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let ticket = client.transaction(|mut t| async move {
    ///     let number = t.increment("tickets", 1).await?;
    ///     t.set(&format!("ticket/{number}"), "Ada")?;
    ///     Ok(number)
    /// });
    /// assert_eq!(ticket.await?, 1);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not an integer, or the sum exceeds 64 bits.
    pub async fn increment(&mut self, key: &str, by: i64) -> Result<i64> {
        let key = Key::new(key)?;
        self.attempt.read(&self.client, slice::from_ref(&key)).await?;
        self.attempt.writes.push(Write::Increment { key: key.clone(), by });
        let after = self.attempt.written(&self.client, &key);
        if after.is_err() {
            // A failed increment is dropped, even if the transaction goes on.
            self.attempt.writes.pop();
        }
        sum(after?.as_ref())
    }

    /// Subtracts from a decimal integer and returns the difference, like [`increment`](Self::increment).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let left = client.transaction(|mut t| async move {
    ///     t.set("seats", "10")?;
    ///     t.decrement("seats", 3).await
    /// });
    /// assert_eq!(left.await?, 7);
    /// # Ok(()) });
    /// ```
    pub async fn decrement(&mut self, key: &str, by: i64) -> Result<i64> {
        self.increment(key, negated(by)?).await
    }
}
