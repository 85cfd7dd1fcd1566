//! Counting: numbers that are changed in place, exact however many count.

use super::Client;
use super::client::broken;
use crate::model::{Entry, Error, Key, Kind, Result, Write};

impl Client {
    /// Adds to a decimal number and gives the sum; a missing one counts as 0. Type and end of the entry stay.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// assert_eq!(client.increment("visits", 1).await?, 1);
    /// assert_eq!(client.increment("visits", 41).await?, 42);
    ///
    /// client.set("name", "Ada").await?;
    /// assert!(client.increment("name", 1).await.unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is no number, or the sum does not fit into 64 bits.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        sum(self.commit_one(Write::Increment { key: Key::new(key)?, by }).await?.after.as_ref())
    }

    /// Takes from a decimal number and gives the rest, as [`increment`](Self::increment) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("seats", "10").await?;
    /// assert_eq!(client.decrement("seats", 3).await?, 7);
    /// assert_eq!(client.decrement("seats", 8).await?, -1, "it does not stop at zero");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of `increment`.
    pub async fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        self.increment(key, negated(by)?).await
    }
}

/// The number in an entry that was incremented.
pub(super) fn sum(after: Option<&Entry>) -> Result<i64> {
    let sum = after.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok());
    sum.ok_or_else(|| broken("gave no number for a sum"))
}

pub(super) fn negated(by: i64) -> Result<i64> {
    by.checked_neg().ok_or_else(|| Error::new(Kind::Invalid, format!("{by} cannot be taken from a number")))
}
