//! Reading: values, entries, the newest of several keys, keys in order.

use bytes::Bytes;

use super::{Client, keys};
use crate::model::{Entry, Error, Key, Kind, Page, Query, Result, Shape};

/// How many keys are asked for at a time when all are wanted.
const PAGE: usize = 1000;

impl Client {
    /// The value under a key.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value under a key as text.
    ///
    /// # Errors
    /// `Invalid` if the value is not UTF-8.
    pub async fn get_string(&self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.get(key).await? else { return Ok(None) };
        let text = String::from_utf8(value.into()).map_err(|error| {
            Error::new(Kind::Invalid, format!("the value of {key:?} is no text; read it as bytes")).because(error)
        })?;
        Ok(Some(text))
    }

    /// The entry under a key: the value and what is known of it.
    pub async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.look(&Key::new(key)?).await
    }

    /// The values under these keys, in their order, all of one moment.
    pub async fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys(names)?;
        let entries = self.store.get(&self.bucket, &keys).await?.entries;
        Ok(entries.into_iter().map(|entry| entry.map(|e| e.value)).collect())
    }

    /// The most recently updated of these keys that are there, with its entry: what `GET /?k=a,b` answers.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let clock = Arc::new(kvs::model::SystemClock);
    /// # let client = kvs::api::Client::new(Arc::new(kvs::memory::MemoryStore::new(clock, Default::default())));
    /// client.set("kitchen", "1").await?;
    /// client.set("hall", "2").await?;
    /// let (key, entry) = client.newest(&["hall", "kitchen", "cellar"]).await?.expect("two of them are there");
    /// assert_eq!((key.as_str(), &entry.value[..]), ("hall", &b"2"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn newest(&self, names: &[impl AsRef<str>]) -> Result<Option<(Key, Entry)>> {
        let keys = keys(names)?;
        let entries = self.store.get(&self.bucket, &keys).await?.entries;
        let there = keys.into_iter().zip(entries).filter_map(|(key, entry)| Some((key, entry?)));
        Ok(there.max_by_key(|(_, entry)| entry.revision))
    }

    /// Whether there is an entry under a key.
    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.get_entry(key).await?.is_some())
    }

    /// A page of the bucket.
    pub async fn scan(&self, query: Query) -> Result<Page> {
        self.store.scan(&self.bucket, query).await
    }

    /// All keys that begin with `prefix`, ordered by their bytes. They are read page by page: what others write
    /// meanwhile may or may not be among them.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let mut query = Query { prefix: prefix.to_owned(), limit: PAGE, shape: Shape::Keys, ..Query::default() };
        let mut found = vec![];
        loop {
            let page = self.scan(query.clone()).await?;
            found.extend(page.entries.into_iter().map(|(key, _)| key));
            let Some(cursor) = page.cursor else { return Ok(found) };
            query.after = Some(cursor.as_str().to_owned());
        }
    }

    /// How many keys begin with `prefix`.
    pub async fn count(&self, prefix: &str) -> Result<u64> {
        let query = Query { prefix: prefix.to_owned(), shape: Shape::Count, ..Query::default() };
        Ok(self.scan(query).await?.count.unwrap_or(0))
    }
}
