//! Storing values. Each method is one call of the store, for any number of keys.

use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::value::IntoValue;
use crate::model::{ContentType, Entry, Error, ErrorKind, Expectation, Key, Result, Revision, Time, Write};

/// The metadata of a value to store.
///
/// ```
/// use kvs::client::Options;
///
/// let options = Options { ttl: Some(std::time::Duration::from_secs(60)), ..Options::default() };
/// assert!(options.content_type.is_default());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The media type; by default text.
    pub content_type: ContentType,
    /// The time to live; `None`: the value never expires.
    pub ttl: Option<Duration>,
    /// The time of modification; `None`: the time of the commit.
    pub modified: Option<Time>,
}

impl Options {
    /// A time to live, and defaults for the rest.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..Self::default() }
    }
}

impl Client {
    /// Stores a value as text that never expires. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let first = client.set("door", "open").await?;
    /// let second = client.set("door", "shut").await?;
    /// assert!(second > first);
    ///
    /// let error = client.set("door", vec![0; 2 << 20]).await.unwrap_err();
    /// assert_eq!(error.kind(), kvs::model::ErrorKind::TooLarge);
    /// assert!(error.is_invalid() && !error.is_retryable());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn set(&self, key: &str, value: impl IntoValue) -> Result<Revision> {
        self.set_with(key, value, &Options::default()).await
    }

    /// Stores a value with options. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    /// use kvs::client::Options;
    /// use kvs::model::ContentType;
    ///
    /// let content_type = ContentType::new("application/json")?;
    /// let options = Options { content_type, ttl: Some(Duration::from_secs(60)), ..Options::default() };
    /// client.set_with("sensor/7", r#"{"lux":300}"#, &options).await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero or longer than 36500 days, `TooLarge` if the value exceeds the store's
    /// limit.
    pub async fn set_with(&self, key: &str, value: impl IntoValue, options: &Options) -> Result<Revision> {
        self.store_one(self.put(key, value.into_value(), options)?).await
    }

    /// Stores a value as text with a time to live. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set_ex("session/7", "Ada", Duration::from_secs(3600)).await?;
    /// assert!(client.ttl("session/7").await?.is_some());
    /// assert!(client.set_ex("session/7", "Ada", Duration::ZERO).await.unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Those of [`set_with`](Self::set_with).
    pub async fn set_ex(&self, key: &str, value: impl IntoValue, ttl: Duration) -> Result<Revision> {
        self.set_with(key, value, &Options::ttl(ttl)).await
    }

    /// Stores a value as text that expires at that time. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::model::Time;
    ///
    /// let midnight: Time = "2100-01-01T00:00:00Z".parse()?;
    /// client.set_at("offer", "half price", midnight).await?;
    /// assert_eq!(client.get_entry("offer").await?.expect("it exists").expires, Some(midnight));
    ///
    /// let past = std::time::SystemTime::UNIX_EPOCH;
    /// assert!(client.set_at("offer", "half price", past).await.unwrap_err().is_invalid());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if that time has passed, `TooLarge` if the value exceeds the store's limit.
    pub async fn set_at(&self, key: &str, value: impl IntoValue, expires: impl Into<Time>) -> Result<Revision> {
        let expiry = expires.into();
        if expiry <= self.clock.now() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the expiry {expiry} has passed; use a later one, or delete the entry"),
            ));
        }
        let mut write = self.put(key, value.into_value(), &Options::default())?;
        if let Write::Put { expires, .. } = &mut write {
            *expires = Some(expiry);
        }
        self.store_one(write).await
    }

    /// Stores several values as text that never expires, all or none, in one call of the store. If a key occurs twice,
    /// the last value wins.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    ///
    /// // One key is not valid, so nothing is stored.
    /// assert!(client.set_many(&[("hall", "20"), ("", "1")]).await.unwrap_err().is_invalid());
    /// assert_eq!(client.get_string("hall").await?.as_deref(), Some("19"));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if a value exceeds the store's limit.
    pub async fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        let mut writes = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            writes.push(Write::put(Key::new(key.as_ref())?, Bytes::copy_from_slice(value.as_ref())));
        }
        self.commit_returning_nothing(writes).await.map(drop)
    }

    /// Stores a value as text that never expires, if the key is missing. Returns whether it did.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// assert!(client.set_nx("leader", "one").await?);
    /// assert!(!client.set_nx("leader", "two").await?);
    /// assert_eq!(client.get_string("leader").await?.as_deref(), Some("one"));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn set_nx(&self, key: &str, value: impl IntoValue) -> Result<bool> {
        self.store_if_absent(self.put(key, value.into_value(), &Options::default())?).await
    }

    /// Stores a value as text with a time to live, if the key is missing. Returns whether it did.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// // A lock that is released automatically if its holder dies.
    /// let minute = Duration::from_secs(60);
    /// assert!(client.set_nx_ex("lock", "job 1", minute).await?);
    /// assert!(!client.set_nx_ex("lock", "job 2", minute).await?);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Those of [`set_with`](Self::set_with).
    pub async fn set_nx_ex(&self, key: &str, value: impl IntoValue, ttl: Duration) -> Result<bool> {
        self.store_if_absent(self.put(key, value.into_value(), &Options::ttl(ttl))?).await
    }

    /// Stores a value like [`set`](Self::set) and returns the old one.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// assert_eq!(client.get_and_set("turn", "Ada").await?, None);
    /// assert_eq!(client.get_and_set("turn", "Bob").await?, Some("Ada".into()));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn get_and_set(&self, key: &str, value: impl IntoValue) -> Result<Option<Bytes>> {
        let write = self.put(key, value.into_value(), &Options::default())?;
        Ok(self.commit_one(write).await?.before.map(|entry| entry.value))
    }

    /// The write that stores a value.
    pub(crate) fn put(&self, key: &str, value: Bytes, options: &Options) -> Result<Write> {
        let Options { content_type, ttl, modified } = options.clone();
        let expires = ttl.map(|ttl| self.expiry_after(ttl)).transpose()?;
        Ok(Write::Put { key: Key::new(key)?, value, content_type, expires, modified })
    }

    pub(crate) async fn store_one(&self, write: Write) -> Result<Revision> {
        // A value may expire before it is stored, which only its change shows.
        if matches!(write, Write::Put { expires: None, .. }) {
            return self.commit_returning_nothing(vec![write]).await;
        }
        let change = self.commit_returning_metadata(vec![write]).await?.pop();
        stored(change.and_then(|change| change.after))
    }

    pub(crate) async fn store_if_absent(&self, write: Write) -> Result<bool> {
        Ok(self.commit_if(Expectation::unchanged(write.key().clone(), None), write).await?.is_ok())
    }
}

/// The revision of the stored entry. There is none if the value expired before the commit.
fn stored(after: Option<Entry>) -> Result<Revision> {
    match after {
        Some(entry) => Ok(entry.revision),
        None => Err(Error::new(
            ErrorKind::Invalid,
            "the time to live ended before the write was committed; use a longer one",
        )),
    }
}
