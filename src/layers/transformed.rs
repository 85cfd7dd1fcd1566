//! What layers that store values in another form have in common: they encode what is written and decode what is read.
//!
//! An encoded value is marked by its content type, so a value from before the layer is returned unchanged.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Batch, Bucket, ChangesPage, Clock, Condition, ContentType, Entry, Error, ErrorKind, Expectation, Key, Page, Result,
    Revision, Snapshot, Write,
};
use crate::store::{Limits, Store};

/// How many bytes the decoded entries of one result may take, unless it has a single entry.
pub(super) const MAX_DECODED_BYTES: u64 = 64 << 20;

/// Where a value is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a Key,
    /// Whether it is in the log of the key; otherwise it is the value of the key.
    pub(super) is_in_log: bool,
}

impl<'a> Place<'a> {
    pub(super) fn of_value(bucket: &'a Bucket, key: &'a Key) -> Self {
        Self { bucket, key, is_in_log: false }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, key, is_in_log } = self;
        let what = if *is_in_log { "an entry of log" } else { "the value of" };
        write!(f, "{what} {key:?} in bucket {bucket}")
    }
}

/// The form in which a layer stores values. Both functions get the place of the value; [`Encrypted`] binds it to that.
///
/// [`Encrypted`]: super::encrypted::Encrypted
pub(super) trait Form: Clone + Send + Sync + 'static {
    /// The `type/subtype` that marks a value of this form.
    const MARK: &'static str;

    /// What is needed until the values of a batch are committed.
    type Hold: Default + Send;

    /// The stored form of a value with its type. Without the mark: the value is stored as it is.
    fn encode(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
        hold: &mut Self::Hold,
    ) -> impl Future<Output = Result<(Bytes, ContentType)>> + Send;

    /// The value and its type, from a stored value with the mark.
    fn decode(
        &self,
        place: Place<'_>,
        value: &Bytes,
        content_type: &ContentType,
    ) -> impl Future<Output = Result<(Bytes, ContentType)>> + Send;

    /// Whether a batch can only be evaluated on the decoded entries. The evaluation also decides whether a value that is
    /// too large is the error of the batch.
    fn needs_decoded(&self, batch: &Batch, limits: Limits) -> bool {
        let write_needs_it = |write: &Write| match write {
            Write::Increment { .. } | Write::Append { .. } | Write::Restore { .. } => true,
            Write::Put { value, .. } => value.len() > limits.max_value_bytes,
            Write::Delete { .. } | Write::Read { .. } | Write::Touch { .. } => false,
        };
        batch.expectations.iter().any(is_on_value) || batch.writes.iter().any(write_needs_it)
    }

    /// Whether a value is in the form of another layer, which would have to be over this one.
    fn lacks_layer(&self, _content_type: &ContentType) -> bool {
        false
    }

    /// Whether a value with the mark, given by a caller, is already in the stored form.
    fn is_encoded(&self, _place: Place<'_>, _value: &Bytes, _hold: &mut Self::Hold) -> bool {
        false
    }

    /// The entry to return for one that was committed and cannot be decoded.
    fn undecodable(&self, _stored: Entry, error: Error) -> Result<Entry> {
        let text = "the write was done, but the value before it could not be read";
        Err(Error::new(ErrorKind::Unavailable, text).with_source(error))
    }

    /// How much memory it takes to decode an entry.
    fn decoded_bytes(&self, _entry: &Entry) -> u64 {
        0
    }

    /// Whether [`on_end`](Self::on_end) needs the changes of every batch.
    fn needs_changes(&self) -> bool {
        false
    }

    /// Called at the end of a batch, with the encoded entries that it has replaced; `None` if nothing was committed.
    fn on_end(
        &self,
        _bucket: &Bucket,
        _replaced: Option<Vec<Entry>>,
        _hold: Self::Hold,
    ) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A store whose values have another form in `inner`.
#[derive(Clone)]
pub(super) struct Transformed<F> {
    pub(super) inner: Arc<dyn Store>,
    pub(super) form: F,
    pub(super) clock: Arc<dyn Clock>,
    /// The limits of decoded values.
    pub(super) limits: Limits,
}

