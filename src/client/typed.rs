//! Values of one type, stored as JSON.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::compare_and_swap::UpdateAction;
use super::set::Options;
use crate::model::{ContentType, Error, ErrorKind, Key, Projection, Result, Revision, Scan, Write};

/// A client for values of one type. They are stored as JSON with the content type `application/json`, so that people
/// and other programs can read them. Made by [`Client::typed`].
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
/// Every method fails with `Invalid` if a value cannot be written as JSON, or the stored value is not JSON of this
/// type. Its other errors are those of the method of [`Client`] with the same name. If a method returns the old value,
/// it parses it after the write is done.
pub struct Typed<T> {
    client: Client,
    values: PhantomData<fn(&T) -> T>,
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

impl<T> Clone for Typed<T> {
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
        Typed { client: self.clone(), values: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
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
        self.client.get(key).await?.map(|value| from_json(key, &value)).transpose()
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
        named.map(|(name, value)| value.map(|value| from_json(name.as_ref(), &value)).transpose()).collect()
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
                let value = from_json(key.as_str(), &entry.value)?;
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
        before.map(|entry| from_json(key, &entry.value)).transpose()
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
        self.client.get_and_delete(key).await?.map(|value| from_json(key, &value)).transpose()
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
        let json = ContentType::json();
        let mut new_value = None;
        let mut next = |old: Option<T>| {
            new_value = f(old);
            let value = new_value.as_ref().map(|value| to_json(key, value)).transpose()?;
            Ok(value.map_or(UpdateAction::Delete, UpdateAction::Set))
        };
        self.client
            .change(key, Some(&json), |old| next(old.map(|entry| from_json(key, &entry.value)).transpose()?))
            .await?;
        Ok(new_value)
    }

    fn put(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<Write> {
        self.client.put_json(key, value, ttl)
    }
}

impl Client {
    /// The write that stores a value as JSON.
    pub(crate) fn put_json(&self, key: &str, value: &impl Serialize, ttl: Option<Duration>) -> Result<Write> {
        self.put(key, to_json(key, value)?, &Options { content_type: ContentType::json(), ttl, modified: None })
    }
}

fn to_json(key: &str, value: &impl Serialize) -> Result<Bytes> {
    let json = serde_json::to_vec(value);
    json.map(Bytes::from).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the value for {key:?} cannot be written as JSON")).with_source(error)
    })
}

/// Parses a stored value as JSON.
pub(crate) fn from_json<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        let text = format!("the value of {key:?} is not JSON of this type; read it as bytes, or store it again");
        Error::new(ErrorKind::Invalid, text).with_source(error)
    })
}
