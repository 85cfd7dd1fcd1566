//! The writes of the blocking client.

use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use crate::client::compare_and_swap::{CasOutcome, UpdateAction};
use crate::client::set::Options;
use crate::client::value::IntoValue;
use crate::model::{Entry, Result, Revision, Time};

impl Client {
    /// See [`Client::set`](crate::client::client::Client::set).
    pub fn set(&self, key: &str, value: impl IntoValue) -> Result<Revision> {
        self.wait(self.inner.set(key, value))
    }

    /// See [`Client::set_with`](crate::client::client::Client::set_with).
    pub fn set_with(&self, key: &str, value: impl IntoValue, options: &Options) -> Result<Revision> {
        self.wait(self.inner.set_with(key, value, options))
    }

    /// See [`Client::set_ex`](crate::client::client::Client::set_ex).
    pub fn set_ex(&self, key: &str, value: impl IntoValue, ttl: Duration) -> Result<Revision> {
        self.wait(self.inner.set_ex(key, value, ttl))
    }

    /// See [`Client::set_at`](crate::client::client::Client::set_at).
    pub fn set_at(&self, key: &str, value: impl IntoValue, expires: impl Into<Time>) -> Result<Revision> {
        self.wait(self.inner.set_at(key, value, expires))
    }

    /// See [`Client::set_many`](crate::client::client::Client::set_many).
    pub fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        self.wait(self.inner.set_many(pairs))
    }

    /// See [`Client::set_nx`](crate::client::client::Client::set_nx).
    pub fn set_nx(&self, key: &str, value: impl IntoValue) -> Result<bool> {
        self.wait(self.inner.set_nx(key, value))
    }

    /// See [`Client::set_nx_ex`](crate::client::client::Client::set_nx_ex).
    pub fn set_nx_ex(&self, key: &str, value: impl IntoValue, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.set_nx_ex(key, value, ttl))
    }

    /// See [`Client::get_and_set`](crate::client::client::Client::get_and_set).
    pub fn get_and_set(&self, key: &str, value: impl IntoValue) -> Result<Option<Bytes>> {
        self.wait(self.inner.get_and_set(key, value))
    }

    /// See [`Client::delete`](crate::client::client::Client::delete).
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.delete(key))
    }

    /// See [`Client::delete_many`](crate::client::client::Client::delete_many).
    pub fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        self.wait(self.inner.delete_many(names))
    }

    /// See [`Client::get_and_delete`](crate::client::client::Client::get_and_delete).
    pub fn get_and_delete(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait(self.inner.get_and_delete(key))
    }

    /// See [`Client::delete_prefix`](crate::client::client::Client::delete_prefix).
    pub fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.wait(self.inner.delete_prefix(prefix))
    }

    /// See [`Client::clear`](crate::client::client::Client::clear).
    pub fn clear(&self) -> Result<u64> {
        self.wait(self.inner.clear())
    }

    /// See [`Client::increment`](crate::client::client::Client::increment).
    pub fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.increment(key, by))
    }

    /// See [`Client::decrement`](crate::client::client::Client::decrement).
    pub fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.decrement(key, by))
    }

    /// See [`Client::expire`](crate::client::client::Client::expire).
    pub fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.expire(key, ttl))
    }

    /// See [`Client::persist`](crate::client::client::Client::persist).
    pub fn persist(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.persist(key))
    }

    /// See [`Client::ttl`](crate::client::client::Client::ttl).
    pub fn ttl(&self, key: &str) -> Result<Option<Duration>> {
        self.wait(self.inner.ttl(key))
    }

    /// See [`Client::compare_and_swap`](crate::client::client::Client::compare_and_swap).
    pub fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: impl IntoValue) -> Result<CasOutcome> {
        self.wait(self.inner.compare_and_swap(key, expected, new))
    }

    /// See [`Client::update`](crate::client::client::Client::update).
    pub fn update(&self, key: &str, f: impl FnMut(Option<&Entry>) -> UpdateAction) -> Result<Option<Entry>> {
        self.wait(self.inner.update(key, f))
    }
}
