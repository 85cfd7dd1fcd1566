//! Transactions: reads and writes of several keys that happen as one, tried again when somebody else got in between.
//!
//! Nothing is locked while one runs. Its writes are kept until its end; then all are done at once, on the condition that
//! all it has read is still as it was read.

mod attempt;
mod read;
mod write;

use std::mem;
use std::sync::Arc;

use attempt::Attempt;
use parking_lot::Mutex;

use super::Client;
use crate::model::{Error, Key, Kind, Result};

/// How often a transaction is tried. Each time that it is in vain somebody else's write was done.
pub(in crate::api) const TRIES: usize = 1000;

/// A transaction at work; see [`Client::transaction`].
///
/// Reads see what the transaction itself has written, else what stands in the store, all of one moment. Writes take no
/// `await`: they are done at the end.
pub struct Transaction {
    client: Client,
    attempt: Attempt,
    /// Where the attempt goes when this is dropped.
    home: Home,
}

/// Where an attempt is found after the function that it was for has ended.
pub(in crate::api) type Home = Arc<Mutex<Option<Attempt>>>;

impl Drop for Transaction {
    fn drop(&mut self) {
        *self.home.lock() = Some(mem::take(&mut self.attempt));
    }
}

/// How an attempt at a transaction ended.
pub(in crate::api) enum Ended<T> {
    /// Everything is done.
    Done(T),
    /// Nothing is done. It had read these keys.
    Overtaken(Vec<Key>),
}

impl Client {
    /// Runs `f` as a transaction on the bucket: what it reads and writes happens at one moment, or not at all.
    ///
    /// - If `f` fails nothing is done, and its error is given back.
    /// - If somebody else changes what `f` has read before its writes are done, `f` is run again. It should have no effect
    ///   but on the transaction.
    /// - What it sees is of one moment, whoever writes meanwhile; its own writes it sees as if they were done.
    /// - A read costs one call of the store (a second one if others are writing just then), for as many keys as are asked
    ///   for; what was read before costs none. All writes together are one call.
    ///
    /// Only the value counts as read: it is no conflict if somebody else changes when an entry ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use kvs::model::{Error, Kind};
    ///
    /// client.set_many(&[("account/ada", "100"), ("account/bob", "0")]).await?;
    /// let pay = async |sum: i64| {
    ///     client.transaction(|mut t| async move {
    ///         if t.decrement("account/ada", sum).await? < 0 {
    ///             return Err(Error::new(Kind::Invalid, "there is not enough on Ada's account"));
    ///         }
    ///         t.increment("account/bob", sum).await
    ///     }).await
    /// };
    /// assert_eq!(pay(70).await?, 70);
    /// assert!(pay(70).await.unwrap_err().is_invalid());
    ///
    /// let left = client.get_many(&["account/ada", "account/bob"]).await?;
    /// assert_eq!(left, [Some("30".into()), Some("70".into())], "the second payment was not done");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What `f` takes from outside it must be copied or borrowed before its `async move`, since it may run several times.
    ///
    /// # Errors
    /// That of `f`; else those of the store. `Busy` if it was tried a thousand times in vain, which also happens if `f`
    /// changes by another client what it reads in the transaction. `Invalid` if `f` keeps the transaction beyond its end.
    pub async fn transaction<T, F>(&self, mut f: impl FnMut(Transaction) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut known = vec![];
        for _ in 0..TRIES {
            let (transaction, home) = Transaction::begin(self, known).await?;
            let answer = f(transaction).await;
            match Transaction::end(self, &home, answer).await? {
                Ended::Done(answer) => return Ok(answer),
                Ended::Overtaken(keys) => known = keys,
            }
        }
        Err(outrun())
    }
}

impl Transaction {
    /// A new attempt, by a client, which probably reads these keys; and where it will be found.
    pub(in crate::api) async fn begin(client: &Client, known: Vec<Key>) -> Result<(Self, Home)> {
        let mut attempt = Attempt::default();
        if !known.is_empty() {
            attempt.look(client, known).await?;
        }
        let home = Home::default();
        Ok((Self { client: client.clone(), attempt, home: home.clone() }, home))
    }

    /// Ends an attempt with the answer of the function that it was for.
    pub(in crate::api) async fn end<T>(client: &Client, home: &Home, answer: Result<T>) -> Result<Ended<T>> {
        let attempt = home.lock().take();
        let Some(attempt) = attempt else {
            let text = "a transaction was kept beyond its end, so nothing was done; drop it within its function";
            return Err(Error::new(Kind::Invalid, text));
        };
        attempt.end(client, answer).await
    }
}

/// What is said when all tries were in vain.
pub(in crate::api) fn outrun() -> Error {
    let text = "others kept changing what a transaction had read, so nothing was done; try again when less is written";
    Error::new(Kind::Busy, text)
}
