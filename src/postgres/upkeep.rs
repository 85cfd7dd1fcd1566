//! What keeps a bucket in order: what has expired is removed, the table vacuumed and analysed, and what is stored looked over.

use std::sync::Arc;

use super::engine::Engine;
use super::fault::Fault;
use super::row::column;
use super::url::Expired;
use crate::model::{Bucket, ContentType, Key, Result};
use crate::store::{Finding, Report, Task};

/// After so many findings no more are told.
const FINDINGS: usize = 100;

impl Engine {
    /// Does a piece of upkeep.
    pub(super) async fn upkeep(self: &Arc<Self>, bucket: &Bucket, task: Task) -> Result<Report> {
        if task == Task::Status {
            // The server itself keeps what is stored in order. Whether it answers, whoever asks for the buckets knows. What
            // is permitted is the same for all buckets.
            if *bucket == Bucket::default() {
                self.check_permission().await?;
            }
            return Ok(Report::default());
        }
        let now = self.place.options.clock.now().nanos();
        let (_, bytes_before) = self.weigh(bucket, now).await?;
        let mut report = Report { bytes_before, ..Report::default() };
        match task {
            Task::Compact => {
                report.removed = self.purge(bucket, now).await?;
                self.vacuum().await?;
            }
            Task::PurgeExpired => report.removed = self.purge(bucket, now).await?,
            // What was interrupted the server has undone.
            Task::Sweep | Task::Status => {}
            Task::Check => report.findings = self.findings(bucket).await?,
        }
        (report.entries, report.bytes_after) = self.weigh(bucket, now).await?;
        Ok(report)
    }

    /// How many entries there are, and the bytes of all that is stored.
    async fn weigh(&self, bucket: &Bucket, now: i64) -> Result<(u64, u64)> {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE expires_at IS NULL OR expires_at > $2), \
             coalesce(sum(octet_length(key) + octet_length(value)), 0)::bigint FROM {} WHERE bucket = $1",
            self.place.url.names.table
        );
        let rows = self.query(&sql, &[&bucket.as_str(), &now]).await?;
        let number = |at| rows.first().map_or(Ok(0), |row| column::<i64>(row, at));
        Ok((u64::try_from(number(0)?).unwrap_or(0), u64::try_from(number(1)?).unwrap_or(0)))
    }

    /// Removes what has expired, unless it is to be kept.
    async fn purge(&self, bucket: &Bucket, now: i64) -> Result<u64> {
        if self.place.url.expired == Expired::Never {
            return Ok(0);
        }
        let table = &self.place.url.names.table;
        let sql = format!(
            "WITH gone AS (DELETE FROM {table} WHERE bucket = $1 AND expires_at <= $2 RETURNING 1) \
             SELECT count(*) FROM gone"
        );
        let rows = self.query(&sql, &[&bucket.as_str(), &now]).await?;
        rows.first().map_or(Ok(0), |row| Ok(u64::try_from(column::<i64>(row, 0)?).unwrap_or(0)))
    }

    /// Gives room back and counts anew what is there. Skipped if another does it, or if the server has no such thing.
    async fn vacuum(&self) -> Result<()> {
        let client = self.client().await.map_err(|fault| fault.error)?;
        let names = &self.place.url.names;
        for table in [&names.table, &names.buckets] {
            // It takes as long as it takes.
            let sql = format!("VACUUM (SKIP_LOCKED, ANALYZE) {table}");
            let Err(error) = client.batch_execute(&sql).await else { continue };
            if error.code().is_none_or(|code| !matches!(code.code(), "42601" | "0A000" | "42501")) {
                return Err(Fault::before(error).error);
            }
        }
        Ok(())
    }

    /// What is wrong with what is stored, which nobody who writes through kvs can have caused.
    async fn findings(&self, bucket: &Bucket) -> Result<Vec<Finding>> {
        let names = &self.place.url.names;
        let (table, buckets) = (&names.table, &names.buckets);
        let last = format!("coalesce((SELECT revision FROM {buckets} WHERE bucket = $1), 0)");
        // Whatever may be wrong, in one statement, so that all of it is of one moment; what is, is for the model to say.
        let sql = format!(
            "SELECT key, type, revision NOT BETWEEN 1 AND {last} FROM {table} WHERE bucket = $1 \
             AND (octet_length(key) NOT BETWEEN 1 AND {} OR key IN ('.', '..') OR key ~ '[\\x01-\\x1f\\x7f-\\x9f]' \
             OR type IS NOT NULL OR revision NOT BETWEEN 1 AND {last}) ORDER BY key",
            Key::MAX
        );
        let mut findings = Vec::new();
        for row in self.query(&sql, &[&bucket.as_str()]).await? {
            let (key, content_type) = (column::<&str>(&row, 0)?, column::<Option<&str>>(&row, 1)?);
            let mut found = |text: String| {
                let text = format!("{key:?} in {table}: {text}");
                findings.push(Finding { file: None, line: None, text, harmless: false });
            };
            if let Err(error) = Key::new(key) {
                found(format!("{error}; remove the row"));
            }
            if let Some(Err(error)) = content_type.map(ContentType::new) {
                found(format!("{error}; set its type to NULL"));
            }
            if column(&row, 2)? {
                found("its revision is not one of its bucket; write the entry anew with kvs".to_owned());
            }
            if findings.len() >= FINDINGS {
                break;
            }
        }
        Ok(findings)
    }
}
