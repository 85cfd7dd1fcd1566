//! Changing a value by what it was, without holding a lock.

use bytes::Bytes;

use super::Client;
use crate::model::{Condition, ContentType, Entry, Key, Result, Write};

/// How a compare-and-swap ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Swap {
    /// The value was as expected and has been replaced.
    Done,
    /// It was not; this is what stands there, and nothing was done.
    Other(Option<Entry>),
}

impl Swap {
    /// Whether the value has been replaced.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

/// What an update is to make of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// This value.
    Set(Bytes),
    /// What it is.
    Keep,
    /// Nothing.
    Delete,
}

impl Client {
    /// Stores `new` if the value is `expected`; `None` stands for a key that is missing.
    ///
    /// The new value is a text that stays, as after [`set`](Self::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// assert!(client.compare_and_swap("door", None, "open").await?.is_done());
    /// assert!(!client.compare_and_swap("door", Some(b"locked"), "shut").await?.is_done());
    /// assert!(client.compare_and_swap("door", Some(b"open"), "shut").await?.is_done());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: impl Into<Bytes>) -> Result<Swap> {
        let condition = match expected {
            None => Condition::Absent,
            Some(value) => Condition::ValueIs(Bytes::copy_from_slice(value)),
        };
        let write = Write::put(Key::new(key)?, new);
        Ok(match self.commit_if(condition, write).await? {
            Ok(_) => Swap::Done,
            Err(found) => Swap::Other(found),
        })
    }

    /// Makes of an entry what `f` says, and gives what then stands there.
    ///
    /// `f` sees the entry, or that there is none. If someone else writes the key meanwhile nothing is done and `f` is
    /// asked again, so it should have no effect of its own. A value that is set keeps the type and the end that the entry
    /// had when `f` saw it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kvs::model::Result<()> {
    /// # let client = kvs::api::Client::new(std::sync::Arc::new(kvs::memory::MemoryStore::default()));
    /// use kvs::api::Next;
    ///
    /// client.set("name", "ada").await?;
    /// let upper = |old: Option<&kvs::model::Entry>| match old {
    ///     Some(entry) => Next::Set(entry.value.to_ascii_uppercase().into()),
    ///     None => Next::Keep,
    /// };
    /// client.update("name", upper).await?;
    /// assert_eq!(client.get_string("name").await?.as_deref(), Some("ADA"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update(&self, key: &str, mut f: impl FnMut(Option<&Entry>) -> Next) -> Result<Option<Entry>> {
        self.change(key, None, |old| Ok(f(old))).await
    }

    /// The same with an `f` that may fail, which ends it, and with the type that a value is to have.
    pub(super) async fn change(
        &self,
        key: &str,
        content_type: Option<&ContentType>,
        mut f: impl FnMut(Option<&Entry>) -> Result<Next>,
    ) -> Result<Option<Entry>> {
        let key = Key::new(key)?;
        let mut old = self.look(&key).await?;
        // Each turn but the last means that another writer got ahead, so among all of them there is always progress.
        loop {
            let write = match f(old.as_ref())? {
                Next::Keep => return Ok(old),
                Next::Delete => Write::Delete { key: key.clone() },
                Next::Set(value) => Write::Put {
                    key: key.clone(),
                    value,
                    content_type: content_type.or(old.as_ref().map(|e| &e.content_type)).cloned().unwrap_or_default(),
                    expires: old.as_ref().and_then(|e| e.expires),
                    modified: None,
                },
            };
            let unchanged = match &old {
                None => Condition::Absent,
                Some(entry) => Condition::RevisionIn(vec![entry.revision]),
            };
            match self.commit_if(unchanged, write).await? {
                Ok(change) => return Ok(change.after),
                Err(found) => old = found,
            }
        }
    }
}
