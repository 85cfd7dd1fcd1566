//! Transactions: reads and writes of several keys that happen as one, retried after a conflict.
//!
//! A transaction locks nothing. Its writes are collected and done together at its end, on the condition that everything
//! it has read is unchanged (optimistic concurrency control).

pub(super) mod attempt;
pub(super) mod read;
pub(super) mod write;

use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use self::attempt::{Attempt, Ended};
use super::client::Client;
use crate::model::{Error, ErrorKind, Key, Result};

/// The maximum number of attempts. Whenever one fails, the write of somebody else has succeeded.
pub(crate) const MAX_ATTEMPTS: usize = 1000;

/// A running transaction; see [`Client::transaction`].
///
/// Reads see the transaction's own writes, and otherwise the store at one moment. Writes need no `await`: they are done
/// at the end.
pub struct Transaction {
    client: Client,
    attempt: Attempt,
    /// Gets the attempt when the transaction is dropped.
    slot: AttemptSlot,
}

/// Holds the attempt after the function has ended.
pub(crate) type AttemptSlot = Arc<Mutex<Option<Attempt>>>;

impl Drop for Transaction {
    fn drop(&mut self) {
        *self.slot.lock() = Some(mem::take(&mut self.attempt));
    }
}

impl Client {
    /// Runs `f` as a transaction on the bucket: its reads and writes happen at one moment, or not at all.
    ///
    /// - If `f` fails, nothing is done and its error is returned.
    /// - If somebody else changes an entry that `f` has read before its writes are done, `f` is run again. It should
    ///   have no other effects than those on the transaction.
    /// - All reads are of one moment, even if others write meanwhile. Reads see the transaction's own writes.
    /// - A read is one call of the store (two if others are writing at that time), for any number of keys. Reading a
    ///   key again is free. All writes together are one call.
    ///
    /// Only the value counts as read: a changed expiry is not a conflict.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::model::{Error, ErrorKind};
    ///
    /// client.set_many(&[("account/ada", "100"), ("account/bob", "0")]).await?;
    /// let pay = async |sum: i64| {
    ///     client.transaction(|mut t| async move {
    ///         if t.decrement("account/ada", sum).await? < 0 {
    ///             return Err(Error::new(ErrorKind::Invalid, "Ada's account is too low"));
    ///         }
    ///         t.increment("account/bob", sum).await
    ///     }).await
    /// };
    /// assert_eq!(pay(70).await?, 70);
    /// assert!(pay(70).await.unwrap_err().is_invalid());
    ///
    /// let left = client.get_many(&["account/ada", "account/bob"]).await?;
    /// assert_eq!(left, [Some("30".into()), Some("70".into())], "the second payment was not done");
    /// # Ok(()) });
    /// ```
    ///
    /// Values that `f` uses must be copied or borrowed before its `async move`, because it may run several times.
    ///
    /// # Errors
    /// The error of `f`, or an error of the store. `Busy` after a thousand attempts, which also happens if `f` uses
    /// another client to change what it reads. `Invalid` if `f` keeps the transaction after its end.
    pub async fn transaction<T, F>(&self, mut f: impl FnMut(Transaction) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut known = vec![];
        for _ in 0..MAX_ATTEMPTS {
            let (transaction, slot) = Transaction::begin(self, known).await?;
            let answer = f(transaction).await;
            match Transaction::end(self, &slot, answer).await? {
                Ended::Done(answer) => return Ok(answer),
                Ended::Conflict(keys) => known = keys,
            }
        }
        Err(contention())
    }
}

impl Transaction {
    /// A new attempt and its slot. It reads the keys of the attempt before it at once.
    pub(crate) async fn begin(client: &Client, known: Vec<Key>) -> Result<(Self, AttemptSlot)> {
        let mut attempt = Attempt::default();
        if !known.is_empty() {
            attempt.fetch(client, known).await?;
        }
        let slot = AttemptSlot::default();
        Ok((Self { client: client.clone(), attempt, slot: slot.clone() }, slot))
    }

    /// Ends an attempt whose function returned `answer`.
    pub(crate) async fn end<T>(client: &Client, slot: &AttemptSlot, answer: Result<T>) -> Result<Ended<T>> {
        let attempt = slot.lock().take();
        let Some(attempt) = attempt else {
            let text = "a transaction was kept after its end, so nothing was done; drop it within its function";
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        attempt.end(client, answer).await
    }
}

/// The error after the last attempt.
pub(crate) fn contention() -> Error {
    let text = "others have changed what the transaction had read";
    Error::new(ErrorKind::Busy, format!("{text}, {MAX_ATTEMPTS} times; nothing was done, try again when fewer write"))
}
