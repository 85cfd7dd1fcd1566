//! The logs of a store whose values have another form.

use async_trait::async_trait;

use super::transformed::{Form, Place, Transformed};
use crate::model::{
    AppendOutcome, Bucket, Error, ErrorKind, Key, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, NewLogEntry,
    Result,
};
use crate::store::{Logs, check_append};

impl<F: Form> Transformed<F> {
    fn inner_logs(&self) -> Result<&dyn Logs> {
        self.inner.logs().ok_or_else(|| Error::new(ErrorKind::Invalid, "the store inside this layer has no logs"))
    }

    pub(super) async fn decode_log_entry(&self, bucket: &Bucket, key: &Key, entry: LogEntry) -> Result<LogEntry> {
        let LogEntry { value, content_type, .. } = entry;
        let (value, content_type) = self.decode_value(in_log(bucket, key), value, content_type).await?;
        Ok(LogEntry { value, content_type, ..entry })
    }
}

fn in_log<'a>(bucket: &'a Bucket, key: &'a Key) -> Place<'a> {
    Place { bucket, key, is_in_log: true }
}

#[async_trait]
impl<F: Form> Logs for Transformed<F> {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        check_append(key, &append, self.limits)?;
        let (mut entries, mut hold) = (Vec::with_capacity(append.entries.len()), F::Hold::default());
        for NewLogEntry { value, content_type, updated } in append.entries {
            let place = in_log(bucket, key);
            let (value, content_type) = self.encode_value(place, value, &content_type, &mut hold).await?;
            entries.push(NewLogEntry { value, content_type, updated });
        }
        self.inner_logs()?.append(bucket, key, LogAppend { entries, ..append }).await
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        let Some(page) = self.inner_logs()?.read_log(bucket, key, query).await? else { return Ok(None) };
        let (mut entries, mut bytes) = (Vec::with_capacity(page.entries.len()), 0_usize);
        for entry in page.entries {
            let entry = self.decode_log_entry(bucket, key, entry).await?;
            bytes = bytes.saturating_add(entry.value.len());
            if !entries.is_empty() && bytes > LogQuery::MAX_PAGE_BYTES {
                break;
            }
            entries.push(entry);
        }
        Ok(Some(LogPage { entries, ..page }))
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        self.inner_logs()?.remove_log(bucket, key, before).await
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        self.inner_logs()?.log_changed(bucket, key, next).await
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        self.inner_logs()?.log_keys(bucket, query).await
    }

    async fn log_buckets(&self) -> Result<Vec<Bucket>> {
        self.inner_logs()?.log_buckets().await
    }
}
