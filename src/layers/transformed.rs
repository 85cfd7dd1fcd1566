//! What layers that store values in another form have in common: they encode what is written and decode what is read.
//!
//! An encoded value is marked by its content type, so a value from before the layer is returned unchanged.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Batch, Bucket, Change, ChangesPage, ChangesQuery, Clock, Condition, ContentType, Entry, Error, ErrorKind,
    Expectation, Key, Page, Result, Revision, Scan, Snapshot, Write,
};
use crate::store::{Finding, Limits, Report, Severity, Store, Task};

/// How many entries a check decodes at a time.
const PAGE_ENTRIES: usize = 100;

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

    /// Whether a value with the mark, given by a caller, is already in the stored form.
    fn is_encoded(&self, _place: Place<'_>, _value: &Bytes) -> bool {
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

    /// Whether [`on_commit`](Self::on_commit) needs the changes of every batch.
    const NEEDS_CHANGES: bool = false;

    /// Called after a commit, with what was stored before and after.
    fn on_commit(&self, _bucket: &Bucket, _changes: Vec<Change>) -> impl Future<Output = ()> + Send {
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
    async fn decode(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<Entry> {
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
        if content_type.essence() == F::MARK {
            if self.form.is_encoded(place, &value) {
                return Ok((value, content_type.clone()));
            }
            let text = format!("{place}: the content type {} is reserved for a layer; use another one", F::MARK);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        self.form.encode(place, value, content_type, hold).await
    }
}

pub(super) fn is_on_value(expectation: &Expectation) -> bool {
    matches!(expectation.condition, Condition::ValueIs(_))
}

/// Makes a type around a [`Transformed`] a store, so that the public type of a layer has its own methods only.
macro_rules! is_store {
    ($layer:ident) => {
        #[async_trait::async_trait]
        impl crate::store::Store for $layer {
            async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<crate::model::Snapshot> {
                self.0.get(bucket, keys).await
            }

            async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
                self.0.get_values(bucket, keys).await
            }

            async fn apply(&self, bucket: &Bucket, batch: crate::model::Batch) -> Result<crate::model::Outcome> {
                self.0.apply(bucket, batch).await
            }

            async fn scan(&self, bucket: &Bucket, query: crate::model::Scan) -> Result<crate::model::Page> {
                self.0.scan(bucket, query).await
            }

            async fn changed(&self, bucket: &Bucket, since: crate::model::Revision) -> Result<crate::model::Revision> {
                self.0.changed(bucket, since).await
            }

            async fn buckets(&self) -> Result<Vec<Bucket>> {
                self.0.buckets().await
            }

            async fn maintain(&self, bucket: &Bucket, task: crate::store::Task) -> Result<crate::store::Report> {
                self.0.maintain(bucket, task).await
            }

            fn changes(&self) -> Option<&dyn crate::store::Changes> {
                self.0.inner.changes().map(|_| self as &dyn crate::store::Changes)
            }

            fn logs(&self) -> Option<&dyn crate::store::Logs> {
                self.0.inner.logs().map(|_| &self.0 as &dyn crate::store::Logs)
            }

            /// A blob could be read or written past the layer.
            fn blobs(&self) -> Option<&dyn crate::store::Blobs> {
                None
            }
        }

        #[async_trait::async_trait]
        impl crate::store::Changes for $layer {
            async fn changes_since(
                &self,
                bucket: &Bucket,
                query: crate::model::ChangesQuery,
            ) -> Result<Option<crate::model::ChangesPage>> {
                self.0.changes_since(bucket, query).await
            }
        }
    };
}

pub(super) use is_store;

impl<F: Form> Transformed<F> {
    pub(super) async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        loop {
            let mut snapshot = self.inner.get(bucket, keys).await?;
            if self.decode_snapshot(bucket, keys, &mut snapshot).await? {
                return Ok(snapshot);
            }
        }
    }

    pub(super) async fn decode_snapshot(&self, bucket: &Bucket, keys: &[Key], snapshot: &mut Snapshot) -> Result<bool> {
        self.decode_all(bucket, keys.iter().zip(&mut snapshot.entries)).await
    }

    pub(super) async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    pub(super) async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        loop {
            let mut page = self.inner.scan(bucket, query.clone()).await?;
            if self.decode_page(bucket, &mut page).await? {
                return Ok(page);
            }
        }
    }

    pub(super) async fn decode_page(&self, bucket: &Bucket, page: &mut Page) -> Result<bool> {
        self.decode_all(bucket, page.entries.iter_mut().map(|(key, entry)| (&*key, entry))).await
    }

    pub(super) async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.inner.changes() else { return Ok(None) };
        loop {
            let Some(mut page) = changes.changes_since(bucket, query.clone()).await? else { return Ok(None) };
            if self.decode_changes(bucket, &mut page).await? {
                return Ok(Some(page));
            }
        }
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

    pub(super) async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let mut report = self.inner.maintain(bucket, task).await?;
        if task == Task::Check {
            let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
            loop {
                let page = self.inner.scan(bucket, query.clone()).await?;
                for (key, entry) in page.entries {
                    let Some(entry) = entry else { continue };
                    if let Err(error) = self.decode(bucket, &key, entry).await {
                        report.findings.push(Finding::new(Severity::Damage, error.to_string()));
                    }
                }
                let Some(cursor) = page.cursor else { break };
                query.after = Some(cursor.as_str().to_owned());
            }
            report.findings.extend(self.check_logs(bucket).await?);
        }
        Ok(report)
    }
}
