//! What a transaction is to write. Nothing is stored before its end.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::super::Options;
use super::Transaction;
use crate::model::{Key, Result, Write};

impl Transaction {
    /// Stores a value as text that stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.transaction(|mut t| async move {
    ///     t.set("first", "1")?;
    ///     t.set("second", "2")
    /// }).await?;
    /// assert_eq!(client.count("").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set(&mut self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.set_with(key, value, &Options::default())
    }

    /// Stores a value with more said of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    /// use kvs::api::Options;
    ///
    /// let minute = &Options::ttl(Duration::from_secs(60));
    /// client.transaction(|mut t| async move { t.set_with("code", "1234", minute) }).await?;
    /// assert!(client.ttl("code").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero.
    pub fn set_with(&mut self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<()> {
        self.attempt.writes.push(self.client.put(key, value.into(), options)?);
        Ok(())
    }

    /// Stores a value of a type of yours that stays: as [`Typed::set`](crate::api::Typed::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.transaction(|mut t| async move { t.set_typed("home", &(3, 4)) }).await?;
    /// assert_eq!(client.typed::<(i32, i32)>().get("home").await?, Some((3, 4)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value cannot be written as JSON.
    pub fn set_typed(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        self.attempt.writes.push(self.client.put_json(key, value, None)?);
        Ok(())
    }

    /// Removes an entry. What is missing is no error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("old", "1").await?;
    /// client.transaction(|mut t| async move {
    ///     let value = t.get("old").await?.unwrap_or_default();
    ///     t.delete("old")?;
    ///     t.set("new", value)
    /// }).await?;
    /// assert_eq!(client.get_many(&["old", "new"]).await?, [None, Some("1".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.attempt.writes.push(Write::Delete { key: Key::new(key)? });
        Ok(())
    }

    /// Lets an entry end that long from now. A missing one is no error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set("session", "Ada").await?;
    /// client.transaction(|mut t| async move { t.expire("session", Duration::from_secs(60)) }).await?;
    /// assert!(client.ttl("session").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero: delete the entry instead.
    pub fn expire(&mut self, key: &str, ttl: Duration) -> Result<()> {
        let expires = Some(self.client.end(ttl)?);
        self.attempt.writes.push(Write::Touch { key: Key::new(key)?, expires });
        Ok(())
    }

    /// Lets an entry stay for good. A missing one is no error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set_ex("draft", "Dear", Duration::from_secs(60)).await?;
    /// client.transaction(|mut t| async move { t.persist("draft") }).await?;
    /// assert_eq!(client.ttl("draft").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn persist(&mut self, key: &str) -> Result<()> {
        self.attempt.writes.push(Write::Touch { key: Key::new(key)?, expires: None });
        Ok(())
    }
}
