//! Values of one type, stored as JSON or in another format.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::codec::{Codec, Json, decode, encode};
use super::compare_and_swap::UpdateAction;
use super::set::Options;
use crate::model::{ContentType, Key, Projection, Result, Revision, Scan, Write};

/// A client for values of one type. [`Client::typed`] makes one that stores them as JSON, so that people and other
/// programs can read them; [`Client::typed_as`] makes one for another format.
///
/// ```
/// # kvs::example::run(async |client| {
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Room {
///     name: String,
///     seats: u32,
/// }
///
/// let rooms = client.typed::<Room>();
/// rooms.set("room/1", &Room { name: "Hall".into(), seats: 80 }).await?;
/// assert_eq!(rooms.get("room/1").await?.expect("it exists").seats, 80);
/// assert_eq!(client.get_string("room/1").await?.as_deref(), Some(r#"{"name":"Hall","seats":80}"#));
///
/// // A value that is not JSON of this type is an error.
/// client.set("room/2", "a text").await?;
/// assert!(rooms.get("room/2").await.unwrap_err().is_invalid());
/// # Ok(()) });
/// ```
///
/// # Errors
/// Every method fails with `Invalid` if a value cannot be written in the format, or the stored value is not of this
/// format and type. Its other errors are those of the method of [`Client`] with the same name. If a method returns the
/// old value, it parses it after the write is done.
pub struct Typed<T, C = Json> {
    client: Client,
    values: PhantomData<fn(&T, C) -> T>,
}

/// A page of a bucket with values of one type.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TypedPage<T> {
    /// The keys with their values.
    pub entries: Vec<(Key, T)>,
    /// The `after` of the next page; `None` if this is the last page.
    pub cursor: Option<Key>,
}

impl<T, C> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), values: PhantomData }
    }
}

impl Client {
    /// The same client for values of one type.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let lists = client.typed::<Vec<String>>();
    /// lists.set("fruit", &vec!["fig".to_owned()]).await?;
    /// assert_eq!(lists.get("fruit").await?.as_deref(), Some(&["fig".to_owned()][..]));
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T> {
        self.typed_as()
    }

