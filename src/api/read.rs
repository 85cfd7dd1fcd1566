//! Reading: values, entries, the newest of several keys, keys in order.

use bytes::Bytes;

use super::{Client, keys, text};
use crate::model::{Entry, Key, Page, Query, Result, Shape};

/// How many keys are asked for at a time when all are wanted.
pub(super) const PAGE: usize = 10_000;

impl Client {
    /// The value under a key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("kitchen/temp", "21.5").await?;
    /// assert_eq!(client.get("kitchen/temp").await?.as_deref(), Some(&b"21.5"[..]));
    /// assert_eq!(client.get("cellar/temp").await?, None);
    /// assert!(client.get("").await.unwrap_err().is_invalid(), "that is no key");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.store.values(&self.bucket, &[Key::new(key)?]).await?.pop().flatten())
    }

    /// The value under a key as text.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("name", "Ada").await?;
    /// client.set("photo", vec![0xff, 0xd8]).await?;
    /// assert_eq!(client.get_string("name").await?.as_deref(), Some("Ada"));
    /// assert!(client.get_string("photo").await.unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not UTF-8.
    pub async fn get_string(&self, key: &str) -> Result<Option<String>> {
        self.get(key).await?.map(|value| text(key, value)).transpose()
    }

    /// The entry under a key: the value and what is known of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let revision = client.set("door", "open").await?;
    /// let entry = client.get_entry("door").await?.expect("it is there");
    /// assert_eq!((&entry.value[..], entry.revision, entry.expires), (&b"open"[..], revision, None));
    /// println!("{} since {}", entry.content_type.as_str(), entry.updated());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.look(&Key::new(key)?).await
    }

    /// The values under these keys, in their order, all of one moment: one call of the store.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    /// let values = client.get_many(&["attic", "cellar", "hall"]).await?;
    /// assert_eq!(values, [Some("12".into()), None, Some("19".into())]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys(names)?;
        self.store.values(&self.bucket, &keys).await
    }

    /// The most recently updated of these keys that are there, with its entry: what `GET /?k=a,b` answers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set("door", "").await?;
    /// assert!(client.exists("door").await?, "an empty value is a value");
    /// assert!(!client.exists("window").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.get(key).await?.is_some())
    }

    /// A page of the bucket in the order of the bytes of its keys, all of one moment.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use kvs::model::Query;
    ///
    /// client.set_many(&[("user/1", "Ada"), ("user/2", "Bob"), ("user/3", "Cy")]).await?;
    /// let mut query = Query { prefix: "user/".into(), limit: 2, ..Query::default() };
    /// let page = client.scan(query.clone()).await?;
    /// assert_eq!((page.entries.len(), page.entries[0].0.as_str()), (2, "user/1"));
    ///
    /// // The next page begins behind the cursor; the last has none.
    /// query.after = page.cursor.map(|key| key.to_string());
    /// let page = client.scan(query).await?;
    /// assert_eq!((page.entries[0].0.as_str(), page.cursor), ("user/3", None));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scan(&self, query: Query) -> Result<Page> {
        self.store.scan(&self.bucket, query).await
    }

    /// All keys that begin with `prefix`, ordered by their bytes. They are read page by page, 10,000 at a time: what
    /// others write meanwhile may or may not be among them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("user/2", "Bob"), ("user/1", "Ada"), ("room", "12")]).await?;
    /// let names: Vec<String> = client.keys("user/").await?.iter().map(ToString::to_string).collect();
    /// assert_eq!(names, ["user/1", "user/2"]);
    /// assert_eq!(client.keys("").await?.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("user/1", "Ada"), ("user/2", "Bob"), ("room", "12")]).await?;
    /// assert_eq!((client.count("user/").await?, client.count("").await?), (2, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count(&self, prefix: &str) -> Result<u64> {
        let query = Query { prefix: prefix.to_owned(), shape: Shape::Count, ..Query::default() };
        Ok(self.scan(query).await?.count.unwrap_or(0))
    }
}
