//! The writes of a transaction. They are done at its end.

use std::time::Duration;

use serde::Serialize;

use super::Transaction;
use crate::client::codec::Json;
use crate::client::set::Options;
use crate::client::value::IntoValue;
use crate::model::{Key, Result, Write};

impl Transaction {
    /// Stores a value as text that never expires.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.transaction(|mut t| async move {
    ///     t.set("first", "1")?;
    ///     t.set("second", "2")
    /// }).await?;
    /// assert_eq!(client.count("").await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn set(&mut self, key: &str, value: impl IntoValue) -> Result<()> {
        self.set_with(key, value, &Options::default())
    }

    /// Stores a value with options.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    /// use kvs::client::Options;
    ///
    /// let minute = &Options::ttl(Duration::from_secs(60));
    /// client.transaction(|mut t| async move { t.set_with("code", "1234", minute) }).await?;
    /// assert!(client.ttl("code").await?.is_some());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero or longer than 36500 days.
    pub fn set_with(&mut self, key: &str, value: impl IntoValue, options: &Options) -> Result<()> {
        self.attempt.writes.push(self.client.put(key, value.into_value(), options)?);
        Ok(())
    }

    /// Stores a value as JSON that never expires, like [`Typed::set`](crate::client::typed::Typed::set).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.transaction(|mut t| async move { t.set_typed("home", &(3, 4)) }).await?;
    /// assert_eq!(client.typed::<(i32, i32)>().get("home").await?, Some((3, 4)));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value cannot be written as JSON.
    pub fn set_typed(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        self.attempt.writes.push(self.client.put_encoded::<Json>(key, value, None)?);
        Ok(())
    }

    /// Deletes an entry. A missing entry is not an error.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("old", "1").await?;
    /// client.transaction(|mut t| async move {
    ///     let value = t.get("old").await?.unwrap_or_default();
    ///     t.delete("old")?;
    ///     t.set("new", value)
    /// }).await?;
    /// assert_eq!(client.get_many(&["old", "new"]).await?, [None, Some("1".into())]);
    /// # Ok(()) });
    /// ```
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.attempt.writes.push(Write::Delete { key: Key::new(key)? });
        Ok(())
    }

    /// Lets an entry expire after this time. A missing entry is not an error.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set("session", "Ada").await?;
    /// client.transaction(|mut t| async move { t.expire("session", Duration::from_secs(60)) }).await?;
    /// assert!(client.ttl("session").await?.is_some());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero (delete the entry instead) or longer than 36500 days.
    pub fn expire(&mut self, key: &str, ttl: Duration) -> Result<()> {
        let expires = Some(self.client.expiry_after(ttl)?);
        self.attempt.writes.push(Write::Touch { key: Key::new(key)?, expires });
        Ok(())
    }

    /// Removes the expiry of an entry. A missing entry is not an error.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set_ex("draft", "Dear", Duration::from_secs(60)).await?;
    /// client.transaction(|mut t| async move { t.persist("draft") }).await?;
    /// assert_eq!(client.ttl("draft").await?, None);
    /// # Ok(()) });
    /// ```
    pub fn persist(&mut self, key: &str) -> Result<()> {
        self.attempt.writes.push(Write::Touch { key: Key::new(key)?, expires: None });
        Ok(())
    }
}
