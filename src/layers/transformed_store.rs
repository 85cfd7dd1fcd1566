//! A store whose values have another form.

use bytes::Bytes;

use super::transformed::{Form, Transformed};
use crate::model::{Bucket, ChangesPage, ChangesQuery, Key, LogKeysQuery, LogQuery, Page, Result, Scan, Snapshot};
use crate::store::{Finding, Report, Severity, Task};

/// How many entries are decoded at a time.
const PAGE_ENTRIES: usize = 100;

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

    pub(super) async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        let Some(changes) = self.inner.changes() else { return Ok(None) };
        loop {
            let Some(mut page) = changes.changes_since(bucket, query.clone()).await? else { return Ok(None) };
            if self.decode_changes(bucket, &mut page).await? {
                return Ok(Some(page));
            }
        }
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

    /// Decodes all logs of a bucket, and returns what is damaged.
    pub(super) async fn check_logs(&self, bucket: &Bucket) -> Result<Vec<Finding>> {
        let (Some(logs), mut findings) = (self.inner.logs(), vec![]) else { return Ok(vec![]) };
        let mut after = None;
        loop {
            let keys = logs.log_keys(bucket, LogKeysQuery { after, ..LogKeysQuery::default() }).await?;
            for key in &keys {
                let mut from = 0;
                while let Some(page) = logs.read_log(bucket, key, LogQuery::from_index(from)).await? {
                    from = page.end();
                    let is_last = page.entries.is_empty() || from >= page.next;
                    for entry in page.entries {
                        if let Err(error) = self.decode_log_entry(bucket, key, entry).await {
                            findings.push(Finding::new(Severity::Damage, error.to_string()));
                        }
                    }
                    if is_last {
                        break;
                    }
                }
            }
            after = keys.last().cloned();
            if after.is_none() {
                return Ok(findings);
            }
        }
    }
}
