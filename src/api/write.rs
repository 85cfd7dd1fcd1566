//! Writing: storing, deleting, counting, and when an entry ends.

use std::time::Duration;

use bytes::Bytes;

use super::client::broken;
use super::{Client, keys};
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
    pub async fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Revision> {
        self.set_with(key, value, &Options::default()).await
    }

    /// Stores a value with more said of it, and gives the revision of the write.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let clock = Arc::new(kvs::model::SystemClock);
    /// # let client = kvs::api::Client::new(Arc::new(kvs::memory::MemoryStore::new(clock, Default::default())));
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
    /// `Invalid` if the time to live is zero, `TooLarge` if the value exceeds the store's limit.
    pub async fn set_with(&self, key: &str, value: impl Into<Bytes>, options: &Options) -> Result<Revision> {
        let write = self.put(key, value.into(), options)?;
        stored(self.commit_one(write).await?.after)
    }

    /// Stores several values as text that stays, all or none, in their order; of one key twice the last.
    pub async fn set_many(&self, pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<()> {
        let mut writes = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            writes.push(Write::put(Key::new(key.as_ref())?, Bytes::copy_from_slice(value.as_ref())));
        }
        self.commit(writes).await.map(drop)
    }

    /// Stores a value if there is none under the key; whether it did.
    pub async fn set_nx(&self, key: &str, value: impl Into<Bytes>) -> Result<bool> {
        let write = self.put(key, value.into(), &Options::default())?;
        Ok(self.commit_if(Condition::Absent, write).await?.is_ok())
    }

    /// Stores a value and gives the one that stood there. Like [`set`](Self::set) it makes a text that stays.
    pub async fn get_and_set(&self, key: &str, value: impl Into<Bytes>) -> Result<Option<Bytes>> {
        let write = self.put(key, value.into(), &Options::default())?;
        Ok(self.commit_one(write).await?.before.map(|entry| entry.value))
    }

    /// Removes an entry; whether there was one.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.commit_one(Write::Delete { key: Key::new(key)? }).await?.before.is_some())
    }

    /// Removes these entries, all at one moment; how many there were.
    pub async fn delete_many(&self, names: &[impl AsRef<str>]) -> Result<u64> {
        let writes = keys(names)?.into_iter().map(|key| Write::Delete { key }).collect();
        Ok(self.commit(writes).await?.iter().filter(|change| change.before.is_some()).count() as u64)
    }

    /// Adds to a decimal number and gives the sum; a missing one counts as 0. Type and end of the entry stay.
    ///
    /// # Errors
    /// `Invalid` if the value is no number, or the sum does not fit into 64 bits.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        let after = self.commit_one(Write::Increment { key: Key::new(key)?, by }).await?.after;
        let sum = after.as_ref().and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok());
        sum.ok_or_else(|| broken("gave no number for a sum"))
    }

    /// Takes from a decimal number and gives the rest, as [`increment`](Self::increment) does.
    pub async fn decrement(&self, key: &str, by: i64) -> Result<i64> {
        let by = by.checked_neg();
        let by = by.ok_or_else(|| Error::new(Kind::Invalid, format!("{} cannot be taken from a number", i64::MIN)))?;
        self.increment(key, by).await
    }

    /// Lets an entry end that long from now; whether there is one. Its revision stays.
    ///
    /// # Errors
    /// `Invalid` if the time to live is zero: delete the entry instead.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        let end = self.end(ttl)?;
        self.touch(key, Some(end)).await
    }

    /// Lets an entry stay for good; whether there is one. Its revision stays.
    pub async fn persist(&self, key: &str) -> Result<bool> {
        self.touch(key, None).await
    }

    async fn touch(&self, key: &str, expires: Option<Time>) -> Result<bool> {
        Ok(self.commit_one(Write::Touch { key: Key::new(key)?, expires }).await?.before.is_some())
    }

    fn put(&self, key: &str, value: Bytes, options: &Options) -> Result<Write> {
        let Options { content_type, ttl, modified } = options.clone();
        let expires = ttl.map(|ttl| self.end(ttl)).transpose()?;
        Ok(Write::Put { key: Key::new(key)?, value, content_type, expires, modified })
    }

    fn end(&self, ttl: Duration) -> Result<Time> {
        if ttl.is_zero() {
            return Err(Error::new(Kind::Invalid, "a time to live of zero: give more, or delete the entry"));
        }
        Ok(self.clock.now().plus(ttl))
    }
}

/// The revision of what was stored. A value that had ended before it was stored leaves none.
fn stored(after: Option<Entry>) -> Result<Revision> {
    match after {
        Some(entry) => Ok(entry.revision),
        None => Err(Error::new(Kind::Invalid, "the value ended before it was stored: give it more time to live")),
    }
}
