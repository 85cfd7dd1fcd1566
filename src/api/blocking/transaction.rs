//! Transactions for programs without `async`.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::transaction::{Ended, TRIES, outrun};
use super::super::{Options, Transaction as Inner};
use super::{Client, Waiting};
use crate::model::{Entry, Result};

/// A transaction at work; see [`Client::transaction`]. Each method does what that of
/// [`api::Transaction`](crate::api::Transaction) does.
pub struct Transaction {
    inner: Inner,
    runtime: Waiting,
}

impl Client {
    /// Runs `f` as a transaction on the bucket; see [`Client::transaction`](crate::api::Client::transaction).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::blocking::Client::new(Arc::new(kvs::memory::MemoryStore::default()))?;
    /// use kvs::model::{Error, Kind};
    ///
    /// client.set("seats", "1")?;
    /// let book = |name: &str| {
    ///     client.transaction(|mut t| {
    ///         if t.decrement("seats", 1)? < 0 {
    ///             return Err(Error::new(Kind::Invalid, "all seats are taken"));
    ///         }
    ///         t.set(&format!("guest/{name}"), "")
    ///     })
    /// };
    /// book("ada")?;
    /// assert!(book("bob").is_err());
    /// assert_eq!(client.get_many(&["seats", "guest/bob"])?, [Some("0".into()), None], "nothing of it was done");
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction<T>(&self, mut f: impl FnMut(Transaction) -> Result<T>) -> Result<T> {
        let mut known = vec![];
        for _ in 0..TRIES {
            let (inner, home) = self.wait(Inner::begin(&self.inner, known))?;
            let answer = f(Transaction { inner, runtime: self.runtime.clone() });
            match self.wait(Inner::end(&self.inner, &home, answer))? {
                Ended::Done(answer) => return Ok(answer),
                Ended::Overtaken(keys) => known = keys,
            }
        }
        Err(outrun())
    }
}

impl Transaction {
    /// See [`Transaction::get`](crate::api::Transaction::get).
    pub fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        self.runtime.wait(self.inner.get(key))
    }

    /// See [`Transaction::get_string`](crate::api::Transaction::get_string).
    pub fn get_string(&mut self, key: &str) -> Result<Option<String>> {
        self.runtime.wait(self.inner.get_string(key))
    }

    /// See [`Transaction::get_typed`](crate::api::Transaction::get_typed).
    pub fn get_typed<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.runtime.wait(self.inner.get_typed(key))
    }

    /// See [`Transaction::get_entry`](crate::api::Transaction::get_entry).
    pub fn get_entry(&mut self, key: &str) -> Result<Option<Entry>> {
        self.runtime.wait(self.inner.get_entry(key))
    }

    /// See [`Transaction::get_many`](crate::api::Transaction::get_many).
    pub fn get_many(&mut self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        self.runtime.wait(self.inner.get_many(names))
    }

    /// See [`Transaction::exists`](crate::api::Transaction::exists).
    pub fn exists(&mut self, key: &str) -> Result<bool> {
        self.runtime.wait(self.inner.exists(key))
    }

    /// See [`Transaction::increment`](crate::api::Transaction::increment).
    pub fn increment(&mut self, key: &str, by: i64) -> Result<i64> {
        self.runtime.wait(self.inner.increment(key, by))
    }

    /// See [`Transaction::decrement`](crate::api::Transaction::decrement).
    pub fn decrement(&mut self, key: &str, by: i64) -> Result<i64> {
        self.runtime.wait(self.inner.decrement(key, by))
    }

    /// See [`Transaction::set`](crate::api::Transaction::set).
    pub fn set(&mut self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.inner.set(key, value)
    }

    /// See [`Transaction::set_with`](crate::api::Transaction::set_with).
    pub fn set_with(&mut self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<()> {
        self.inner.set_with(key, value, options)
    }

    /// See [`Transaction::set_typed`](crate::api::Transaction::set_typed).
    pub fn set_typed(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        self.inner.set_typed(key, value)
    }

    /// See [`Transaction::delete`](crate::api::Transaction::delete).
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.inner.delete(key)
    }

    /// See [`Transaction::expire`](crate::api::Transaction::expire).
    pub fn expire(&mut self, key: &str, ttl: Duration) -> Result<()> {
        self.inner.expire(key, ttl)
    }

    /// See [`Transaction::persist`](crate::api::Transaction::persist).
    pub fn persist(&mut self, key: &str) -> Result<()> {
        self.inner.persist(key)
    }
}
