//! When an entry ends. Its value and revision are not touched.

use std::time::Duration;

use super::Client;
use crate::model::{Key, Result, Time, Write};

impl Client {
    /// Lets an entry end that long from now; whether there is one. Its revision stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set("session", "Ada").await?;
    /// assert!(client.expire("session", Duration::from_secs(600)).await?);
    /// assert!(!client.expire("nobody", Duration::from_secs(600)).await?);
    /// assert!(client.expire("session", Duration::ZERO).await.unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero (delete the entry instead), or longer than 36500 days.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        let end = self.end(ttl)?;
        self.touch(key, Some(end)).await
    }

    /// Lets an entry stay for good; whether there is one. Its revision stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set_ex("draft", "Dear", Duration::from_secs(600)).await?;
    /// assert!(client.persist("draft").await?);
    /// assert_eq!(client.ttl("draft").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn persist(&self, key: &str) -> Result<bool> {
        self.touch(key, None).await
    }

    /// How long an entry is still there; nothing if it stays for good, or is not there:
    /// [`get_entry`](Self::get_entry) tells the two apart.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// client.set_ex("session", "Ada", hour).await?;
    /// let left = client.ttl("session").await?.expect("it ends");
    /// assert!(left <= hour && left > hour / 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>> {
        let end = self.get_entry(key).await?.and_then(|entry| entry.expires);
        Ok(end.map(|end| end.since(self.clock.now())))
    }

    async fn touch(&self, key: &str, expires: Option<Time>) -> Result<bool> {
        Ok(self.commit_one(Write::Touch { key: Key::new(key)?, expires }).await?.before.is_some())
    }

    /// The moment that long from now.
    pub(super) fn end(&self, ttl: Duration) -> Result<Time> {
        self.clock.now().expiry_after(ttl)
    }
}
