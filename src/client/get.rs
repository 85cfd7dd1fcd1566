//! Reads: values, entries, the latest of several keys, and keys in order.

use bytes::Bytes;

use super::client::Client;
use super::parse::{keys, text};
use crate::model::{Entry, Key, Page, Projection, Result, Scan};

/// The number of keys per page when all are read.
pub(crate) const PAGE_KEYS: usize = 10_000;

impl Client {
    /// The value under a key.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("kitchen/temp", "21.5").await?;
    /// assert_eq!(client.get("kitchen/temp").await?.as_deref(), Some(&b"21.5"[..]));
    /// assert_eq!(client.get("cellar/temp").await?, None);
    /// assert!(client.get("").await.unwrap_err().is_invalid(), "a key must not be empty");
    /// # Ok(()) });
    /// ```
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.store.get_values(&self.bucket, &[Key::new(key)?]).await?.pop().flatten())
    }

    /// The value under a key as text.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("name", "Ada").await?;
    /// client.set("photo", vec![0xff, 0xd8]).await?;
    /// assert_eq!(client.get_string("name").await?.as_deref(), Some("Ada"));
    /// assert!(client.get_string("photo").await.unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the value is not UTF-8.
    pub async fn get_string(&self, key: &str) -> Result<Option<String>> {
        self.get(key).await?.map(|value| text(key, value)).transpose()
    }

    /// The entry under a key: the value with its metadata.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let revision = client.set("door", "open").await?;
    /// let entry = client.get_entry("door").await?.expect("it exists");
    /// assert_eq!((&entry.value[..], entry.revision, entry.expires), (&b"open"[..], revision, None));
    /// println!("{} since {}", entry.content_type.as_str(), entry.updated());
    /// # Ok(()) });
    /// ```
    pub async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.find(&Key::new(key)?).await
    }

    /// The values under these keys, in their order, all at one moment, in one call of the store.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    /// let values = client.get_many(&["attic", "cellar", "hall"]).await?;
    /// assert_eq!(values, [Some("12".into()), None, Some("19".into())]);
    /// # Ok(()) });
    /// ```
    pub async fn get_many(&self, names: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys(names)?;
        self.store.get_values(&self.bucket, &keys).await
    }

    /// The most recently updated of these keys, with its entry, as `GET /?k=a,b` returns it. `None` if all are missing.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("kitchen", "1").await?;
    /// client.set("hall", "2").await?;
    /// let (key, entry) = client.get_latest(&["hall", "kitchen", "cellar"]).await?.expect("two of them exist");
    /// assert_eq!((key.as_str(), &entry.value[..]), ("hall", &b"2"[..]));
    /// # Ok(()) });
    /// ```
    pub async fn get_latest(&self, names: &[impl AsRef<str>]) -> Result<Option<(Key, Entry)>> {
        let keys = keys(names)?;
        let entries = self.store.get(&self.bucket, &keys).await?.entries;
        let existing = keys.into_iter().zip(entries).filter_map(|(key, entry)| Some((key, entry?)));
        Ok(existing.max_by_key(|(_, entry)| entry.revision))
    }

    /// Whether there is an entry under a key.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("door", "").await?;
    /// assert!(client.exists("door").await?, "an empty value is a value");
    /// assert!(!client.exists("window").await?);
    /// # Ok(()) });
    /// ```
    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.get(key).await?.is_some())
    }

    /// A page of the bucket at one moment, ordered by the bytes of the keys.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::model::Scan;
    ///
    /// client.set_many(&[("user/1", "Ada"), ("user/2", "Bob"), ("user/3", "Cy")]).await?;
    /// let mut query = Scan { prefix: "user/".into(), limit: 2, ..Scan::default() };
    /// let page = client.scan(query.clone()).await?;
    /// assert_eq!((page.entries.len(), page.entries[0].0.as_str()), (2, "user/1"));
    ///
    /// // The next page begins after the cursor; the last page has none.
    /// query.after = page.cursor.map(|key| key.to_string());
    /// let page = client.scan(query).await?;
    /// assert_eq!((page.entries[0].0.as_str(), page.cursor), ("user/3", None));
    /// # Ok(()) });
    /// ```
    pub async fn scan(&self, query: Scan) -> Result<Page> {
        self.store.scan(&self.bucket, query).await
    }

    /// All keys that begin with `prefix`, ordered by their bytes. They are read in pages of 10,000; keys that others
    /// write meanwhile may or may not be included.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("user/2", "Bob"), ("user/1", "Ada"), ("room", "12")]).await?;
    /// let names: Vec<String> = client.keys("user/").await?.iter().map(ToString::to_string).collect();
    /// assert_eq!(names, ["user/1", "user/2"]);
    /// assert_eq!(client.keys("").await?.len(), 3);
    /// # Ok(()) });
    /// ```
    pub async fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let mut query =
            Scan { prefix: prefix.to_owned(), limit: PAGE_KEYS, projection: Projection::Keys, ..Scan::default() };
        let mut found = vec![];
        loop {
            let page = self.scan(query.clone()).await?;
            found.extend(page.entries.into_iter().map(|(key, _)| key));
            let Some(cursor) = page.cursor else { return Ok(found) };
            query.after = Some(cursor.as_str().to_owned());
        }
    }

    /// The number of keys that begin with `prefix`.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("user/1", "Ada"), ("user/2", "Bob"), ("room", "12")]).await?;
    /// assert_eq!((client.count("user/").await?, client.count("").await?), (2, 3));
    /// # Ok(()) });
    /// ```
    pub async fn count(&self, prefix: &str) -> Result<u64> {
        let query = Scan { prefix: prefix.to_owned(), projection: Projection::Count, ..Scan::default() };
        Ok(self.scan(query).await?.count.unwrap_or(0))
    }
}
