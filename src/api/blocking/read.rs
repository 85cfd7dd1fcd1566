//! Reading and upkeep, waited for.

use bytes::Bytes;

use super::super::Stats;
use super::Client;
use crate::model::{Bucket, Entry, Key, Page, Query, Result};

impl Client {
    /// See [`Client::get`](crate::api::Client::get).
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait(self.inner.get(key))
    }

    /// See [`Client::get_string`](crate::api::Client::get_string).
    pub fn get_string(&self, key: &str) -> Result<Option<String>> {
        self.wait(self.inner.get_string(key))
    }

    /// See [`Client::get_entry`](crate::api::Client::get_entry).
    pub fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.wait(self.inner.get_entry(key))
    }

    /// See [`Client::get_many`](crate::api::Client::get_many).
    pub fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        self.wait(self.inner.get_many(names))
    }

    /// See [`Client::newest`](crate::api::Client::newest).
    pub fn newest(&self, names: &[impl AsRef<str>]) -> Result<Option<(Key, Entry)>> {
        self.wait(self.inner.newest(names))
    }

    /// See [`Client::exists`](crate::api::Client::exists).
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.wait(self.inner.exists(key))
    }

    /// See [`Client::scan`](crate::api::Client::scan).
    pub fn scan(&self, query: Query) -> Result<Page> {
        self.wait(self.inner.scan(query))
    }

    /// See [`Client::keys`](crate::api::Client::keys).
    pub fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.wait(self.inner.keys(prefix))
    }

    /// See [`Client::count`](crate::api::Client::count).
    pub fn count(&self, prefix: &str) -> Result<u64> {
        self.wait(self.inner.count(prefix))
    }

    /// See [`Client::cleanup_expired`](crate::api::Client::cleanup_expired).
    pub fn cleanup_expired(&self) -> Result<u64> {
        self.wait(self.inner.cleanup_expired())
    }

    /// See [`Client::stats`](crate::api::Client::stats).
    pub fn stats(&self) -> Result<Stats> {
        self.wait(self.inner.stats())
    }

    /// See [`Client::buckets`](crate::api::Client::buckets).
    pub fn buckets(&self) -> Result<Vec<Bucket>> {
        self.wait(self.inner.buckets())
    }
}
