//! The blocking client for values of one type.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::executor::Executor;
use crate::client::codec::{Codec, Json};
use crate::client::typed::{Typed as Inner, TypedPage};
use crate::model::{Result, Revision, Scan};

/// A client for values of one type; see [`client::Typed`](crate::client::typed::Typed).
pub struct Typed<T, C = Json> {
    inner: Inner<T, C>,
    executor: Executor,
}

impl<T, C> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), executor: self.executor.clone() }
    }
}

impl Client {
    /// The same client for values of one type.
    ///
    /// ```
    /// # kvs::example::run_blocking(|client| {
    /// let points = client.typed::<(i32, i32)>();
    /// points.set("home", &(3, 4))?;
    /// assert_eq!(points.get("home")?, Some((3, 4)));
    /// client.set("work", "a text")?;
    /// assert!(points.get("work").unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T> {
        self.typed_as()
    }

    /// See [`Client::typed_as`](crate::client::client::Client::typed_as).
    #[must_use]
    pub fn typed_as<T: Serialize + DeserializeOwned, C: Codec>(&self) -> Typed<T, C> {
        Typed { inner: self.inner.typed_as(), executor: self.executor.clone() }
    }
}

impl<T: Serialize + DeserializeOwned, C: Codec> Typed<T, C> {
    fn wait<A>(&self, answer: impl Future<Output = Result<A>>) -> Result<A> {
        self.executor.wait(answer)
    }

    /// See [`Typed::get`](crate::client::typed::Typed::get).
    pub fn get(&self, key: &str) -> Result<Option<T>> {
        self.wait(self.inner.get(key))
    }

    /// See [`Typed::get_many`](crate::client::typed::Typed::get_many).
    pub fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<T>>> {
        self.wait(self.inner.get_many(names))
    }

    /// See [`Typed::scan`](crate::client::typed::Typed::scan).
    pub fn scan(&self, query: Scan) -> Result<TypedPage<T>> {
        self.wait(self.inner.scan(query))
    }

    /// See [`Typed::set`](crate::client::typed::Typed::set).
    pub fn set(&self, key: &str, value: &T) -> Result<Revision> {
        self.wait(self.inner.set(key, value))
    }

    /// See [`Typed::set_ex`](crate::client::typed::Typed::set_ex).
    pub fn set_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<Revision> {
        self.wait(self.inner.set_ex(key, value, ttl))
    }

    /// See [`Typed::set_many`](crate::client::typed::Typed::set_many).
    pub fn set_many(&self, pairs: &[(impl AsRef<str>, &T)]) -> Result<()> {
        self.wait(self.inner.set_many(pairs))
    }

    /// See [`Typed::set_nx`](crate::client::typed::Typed::set_nx).
    pub fn set_nx(&self, key: &str, value: &T) -> Result<bool> {
        self.wait(self.inner.set_nx(key, value))
    }

    /// See [`Typed::set_nx_ex`](crate::client::typed::Typed::set_nx_ex).
    pub fn set_nx_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<bool> {
        self.wait(self.inner.set_nx_ex(key, value, ttl))
    }

    /// See [`Typed::get_and_set`](crate::client::typed::Typed::get_and_set).
    pub fn get_and_set(&self, key: &str, value: &T) -> Result<Option<T>> {
        self.wait(self.inner.get_and_set(key, value))
    }

    /// See [`Typed::get_and_delete`](crate::client::typed::Typed::get_and_delete).
    pub fn get_and_delete(&self, key: &str) -> Result<Option<T>> {
        self.wait(self.inner.get_and_delete(key))
    }

    /// See [`Typed::update`](crate::client::typed::Typed::update).
    pub fn update(&self, key: &str, f: impl FnMut(Option<T>) -> Option<T>) -> Result<Option<T>> {
        self.wait(self.inner.update(key, f))
    }
}
