//! The expiry of entries. Their values and revisions stay.

use std::time::Duration;

use super::client::Client;
use crate::model::{Key, Result, Time, Write};

impl Client {
    /// Lets an entry expire after this time. Returns whether there is an entry. Its revision stays.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set("session", "Ada").await?;
    /// assert!(client.expire("session", Duration::from_secs(600)).await?);
    /// assert!(!client.expire("nobody", Duration::from_secs(600)).await?);
    /// assert!(client.expire("session", Duration::ZERO).await.unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero (delete the entry instead), or longer than 36500 days.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        let expiry = self.expiry_after(ttl)?;
        self.touch(key, Some(expiry)).await
    }

    /// Removes the expiry of an entry. Returns whether there is an entry. Its revision stays.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set_ex("draft", "Dear", Duration::from_secs(600)).await?;
    /// assert!(client.persist("draft").await?);
    /// assert_eq!(client.ttl("draft").await?, None);
    /// # Ok(()) });
    /// ```
    pub async fn persist(&self, key: &str) -> Result<bool> {
        self.touch(key, None).await
    }

    /// The time until an entry expires. `None` if it never expires or is missing; [`get_entry`](Self::get_entry) shows
    /// which.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// client.set_ex("session", "Ada", hour).await?;
    /// let left = client.ttl("session").await?.expect("it expires");
    /// assert!(left <= hour && left > hour / 2);
    /// # Ok(()) });
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>> {
        let expiry = self.get_entry(key).await?.and_then(|entry| entry.expires);
        Ok(expiry.map(|expiry| expiry.since(self.clock.now())))
    }

    async fn touch(&self, key: &str, expires: Option<Time>) -> Result<bool> {
        Ok(self.commit_one(Write::Touch { key: Key::new(key)?, expires }).await?.before.is_some())
    }

    /// The expiry of a value with this time to live.
    pub(crate) fn expiry_after(&self, ttl: Duration) -> Result<Time> {
        self.clock.now().expiry_after(ttl)
    }
}
