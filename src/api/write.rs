//! Storing values. Each method is one call of the store, however many keys it writes.

use std::time::Duration;

use bytes::Bytes;

use super::Client;
use crate::model::{Condition, ContentType, Entry, Error, Key, Kind, Result, Revision, Time, Write};

/// What may be said of a value beside the value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Its media type; not given: text.
    pub content_type: ContentType,
    /// How long it stays; not given: for good.
    pub ttl: Option<Duration>,
    /// The client's own time of modification.
    pub modified: Option<Time>,
}

impl Options {
    /// To stay that long and no longer.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..Self::default() }
    }
}

impl Client {
    /// Stores a value as text that stays, and gives the revision of the write.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// let first = client.set("door", "open").await?;
    /// let second = client.set("door", "shut").await?;
    /// assert!(second > first);
    ///
    /// let error = client.set("door", vec![0; 2 << 20]).await.unwrap_err();
    /// assert_eq!(error.kind(), kvs::model::Kind::TooLarge);
    /// assert!(error.is_invalid() && !error.is_retryable());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Revision> {
        self.set_with(key, value, &Options::default()).await
    }

    /// Stores a value with more said of it, and gives the revision of the write.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    /// use kvs::api::Options;
    /// use kvs::model::ContentType;
    ///
    /// let content_type = ContentType::new("application/json")?;
    /// let options = Options { content_type, ttl: Some(Duration::from_secs(60)), ..Options::default() };
    /// client.set_with("sensor/7", r#"{"lux":300}"#, &options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero or longer than 36500 days, `TooLarge` if the value exceeds the store's limit.
    pub async fn set_with(&self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<Revision> {
        self.store_one(self.put(key, value.into(), options)?).await
    }

    /// Stores a value as text that stays that long, and gives the revision of the write.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// client.set_ex("session/7", "Ada", Duration::from_secs(3600)).await?;
    /// assert!(client.ttl("session/7").await?.is_some());
    /// assert!(client.set_ex("session/7", "Ada", Duration::ZERO).await.unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`set_with`](Self::set_with).
    pub async fn set_ex(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<Revision> {
        self.set_with(key, value, &Options::ttl(ttl)).await
    }

    /// Stores a value as text that stays until that moment, and gives the revision of the write.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use kvs::model::Time;
    ///
    /// let midnight: Time = "2100-01-01T00:00:00Z".parse()?;
    /// client.set_at("offer", "half price", midnight).await?;
    /// assert_eq!(client.get_entry("offer").await?.expect("it is there").expires, Some(midnight));
    ///
    /// let past = std::time::SystemTime::UNIX_EPOCH;
    /// assert!(client.set_at("offer", "half price", past).await.unwrap_err().is_invalid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if that moment has passed, `TooLarge` if the value exceeds the store's limit.
    pub async fn set_at(&self, key: &str, value: impl Into<Bytes>, end: impl Into<Time>) -> Result<Revision> {
        let end = end.into();
        if end <= self.clock.now() {
            return Err(Error::new(Kind::Invalid, format!("{end} has passed: give a later end, or delete the entry")));
        }
        let mut write = self.put(key, value.into(), &Options::default())?;
        if let Write::Put { expires, .. } = &mut write {
            *expires = Some(end);
        }
        self.store_one(write).await
    }

    /// Stores several values as text that stays, all or none, in their order; of one key twice the last. One call of
    /// the store.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// client.set_many(&[("hall", "19"), ("attic", "12")]).await?;
    ///
    /// // One name is no key, so nothing is stored.
    /// assert!(client.set_many(&[("hall", "20"), ("", "1")]).await.unwrap_err().is_invalid());
    /// assert_eq!(client.get_string("hall").await?.as_deref(), Some("19"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if a value exceeds the store's limit.
    pub async fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        let mut writes = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            writes.push(Write::put(Key::new(key.as_ref())?, Bytes::copy_from_slice(value.as_ref())));
        }
        self.commit_untold(writes).await.map(drop)
    }

    /// Stores a value as text that stays if there is none under the key; whether it did.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// assert!(client.set_nx("leader", "one").await?);
    /// assert!(!client.set_nx("leader", "two").await?);
    /// assert_eq!(client.get_string("leader").await?.as_deref(), Some("one"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn set_nx(&self, key: &str, value: impl Into<Bytes>) -> Result<bool> {
        self.store_if_absent(self.put(key, value.into(), &Options::default())?).await
    }

    /// Stores a value as text that stays that long if there is none under the key; whether it did.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use std::time::Duration;
    ///
    /// // A lock that is let go of by itself if its holder dies.
    /// let minute = Duration::from_secs(60);
    /// assert!(client.set_nx_ex("lock", "job 1", minute).await?);
    /// assert!(!client.set_nx_ex("lock", "job 2", minute).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`set_with`](Self::set_with).
    pub async fn set_nx_ex(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<bool> {
        self.store_if_absent(self.put(key, value.into(), &Options::ttl(ttl))?).await
    }

    /// Stores a value and gives the one that stood there. Like [`set`](Self::set) it makes a text that stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// assert_eq!(client.get_and_set("turn", "Ada").await?, None);
    /// assert_eq!(client.get_and_set("turn", "Bob").await?, Some("Ada".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit.
    pub async fn get_and_set(&self, key: &str, value: impl Into<Bytes>) -> Result<Option<Bytes>> {
        let write = self.put(key, value.into(), &Options::default())?;
        Ok(self.commit_one(write).await?.before.map(|entry| entry.value))
    }

    /// The write that stores a value, with its end counted from now.
    pub(super) fn put(&self, key: &str, value: Bytes, options: &Options) -> Result<Write> {
        let Options { content_type, ttl, modified } = options.clone();
        let expires = ttl.map(|ttl| self.end(ttl)).transpose()?;
        Ok(Write::Put { key: Key::new(key)?, value, content_type, expires, modified })
    }

    pub(super) async fn store_one(&self, write: Write) -> Result<Revision> {
        // What has an end may come to it before it is stored, which only its change tells.
        if matches!(write, Write::Put { expires: None, .. }) {
            return self.commit_untold(vec![write]).await;
        }
        stored(self.commit_one(write).await?.after)
    }

    pub(super) async fn store_if_absent(&self, write: Write) -> Result<bool> {
        Ok(self.commit_if(Condition::Absent, write).await?.is_ok())
    }
}

/// The revision of what was stored. A value that had ended before it was stored leaves none.
fn stored(after: Option<Entry>) -> Result<Revision> {
    match after {
        Some(entry) => Ok(entry.revision),
        None => Err(Error::new(Kind::Invalid, "the value ended before it was stored: give it more time to live")),
    }
}
