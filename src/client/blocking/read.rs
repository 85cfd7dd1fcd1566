//! The reads and the maintenance of the blocking client.

use bytes::Bytes;

use super::client::Client;
use crate::client::stats::Stats;
use crate::model::{Bucket, Entry, Key, Page, Result, Scan};

impl Client {
    /// See [`Client::get`](crate::client::client::Client::get).
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait(self.inner.get(key))
    }

    /// See [`Client::get_string`](crate::client::client::Client::get_string).
    pub fn get_string(&self, key: &str) -> Result<Option<String>> {
        self.wait(self.inner.get_string(key))
    }

    /// See [`Client::get_entry`](crate::client::client::Client::get_entry).
    pub fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.wait(self.inner.get_entry(key))
    }

    /// See [`Client::get_many`](crate::client::client::Client::get_many).
    pub fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        self.wait(self.inner.get_many(names))
    }

    /// See [`Client::get_latest`](crate::client::client::Client::get_latest).
    pub fn get_latest(&self, names: &[impl AsRef<str>]) -> Result<Option<(Key, Entry)>> {
        self.wait(self.inner.get_latest(names))
    }

    /// See [`Client::exists`](crate::client::client::Client::exists).
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.exists(key))
    }

    /// See [`Client::scan`](crate::client::client::Client::scan).
    pub fn scan(&self, query: Scan) -> Result<Page> {
        self.wait(self.inner.scan(query))
    }

    /// See [`Client::keys`](crate::client::client::Client::keys).
    pub fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.wait(self.inner.keys(prefix))
    }

    /// See [`Client::count`](crate::client::client::Client::count).
    pub fn count(&self, prefix: &str) -> Result<u64> {
        self.wait(self.inner.count(prefix))
    }

    /// See [`Client::cleanup_expired`](crate::client::client::Client::cleanup_expired).
    pub fn cleanup_expired(&self) -> Result<u64> {
        self.wait(self.inner.cleanup_expired())
    }

    /// See [`Client::stats`](crate::client::client::Client::stats).
    pub fn stats(&self) -> Result<Stats> {
        self.wait(self.inner.stats())
    }

    /// See [`Client::buckets`](crate::client::client::Client::buckets).
    pub fn buckets(&self) -> Result<Vec<Bucket>> {
        self.wait(self.inner.buckets())
    }
}