impl<F: Form> Transformed<F> {
    pub(super) async fn decode(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<Entry> {
        let Entry { value, content_type, .. } = entry;
        let (value, content_type) = self.decode_value(Place::of_value(bucket, key), value, content_type).await?;
        Ok(Entry { value, content_type, ..entry })
    }

    /// The decoded entry; `None` if it cannot be decoded, because it was replaced meanwhile.
    async fn decode_unless_replaced(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<Option<Entry>> {
        match self.decode(bucket, key, entry.clone()).await {
            Err(error) => {
                let now = self.inner.get(bucket, std::slice::from_ref(key)).await?.entries.pop().flatten();
                if now == Some(entry) { Err(error) } else { Ok(None) }
            }
            decoded => decoded.map(Some),
        }
    }

    /// Decodes entries in their place; false if one was replaced meanwhile, so that all must be read again.
    pub(super) async fn decode_all<'e>(
        &self,
        bucket: &Bucket,
        entries: impl Iterator<Item = (&'e Key, &'e mut Option<Entry>)> + Send,
    ) -> Result<bool> {
        // A key that is requested several times is decoded once, and shares its memory.
        let mut decoded: HashMap<&Key, Entry> = HashMap::new();
        for (key, found) in entries {
            let Some(entry) = found.take_if(|entry| entry.content_type.is_of_a_layer()) else { continue };
            let entry = match decoded.get(key) {
                Some(known) => known.clone(),
                None => match self.decode_unless_replaced(bucket, key, entry).await? {
                    Some(entry) => entry,
                    None => return Ok(false),
                },
            };
            decoded.insert(key, entry.clone());
            *found = Some(entry);
        }
        Ok(true)
    }

    /// The decoded entry of an outcome.
    pub(super) async fn decode_committed(
        &self,
        bucket: &Bucket,
        key: &Key,
        entry: Option<Entry>,
    ) -> Result<Option<Entry>> {
        let Some(entry) = entry else { return Ok(None) };
        match self.decode(bucket, key, entry.clone()).await {
            Err(error) => self.form.undecodable(entry, error).map(Some),
            decoded => decoded.map(Some),
        }
    }

    /// The value and its type, from what is stored.
    pub(super) async fn decode_value(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: ContentType,
    ) -> Result<(Bytes, ContentType)> {
        if self.form.lacks_layer(&content_type) {
            let text = format!(
                "{place} is compressed or encrypted ({}); use the settings compress and encryption_keys of the program \
                 that has stored it",
                content_type.as_str()
            );
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        if content_type.essence() != F::MARK {
            return Ok((value, content_type));
        }
        self.form.decode(place, &value, &content_type).await
    }

    /// What is stored for a value.
    pub(super) async fn encode_value(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
        hold: &mut F::Hold,
    ) -> Result<(Bytes, ContentType)> {
        let is_marked = content_type.essence() == F::MARK;
        if is_marked && self.form.is_encoded(place, &value, hold) {
            return Ok((value, content_type.clone()));
        }
        if is_marked || self.form.lacks_layer(content_type) {
            let mark = content_type.essence();
            let text = format!("{place}: the content type {mark} is reserved for a layer; use another one");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        self.form.encode(place, value, content_type, hold).await
    }
}

pub(super) fn is_on_value(expectation: &Expectation) -> bool {
    matches!(expectation.condition, Condition::ValueIs(_))
}

impl<F: Form> Transformed<F> {
    pub(super) async fn decode_snapshot(&self, bucket: &Bucket, keys: &[Key], snapshot: &mut Snapshot) -> Result<bool> {
        self.decode_all(bucket, keys.iter().zip(&mut snapshot.entries)).await
    }

    pub(super) async fn decode_page(&self, bucket: &Bucket, page: &mut Page) -> Result<bool> {
        self.decode_all(bucket, page.entries.iter_mut().map(|(key, entry)| (&*key, entry))).await
    }

    pub(super) async fn decode_changes(&self, bucket: &Bucket, page: &mut ChangesPage) -> Result<bool> {
        self.decode_all(bucket, page.changes.iter_mut().map(|change| (&change.key, &mut change.entry))).await
    }

    pub(super) async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    pub(super) async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }
}
