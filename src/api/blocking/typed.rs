//! Values of a type of yours, for programs without `async`.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Typed as Inner, TypedPage};
use super::{Client, Waiting};
use crate::model::{Query, Result, Revision};

/// A client whose values are of one type and kept as JSON; see [`api::Typed`](crate::api::Typed).
pub struct Typed<T> {
    inner: Inner<T>,
    runtime: Waiting,
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), runtime: self.runtime.clone() }
    }
}

impl Client {
    /// The same client for values of one type.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::blocking::Client::new(Arc::new(kvs::memory::MemoryStore::default()))?;
    /// let points = client.typed::<(i32, i32)>();
    /// points.set("home", &(3, 4))?;
    /// assert_eq!(points.get("home")?, Some((3, 4)));
    /// client.set("work", "a text")?;
    /// assert!(points.get("work").unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T> {
        Typed { inner: self.inner.typed(), runtime: self.runtime.clone() }
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    fn wait<A>(&self, answer: impl Future<Output = A>) -> A {
        self.runtime.wait(answer)
    }

    /// See [`Typed::get`](crate::api::Typed::get).
    pub fn get(&self, key: &str) -> Result<Option<T>> {
        self.wait(self.inner.get(key))
    }

    /// See [`Typed::get_many`](crate::api::Typed::get_many).
    pub fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<T>>> {
        self.wait(self.inner.get_many(names))
    }

    /// See [`Typed::scan`](crate::api::Typed::scan).
    pub fn scan(&self, query: Query) -> Result<TypedPage<T>> {
        self.wait(self.inner.scan(query))
    }

    /// See [`Typed::set`](crate::api::Typed::set).
    pub fn set(&self, key: &str, value: &T) -> Result<Revision> {
        self.wait(self.inner.set(key, value))
    }

    /// See [`Typed::set_ex`](crate::api::Typed::set_ex).
    pub fn set_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<Revision> {
        self.wait(self.inner.set_ex(key, value, ttl))
    }

    /// See [`Typed::set_many`](crate::api::Typed::set_many).
    pub fn set_many(&self, pairs: &[(impl AsRef<str>, &T)]) -> Result<()> {
        self.wait(self.inner.set_many(pairs))
    }

    /// See [`Typed::set_nx`](crate::api::Typed::set_nx).
    pub fn set_nx(&self, key: &str, value: &T) -> Result<bool> {
        self.wait(self.inner.set_nx(key, value))
    }

    /// See [`Typed::set_nx_ex`](crate::api::Typed::set_nx_ex).
    pub fn set_nx_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.set_nx_ex(key, value, ttl))
    }

    /// See [`Typed::get_and_set`](crate::api::Typed::get_and_set).
    pub fn get_and_set(&self, key: &str, value: &T) -> Result<Option<T>> {
        self.wait(self.inner.get_and_set(key, value))
    }

    /// See [`Typed::get_and_delete`](crate::api::Typed::get_and_delete).
    pub fn get_and_delete(&self, key: &str) -> Result<Option<T>> {
        self.wait(self.inner.get_and_delete(key))
    }

    /// See [`Typed::update`](crate::api::Typed::update).
    pub fn update(&self, key: &str, f: impl FnMut(Option<T>) -> Option<T>) -> Result<Option<T>> {
        self.wait(self.inner.update(key, f))
    }
}
