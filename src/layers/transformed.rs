//! What layers that store values in another form have in common: they encode what is written and decode what is read.
//!
//! An encoded value is marked by its content type, so a value from before the layer is returned unchanged. Conditions
//! on values, increments and appends need the decoded value. A batch with one of them is evaluated here, on the decoded
//! entries, and committed if these entries are still unchanged.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Batch, Bucket, Change, ChangesPage, ChangesQuery, Clock, Condition, ContentType, Entry, Error, ErrorKind,
    Expectation, Key, KeyChange, Outcome, Page, Result, Revision, Scan, Snapshot, Time, Write,
};
use crate::store::{Decision, Finding, Limits, Moment, Report, Severity, Store, Task, evaluate};

/// How many entries a check decodes at a time.
const PAGE_ENTRIES: usize = 100;

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

    /// The stored form of a value with its type. Without the mark: the value is stored as it is.
    fn encode(&self, place: Place<'_>, value: Bytes, content_type: &ContentType) -> Result<(Bytes, ContentType)>;

    /// The value and its type, from a stored value with the mark.
    fn decode(&self, place: Place<'_>, value: &Bytes, content_type: &ContentType) -> Result<(Bytes, ContentType)>;
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
    fn decode(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<Entry> {
        let Entry { value, content_type, .. } = entry;
        let (value, content_type) = self.decode_value(Place::of_value(bucket, key), value, content_type)?;
        Ok(Entry { value, content_type, ..entry })
    }

    fn encode(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<Entry> {
        let Entry { value, content_type, .. } = entry;
        let (value, content_type) = self.encode_value(Place::of_value(bucket, key), value, &content_type)?;
        Ok(Entry { value, content_type, ..entry })
    }

    /// The value and its type, from what is stored.
    pub(super) fn decode_value(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: ContentType,
    ) -> Result<(Bytes, ContentType)> {
        if content_type.essence() != F::MARK {
            return Ok((value, content_type));
        }
        self.form.decode(place, &value, &content_type)
    }

    /// What is stored for a value.
    pub(super) fn encode_value(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
    ) -> Result<(Bytes, ContentType)> {
        if content_type.essence() == F::MARK {
            let text = format!("{place}: the content type {} is reserved for a layer; use another one", F::MARK);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        self.form.encode(place, value, content_type)
    }

    /// The batch with encoded values, if it needs nothing of the current ones.
    fn encoded(&self, bucket: &Bucket, batch: &Batch) -> Result<Option<Batch>> {
        if batch.expectations.iter().any(is_on_value) {
            return Ok(None);
        }
        let mut writes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            writes.push(match write {
                Write::Increment { .. } | Write::Append { .. } | Write::Restore { .. } => return Ok(None),
                // The evaluation decides whether this is the error of the batch.
                Write::Put { value, .. } if value.len() > self.limits.max_value_bytes => return Ok(None),
                Write::Put { key, value, content_type, expires, modified } => {
                    let entry = plain_entry(value, content_type);
                    let Entry { value, content_type, .. } = self.encode(bucket, key, entry)?;
                    Write::Put { key: key.clone(), value, content_type, expires: *expires, modified: *modified }
                }
                same => same.clone(),
            });
        }
        Ok(Some(Batch { writes, ..batch.clone() }))
    }

    /// The outcome of a batch with decoded entries.
    fn decoded(&self, bucket: &Bucket, batch: &Batch, outcome: Outcome) -> Result<Outcome> {
        let decode = |key: &Key, entry: Option<Entry>| entry.map(|entry| self.decode(bucket, key, entry)).transpose();
        Ok(match outcome {
            Outcome::Committed { revision, changes } => {
                let named = batch.writes.iter().map(Write::key).zip(changes);
                let change = |(key, Change { before, after })| {
                    Ok(Change { before: decode(key, before)?, after: decode(key, after)? })
                };
                let changes = named.map(change).collect::<Result<_>>().map_err(after_commit)?;
                Outcome::Committed { revision, changes }
            }
            Outcome::PreconditionFailed { index, found } => {
                let key = batch.expectations.get(index).map(|expectation| &expectation.key);
                let found = key.map(|key| decode(key, found)).transpose()?.flatten();
                Outcome::PreconditionFailed { index, found }
            }
        })
    }

    /// Evaluates a batch on the decoded entries, and commits its result if they are unchanged.
    async fn evaluate_and_apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let keys = keys_of(&batch);
        // Each round but the last means that another writer was faster, so some writer always makes progress.
        loop {
            let snapshot = self.inner.get(bucket, &keys).await?;
            let stored: Entries<'_> = keys.iter().zip(snapshot.entries).filter_map(|(k, e)| Some((k, e?))).collect();
            let mut plain: Entries<'_> = HashMap::with_capacity(stored.len());
            for (key, entry) in &stored {
                plain.insert(key, self.decode(bucket, key, entry.clone())?);
            }
            let moment = Moment::new(self.clock.now(), snapshot.revision);
            let changes = match evaluate(&batch, self.limits, moment, |key| plain.get(key).cloned())? {
                Decision::PreconditionFailed { index, found } => {
                    return Ok(Outcome::PreconditionFailed { index, found });
                }
                Decision::Commit { changes } => changes.into_iter().map(|(_, change, _)| change.after),
            };
            let writes = self.plan(bucket, batch.writes.iter().zip(changes), &stored, &plain)?;
            let unchanged = keys.iter().map(|key| Expectation::unchanged(key.clone(), stored.get(key)));
            let others = batch.expectations.iter().enumerate().filter(|(_, expectation)| !is_on_value(expectation));
            let expectations = unchanged.chain(others.clone().map(|(_, expectation)| expectation.clone())).collect();
            let planned = Batch { expectations, writes, returning_nothing: batch.returning_nothing };
            match self.inner.apply(bucket, planned).await? {
                Outcome::PreconditionFailed { index, .. } if index < keys.len() => {}
                Outcome::PreconditionFailed { index, found } => {
                    let index = others.clone().nth(index - keys.len()).map_or(0, |(index, _)| index);
                    return self.decoded(bucket, &batch, Outcome::PreconditionFailed { index, found });
                }
                committed @ Outcome::Committed { .. } => return self.decoded(bucket, &batch, committed),
            }
        }
    }

    /// For each write of a batch, with the entry after it: the write of an encoded value that does the same.
    fn plan<'b>(
        &self,
        bucket: &Bucket,
        writes: impl Iterator<Item = (&'b Write, Option<Entry>)>,
        stored: &Entries<'_>,
        plain: &Entries<'_>,
    ) -> Result<Vec<Write>> {
        let put = |key: &Key, entry: Entry, modified| {
            let Entry { value, content_type, expires, .. } = self.encode(bucket, key, entry)?;
            Ok(Write::Put { key: key.clone(), value, content_type, expires, modified })
        };
        let plan = |(write, after): (&Write, Option<Entry>)| match (write, after) {
            (Write::Increment { key, .. } | Write::Append { key, .. }, Some(after)) => put(key, after, None),
            (Write::Put { key, value, content_type, expires, modified }, _) => {
                let entry = Entry { expires: *expires, ..plain_entry(value, content_type) };
                put(key, entry, *modified)
            }
            (Write::Restore { key, entry }, _) => {
                // An encoding may differ each time, but the same entry must stay the same.
                let is_same = |seen: &&Entry| seen.value == entry.value && seen.content_type == entry.content_type;
                let entry = match (stored.get(key), plain.get(key).filter(is_same)) {
                    (Some(old), Some(_)) => {
                        let (value, content_type) = (old.value.clone(), old.content_type.clone());
                        Entry { value, content_type, ..entry.clone() }
                    }
                    _ => self.encode(bucket, key, entry.clone())?,
                };
                Ok(Write::Restore { key: key.clone(), entry })
            }
            (same, _) => Ok(same.clone()),
        };
        writes.map(plan).collect()
    }
}

type Entries<'a> = HashMap<&'a Key, Entry>;

/// The keys of a batch, each once.
fn keys_of(batch: &Batch) -> Vec<Key> {
    let expected = batch.expectations.iter().map(|expectation| &expectation.key);
    let mut keys: Vec<Key> = expected.chain(batch.writes.iter().map(Write::key)).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn is_on_value(expectation: &Expectation) -> bool {
    matches!(expectation.condition, Condition::ValueIs(_))
}

/// An entry of which only the value and its type matter.
fn plain_entry(value: &Bytes, content_type: &ContentType) -> Entry {
    Entry {
        value: value.clone(),
        content_type: content_type.clone(),
        revision: Revision::ZERO,
        created: Time::default(),
        modified: None,
        expires: None,
    }
}

/// An old value that cannot be decoded is found only after the commit, if nothing else needed it.
fn after_commit(error: Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the write was done, but the value before it could not be read")
        .with_source(error)
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
        let Snapshot { revision, entries } = self.inner.get(bucket, keys).await?;
        // A key that is requested several times is decoded once, and shares its memory.
        let mut decoded: HashMap<&Key, Entry> = HashMap::new();
        let mut plain = Vec::with_capacity(entries.len());
        for (key, entry) in keys.iter().zip(entries) {
            let entry = match (entry, decoded.get(key)) {
                (None, _) => None,
                (Some(_), Some(known)) => Some(known.clone()),
                (Some(entry), None) => {
                    let entry = self.decode(bucket, key, entry)?;
                    decoded.insert(key, entry.clone());
                    Some(entry)
                }
            };
            plain.push(entry);
        }
        Ok(Snapshot { revision, entries: plain })
    }

    pub(super) async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    pub(super) async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        match self.encoded(bucket, &batch)? {
            Some(encoded) => {
                let outcome = self.inner.apply(bucket, encoded).await?;
                self.decoded(bucket, &batch, outcome)
            }
            None => self.evaluate_and_apply(bucket, batch).await,
        }
    }

    pub(super) async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        let mut page = self.inner.scan(bucket, query).await?;
        for (key, entry) in &mut page.entries {
            *entry = entry.take().map(|entry| self.decode(bucket, key, entry)).transpose()?;
        }
        Ok(page)
    }

    pub(super) async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.inner.changes() else { return Ok(None) };
        let mut page = changes.changes_since(bucket, query).await?;
        for KeyChange { key, entry, .. } in page.iter_mut().flat_map(|page| &mut page.changes) {
            *entry = entry.take().map(|entry| self.decode(bucket, key, entry)).transpose()?;
        }
        Ok(page)
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
                    if let Some(Err(error)) = entry.map(|entry| self.decode(bucket, &key, entry)) {
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
