//! Counters: numbers that are changed in place, exact with any number of writers.

use super::client::{Client, contract_violation};
use crate::model::{Entry, Error, ErrorKind, Key, Result, Write};

impl Client {
    /// Adds to a decimal integer and returns the sum. A missing entry counts as 0. Content type and expiry stay.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// assert_eq!(client.increment("visits", 1).await?, 1);
    /// assert_eq!(client.increment("visits", 41).await?, 42);
    ///
    /// client.set("name", "Ada").await?;
    /// assert!(client.increment("name", 1).await.unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not an integer, or the sum exceeds 64 bits.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        sum(self.commit_one(Write::Increment { key: Key::new(key)?, by }).await?.after.as_ref())
    }

    /// Subtracts from a decimal integer and returns the difference, like [`increment`](Self::increment).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("seats", "10").await?;
    /// assert_eq!(client.decrement("seats", 3).await?, 7);
    /// assert_eq!(client.decrement("seats", 8).await?, -1, "it does not stop at zero");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Those of `increment`.
    pub async fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        self.increment(key, negated(by)?).await
    }
}

/// The number in an incremented entry.
pub(crate) fn sum(after: Option<&Entry>) -> Result<i64> {
    let sum = after.and_then(|entry| entry.as_text()?.parse().ok());
    sum.ok_or_else(|| contract_violation("returned no number for an increment"))
}

pub(crate) fn negated(by: i64) -> Result<i64> {
    by.checked_neg()
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("cannot subtract {by}: it has no negative in 64 bits")))
}