    /// The same client for values of one type in the format of a [`Codec`].
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::codecs::Yaml;
    ///
    /// let lists = client.typed_as::<Vec<String>, Yaml>();
    /// lists.set("fruit", &vec!["fig".to_owned()]).await?;
    /// assert_eq!(client.get_string("fruit").await?.as_deref(), Some("- fig\n"));
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn typed_as<T: Serialize + DeserializeOwned, C: Codec>(&self) -> Typed<T, C> {
        Typed { client: self.clone(), values: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned, C: Codec> Typed<T, C> {
    /// The value under a key.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let points = client.typed::<(i32, i32)>();
    /// points.set("home", &(3, 4)).await?;
    /// assert_eq!(points.get("home").await?, Some((3, 4)));
    /// assert_eq!(points.get("work").await?, None);
    /// # Ok(()) });
    /// ```
    pub async fn get(&self, key: &str) -> Result<Option<T>> {
        self.client.get(key).await?.map(|value| decode::<C, T>(key, &value)).transpose()
    }

    /// The values under these keys, in their order, all at one moment, in one call of the store.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let points = client.typed::<(i32, i32)>();
    /// points.set("home", &(3, 4)).await?;
    /// assert_eq!(points.get_many(&["work", "home"]).await?, [None, Some((3, 4))]);
    /// # Ok(()) });
    /// ```
    pub async fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<T>>> {
        let values = self.client.get_many(names).await?;
        let named = names.iter().zip(values);
        named.map(|(name, value)| value.map(|value| decode::<C, T>(name.as_ref(), &value)).transpose()).collect()
    }

    /// A page of the bucket in the order of its keys. The projection of the query is ignored: it is that of entries.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::model::Scan;
    ///
    /// let points = client.typed::<(i32, i32)>();
    /// points.set_many(&[("at/home", &(3, 4)), ("at/work", &(5, 6))]).await?;
    /// let page = points.scan(Scan { prefix: "at/".into(), ..Scan::default() }).await?;
    /// let sum: i32 = page.entries.iter().map(|(_, (x, _))| x).sum();
    /// assert_eq!((sum, page.cursor), (8, None));
    /// # Ok(()) });
    /// ```
    pub async fn scan(&self, query: Scan) -> Result<TypedPage<T>> {
        let page = self.client.scan(Scan { projection: Projection::Entries, ..query }).await?;
        let mut entries = Vec::with_capacity(page.entries.len());
        for (key, entry) in page.entries {
            if let Some(entry) = entry {
                let value = decode::<C, T>(key.as_str(), &entry.value)?;
                entries.push((key, value));
            }
        }
        Ok(TypedPage { entries, cursor: page.cursor })
    }

    /// Stores a value that never expires. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.typed::<Vec<u32>>().set("primes", &vec![2, 3, 5]).await?;
    /// assert_eq!(client.get_string("primes").await?.as_deref(), Some("[2,3,5]"));
    /// # Ok(()) });
    /// ```
    pub async fn set(&self, key: &str, value: &T) -> Result<Revision> {
        self.client.store_one(self.put(key, value, None)?).await
    }

    /// Stores a value with a time to live. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.typed::<u32>().set_ex("code", &1234, Duration::from_secs(60)).await?;
    /// assert!(client.ttl("code").await?.is_some());
    /// # Ok(()) });
    /// ```
    pub async fn set_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<Revision> {
        self.client.store_one(self.put(key, value, Some(ttl))?).await
    }

    /// Stores several values that never expire, all or none, in one call of the store.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let ages = client.typed::<u32>();
    /// ages.set_many(&[("Ada", &36), ("Bob", &7)]).await?;
    /// assert_eq!(ages.get("Bob").await?, Some(7));
    /// # Ok(()) });
    /// ```
    pub async fn set_many(&self, pairs: &[(impl AsRef<str>, &T)]) -> Result<()> {
        let writes = pairs.iter().map(|(key, value)| self.put(key.as_ref(), value, None)).collect::<Result<_>>()?;
        self.client.commit_returning_nothing(writes).await.map(drop)
    }

    /// Stores a value that never expires, if the key is missing. Returns whether it did.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let ages = client.typed::<u32>();
    /// assert!(ages.set_nx("Ada", &36).await? && !ages.set_nx("Ada", &37).await?);
    /// # Ok(()) });
    /// ```
    pub async fn set_nx(&self, key: &str, value: &T) -> Result<bool> {
        self.client.store_if_absent(self.put(key, value, None)?).await
    }

    /// Stores a value with a time to live, if the key is missing. Returns whether it did.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// assert!(client.typed::<u32>().set_nx_ex("lock", &7, Duration::from_secs(60)).await?);
    /// # Ok(()) });
    /// ```
    pub async fn set_nx_ex(&self, key: &str, value: &T, ttl: Duration) -> Result<bool> {
        self.client.store_if_absent(self.put(key, value, Some(ttl))?).await
    }

    /// Stores a value that never expires and returns the old one.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let ages = client.typed::<u32>();
    /// ages.set("Ada", &36).await?;
    /// assert_eq!(ages.get_and_set("Ada", &37).await?, Some(36));
    /// # Ok(()) });
    /// ```
    pub async fn get_and_set(&self, key: &str, value: &T) -> Result<Option<T>> {
        let before = self.client.commit_one(self.put(key, value, None)?).await?.before;
        before.map(|entry| decode::<C, T>(key, &entry.value)).transpose()
    }

    /// Deletes an entry and returns its value.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let ages = client.typed::<u32>();
    /// ages.set("Ada", &36).await?;
    /// assert_eq!((ages.get_and_delete("Ada").await?, ages.get("Ada").await?), (Some(36), None));
    /// # Ok(()) });
    /// ```
    pub async fn get_and_delete(&self, key: &str) -> Result<Option<T>> {
        self.client.get_and_delete(key).await?.map(|value| decode::<C, T>(key, &value)).transpose()
    }

    /// Changes a value as `f` decides, and returns the new value. `None` means that there is no value. As with
    /// [`Client::update`], `f` is called again if somebody else writes the key at the same time.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let lists = client.typed::<Vec<String>>();
    /// let add = |old: Option<Vec<String>>| {
    ///     let mut list = old.unwrap_or_default();
    ///     list.push("fig".to_owned());
    ///     Some(list)
    /// };
    /// assert_eq!(lists.update("fruit", add).await?.expect("it was set").len(), 1);
    /// assert_eq!(lists.update("fruit", add).await?.expect("it was set").len(), 2);
    /// assert_eq!(lists.update("fruit", |_| None).await?, None);
    /// # Ok(()) });
    /// ```
    pub async fn update(&self, key: &str, mut f: impl FnMut(Option<T>) -> Option<T>) -> Result<Option<T>> {
        let content_type = ContentType::new(C::CONTENT_TYPE)?;
        let mut new_value = None;
        let mut next = |old: Option<T>| {
            new_value = f(old);
            let value = new_value.as_ref().map(|value| encode::<C>(key, value)).transpose()?;
            Ok(value.map_or(UpdateAction::Delete, UpdateAction::Set))
        };
        self.client
            .change(
                key,
                |_| content_type.clone(),
                |old| next(old.map(|entry| decode::<C, T>(key, &entry.value)).transpose()?),
            )
            .await?;
        Ok(new_value)
    }

    fn put(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<Write> {
        self.client.put_encoded::<C>(key, value, ttl)
    }
}

impl Client {
    /// The write that stores a value in a format.
    pub(crate) fn put_encoded<C: Codec>(
        &self,
        key: &str,
        value: &impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Write> {
        let content_type = ContentType::new(C::CONTENT_TYPE)?;
        self.put(key, encode::<C>(key, value)?, &Options { content_type, ttl, modified: None })
    }
}
