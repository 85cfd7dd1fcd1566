//! Changes that depend on the old value: compare-and-swap, and updates by a function. They hold no lock.

use bytes::Bytes;

use super::client::Client;
use super::value::IntoValue;
use crate::model::{Condition, ContentType, Entry, Expectation, Key, Result, Write};

/// The result of a compare-and-swap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CasOutcome {
    /// The value was as expected and has been replaced.
    Swapped,
    /// The value was different; this is the entry, and nothing was done.
    Mismatch(Option<Entry>),
}

impl CasOutcome {
    /// Whether the value has been replaced.
    pub fn is_done(&self) -> bool {
        *self == Self::Swapped
    }
}

/// What an update does with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpdateAction {
    /// Store this value.
    Set(Bytes),
    /// Leave the entry as it is.
    Keep,
    /// Delete the entry.
    Delete,
}

impl Client {
    /// Stores `new` if the value is `expected`; `None` means that the key must be missing.
    ///
    /// The new value is text and never expires, as after [`set`](Self::set).
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// assert!(client.compare_and_swap("door", None, "open").await?.is_done());
    /// assert!(!client.compare_and_swap("door", Some(b"locked"), "shut").await?.is_done());
    /// assert!(client.compare_and_swap("door", Some(b"open"), "shut").await?.is_done());
    /// # Ok(()) });
    /// ```
    pub async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: impl IntoValue,
    ) -> Result<CasOutcome> {
        let condition = match expected {
            None => Condition::Absent,
            Some(value) => Condition::ValueIs(Bytes::copy_from_slice(value)),
        };
        let key = Key::new(key)?;
        let write = Write::put(key.clone(), new.into_value());
        Ok(match self.commit_if(Expectation { key, condition }, write).await? {
            Ok(_) => CasOutcome::Swapped,
            Err(found) => CasOutcome::Mismatch(found),
        })
    }

    /// Changes an entry as `f` decides, and returns the new entry.
    ///
    /// `f` gets the entry, or `None` if there is none. If somebody else writes the key at the same time, nothing is
    /// done and `f` is called again, so it should have no side effects. A new value keeps the content type and the
    /// expiry of the entry.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use kvs::client::UpdateAction;
    ///
    /// client.set("name", "ada").await?;
    /// let upper = |old: Option<&kvs::model::Entry>| match old {
    ///     Some(entry) => UpdateAction::Set(entry.value.to_ascii_uppercase().into()),
    ///     None => UpdateAction::Keep,
    /// };
    /// client.update("name", upper).await?;
    /// assert_eq!(client.get_string("name").await?.as_deref(), Some("ADA"));
    /// # Ok(()) });
    /// ```
    pub async fn update(&self, key: &str, mut f: impl FnMut(Option<&Entry>) -> UpdateAction) -> Result<Option<Entry>> {
        let kept = |old: Option<&Entry>| old.map(|entry| entry.content_type.clone()).unwrap_or_default();
        self.change(key, kept, |old| Ok(f(old))).await
    }

    /// Like `update`, but `f` may fail, which ends it, and `content_type` gives the type of the new value.
    pub(crate) async fn change(
        &self,
        key: &str,
        content_type: impl Fn(Option<&Entry>) -> ContentType,
        mut f: impl FnMut(Option<&Entry>) -> Result<UpdateAction>,
    ) -> Result<Option<Entry>> {
        let key = Key::new(key)?;
        let mut old = self.find(&key).await?;
        // Each round but the last means that another writer was faster, so some writer always makes progress.
        loop {
            let write = match f(old.as_ref())? {
                UpdateAction::Keep => return Ok(old),
                UpdateAction::Delete => Write::Delete { key: key.clone() },
                UpdateAction::Set(value) => Write::Put {
                    key: key.clone(),
                    value,
                    content_type: content_type(old.as_ref()),
                    expires: old.as_ref().and_then(|e| e.expires),
                    modified: None,
                },
            };
            match self.commit_if(Expectation::unchanged(key.clone(), old.as_ref()), write).await? {
                Ok(change) => return Ok(change.after),
                Err(found) => old = found,
            }
        }
    }
}
