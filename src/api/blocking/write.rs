//! Writing, waited for.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Next, Options, Swap};
use super::Client;
use crate::model::{Entry, Result, Revision, Time};

impl Client {
    /// See [`Client::set`](crate::api::Client::set).
    pub fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Revision> {
        self.wait(self.inner.set(key, value))
    }

    /// See [`Client::set_with`](crate::api::Client::set_with).
    pub fn set_with(&self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<Revision> {
        self.wait(self.inner.set_with(key, value, options))
    }

    /// See [`Client::set_ex`](crate::api::Client::set_ex).
    pub fn set_ex(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<Revision> {
        self.wait(self.inner.set_ex(key, value, ttl))
    }

    /// See [`Client::set_at`](crate::api::Client::set_at).
    pub fn set_at(&self, key: &str, value: impl Into<Bytes>, end: impl Into<Time>) -> Result<Revision> {
        self.wait(self.inner.set_at(key, value, end))
    }

    /// See [`Client::set_many`](crate::api::Client::set_many).
    pub fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        self.wait(self.inner.set_many(pairs))
    }

    /// See [`Client::set_nx`](crate::api::Client::set_nx).
    pub fn set_nx(&self, key: &str, value: impl Into<Bytes>) -> Result<bool> {
        self.wait(self.inner.set_nx(key, value))
    }

    /// See [`Client::set_nx_ex`](crate::api::Client::set_nx_ex).
    pub fn set_nx_ex(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.set_nx_ex(key, value, ttl))
    }

    /// See [`Client::get_and_set`](crate::api::Client::get_and_set).
    pub fn get_and_set(&self, key: &str, value: impl Into<Bytes>) -> Result<Option<Bytes>> {
        self.wait(self.inner.get_and_set(key, value))
    }

    /// See [`Client::delete`](crate::api::Client::delete).
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.delete(key))
    }

    /// See [`Client::delete_many`](crate::api::Client::delete_many).
    pub fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        self.wait(self.inner.delete_many(names))
    }

    /// See [`Client::get_and_delete`](crate::api::Client::get_and_delete).
    pub fn get_and_delete(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait(self.inner.get_and_delete(key))
    }

    /// See [`Client::delete_prefix`](crate::api::Client::delete_prefix).
    pub fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        self.wait(self.inner.delete_prefix(prefix))
    }

    /// See [`Client::clear`](crate::api::Client::clear).
    pub fn clear(&self) -> Result<u64> {
        self.wait(self.inner.clear())
    }

    /// See [`Client::increment`](crate::api::Client::increment).
    pub fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.increment(key, by))
    }

    /// See [`Client::decrement`](crate::api::Client::decrement).
    pub fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        self.wait(self.inner.decrement(key, by))
    }

    /// See [`Client::expire`](crate::api::Client::expire).
    pub fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.expire(key, ttl))
    }

    /// See [`Client::persist`](crate::api::Client::persist).
    pub fn persist(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.persist(key))
    }

    /// See [`Client::ttl`](crate::api::Client::ttl).
    pub fn ttl(&self, key: &str) -> Result<Option<Duration>> {
        self.wait(self.inner.ttl(key))
    }

    /// See [`Client::compare_and_swap`](crate::api::Client::compare_and_swap).
    pub fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: impl Into<Bytes>) -> Result<Swap> {
        self.wait(self.inner.compare_and_swap(key, expected, new))
    }

    /// See [`Client::update`](crate::api::Client::update).
    pub fn update(&self, key: &str, f: impl FnMut(Option<&Entry>) -> Next) -> Result<Option<Entry>> {
        self.wait(self.inner.update(key, f))
    }
}
