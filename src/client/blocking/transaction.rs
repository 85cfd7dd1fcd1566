//! Transactions of the blocking client.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::executor::Executor;
use crate::client::set::Options;
use crate::client::transaction::attempt::Ended;
use crate::client::transaction::{MAX_ATTEMPTS, Transaction as Inner, contention};
use crate::client::value::IntoValue;
use crate::model::{Entry, Result};

/// A running transaction; see [`Client::transaction`]. Each method does the same as that of
/// [`client::Transaction`](crate::client::transaction::Transaction).
pub struct Transaction {
    inner: Inner,
    executor: Executor,
}

impl Client {
    /// Runs `f` as a transaction on the bucket; see
    /// [`Client::transaction`](crate::client::client::Client::transaction).
    ///
    /// ```
    /// # kvs::example::run_blocking(|client| {
    /// use kvs::model::{Error, ErrorKind};
    ///
    /// client.set("seats", "1")?;
    /// let book = |name: &str| {
    ///     client.transaction(|mut t| {
    ///         if t.decrement("seats", 1)? < 0 {
    ///             return Err(Error::new(ErrorKind::Invalid, "all seats are taken"));
    ///         }
    ///         t.set(&format!("guest/{name}"), "")
    ///     })
    /// };
    /// book("ada")?;
    /// assert!(book("bob").is_err());
    /// let left = client.get_many(&["seats", "guest/bob"])?;
    /// assert_eq!(left, [Some("0".into()), None], "the second booking was not done");
    /// # Ok(()) });
    /// ```
    pub fn transaction<T>(&self, mut f: impl FnMut(Transaction) -> Result<T>) -> Result<T> {
        let mut known = vec![];
        for _ in 0..MAX_ATTEMPTS {
            let (inner, slot) = self.wait(Inner::begin(&self.inner, known))?;
            let answer = f(Transaction { inner, executor: self.executor.clone() });
            match self.wait(Inner::end(&self.inner, &slot, answer))? {
                Ended::Done(answer) => return Ok(answer),
                Ended::Conflict(keys) => known = keys,
            }
        }
        Err(contention())
    }
}

impl Transaction {
    /// See [`Transaction::get`](crate::client::transaction::Transaction::get).
    pub fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        self.executor.wait(self.inner.get(key))
    }

    /// See [`Transaction::get_string`](crate::client::transaction::Transaction::get_string).
    pub fn get_string(&mut self, key: &str) -> Result<Option<String>> {
        self.executor.wait(self.inner.get_string(key))
    }

    /// See [`Transaction::get_typed`](crate::client::transaction::Transaction::get_typed).
    pub fn get_typed<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.executor.wait(self.inner.get_typed(key))
    }

    /// See [`Transaction::get_entry`](crate::client::transaction::Transaction::get_entry).
    pub fn get_entry(&mut self, key: &str) -> Result<Option<Entry>> {
        self.executor.wait(self.inner.get_entry(key))
    }

    /// See [`Transaction::get_many`](crate::client::transaction::Transaction::get_many).
    pub fn get_many(&mut self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        self.executor.wait(self.inner.get_many(names))
    }

    /// See [`Transaction::exists`](crate::client::transaction::Transaction::exists).
    pub fn exists(&mut self, key: &str) -> Result<bool> {
        self.executor.wait(self.inner.exists(key))
    }

    /// See [`Transaction::increment`](crate::client::transaction::Transaction::increment).
    pub fn increment(&mut self, key: &str, by: i64) -> Result<i64> {
        self.executor.wait(self.inner.increment(key, by))
    }

    /// See [`Transaction::decrement`](crate::client::transaction::Transaction::decrement).
    pub fn decrement(&mut self, key: &str, by: i64) -> Result<i64> {
        self.executor.wait(self.inner.decrement(key, by))
    }

    /// See [`Transaction::set`](crate::client::transaction::Transaction::set).
    pub fn set(&mut self, key: &str, value: impl IntoValue) -> Result<()> {
        self.inner.set(key, value)
    }

    /// See [`Transaction::set_with`](crate::client::transaction::Transaction::set_with).
    pub fn set_with(&mut self, key: &str, value: impl IntoValue, options: &Options) -> Result<()> {
        self.inner.set_with(key, value, options)
    }

    /// See [`Transaction::set_typed`](crate::client::transaction::Transaction::set_typed).
    pub fn set_typed(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        self.inner.set_typed(key, value)
    }

    /// See [`Transaction::delete`](crate::client::transaction::Transaction::delete).
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.inner.delete(key)
    }

    /// See [`Transaction::expire`](crate::client::transaction::Transaction::expire).
    pub fn expire(&mut self, key: &str, ttl: Duration) -> Result<()> {
        self.inner.expire(key, ttl)
    }

    /// See [`Transaction::persist`](crate::client::transaction::Transaction::persist).
    pub fn persist(&mut self, key: &str) -> Result<()> {
        self.inner.persist(key)
    }
}
