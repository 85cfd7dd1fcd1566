//! Parts of JSON documents, for programs without `async`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use crate::model::Result;

impl Client {
    /// See [`Client::get_in`](crate::client::client::Client::get_in).
    pub fn get_in<T: DeserializeOwned>(&self, key: &str, path: &str) -> Result<Option<T>> {
        self.wait(self.inner.get_in(key, path))
    }

    /// See [`Client::assoc_in`](crate::client::client::Client::assoc_in).
    pub fn assoc_in(&self, key: &str, path: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.wait(self.inner.assoc_in(key, path, value))
    }

    /// See [`Client::dissoc_in`](crate::client::client::Client::dissoc_in).
    pub fn dissoc_in(&self, key: &str, path: &str) -> Result<bool> {
        self.wait(self.inner.dissoc_in(key, path))
    }

    /// See [`Client::update_in`](crate::client::client::Client::update_in).
    pub fn update_in<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        path: &str,
        f: impl FnMut(Option<&T>) -> T,
    ) -> Result<(Option<T>, T)> {
        self.wait(self.inner.update_in(key, path, f))
    }
}
