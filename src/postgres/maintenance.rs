//! Maintenance of a bucket: removes expired entries and old changes, vacuums and analyzes the tables, and checks the
//! stored rows.

use super::connect::permission;
use super::connect::pool::Pool;
use super::connect::url::ExpiryPolicy;
use super::error::PgError;
use super::logs::page::keys as log_keys;
use super::sql::row::column;
use super::write::expired_entries;
use super::write::old_changes::forget;
use crate::model::{Bucket, ContentType, ErrorKind, Key, LogKeysQuery, Result, Time};
use crate::store::{Finding, Report, Severity, Task};

/// A check stops after this many findings.
const MAX_FINDINGS: usize = 100;

/// The size of a bucket.
struct BucketSize {
    /// Without expired entries.
    entries: u64,
    /// The bytes of all stored keys and values.
    bytes: u64,
}

/// Runs a maintenance task.
pub(crate) async fn maintain(pool: &Pool, bucket: &Bucket, task: Task) -> Result<Report> {
    if task == Task::Status {
        // The server itself maintains the data, and the caller's list of buckets shows whether it responds. Permissions
        // are the same for all buckets, so they are checked once.
        if *bucket == Bucket::default() {
            check_permission(pool).await?;
        }
        return Ok(Report::default());
    }
    let now = pool.now();
    let before = size(pool, bucket, now).await?;
    let mut report = Report { bytes_before: before.bytes, ..Report::default() };
    match task {
        Task::Compact => {
            report.removed = remove_expired(pool, bucket, now).await?;
            remove_old_changes(pool, bucket, now).await?;
            report.removed += trim_logs(pool, bucket, now).await?;
            vacuum(pool).await?;
        }
        Task::RemoveExpired => {
            report.removed = remove_expired(pool, bucket, now).await?;
            remove_old_changes(pool, bucket, now).await?;
            report.removed += trim_logs(pool, bucket, now).await?;
        }
        // The server has rolled back interrupted writes.
        Task::RemoveLeftovers | Task::Status => {}
        Task::Check => report.findings = check_rows(pool, bucket).await?,
    }
    let after = size(pool, bucket, now).await?;
    Ok(Report { entries: after.entries, bytes_after: after.bytes, ..report })
}

/// Checks whether the role may write.
///
/// # Errors
/// `PermissionDenied` only, with the statement that helps.
async fn check_permission(pool: &Pool) -> Result<()> {
    match pool.client().await {
        Ok(client) => permission::check(&client, pool.names()).await,
        Err(error) => {
            let error = pool.explain(error).await.error;
            if error.kind() == ErrorKind::PermissionDenied { Err(error) } else { Ok(()) }
        }
    }
}

async fn size(pool: &Pool, bucket: &Bucket, now: Time) -> Result<BucketSize> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE expires_at IS NULL OR expires_at > $2), \
         coalesce(sum(octet_length(key) + octet_length(value)), 0)::bigint FROM {} WHERE bucket = $1",
        pool.names().table
    );
    let rows = pool.query(&sql, &[&bucket.as_str(), &now.nanos()]).await?;
    let number = |index| rows.first().map_or(Ok(0), |row| column::<i64>(row, index));
    Ok(BucketSize { entries: number(0)?.try_into().unwrap_or(0), bytes: number(1)?.try_into().unwrap_or(0) })
}

/// Removes expired entries, unless the URL says `expired=never`. Returns their number.
async fn remove_expired(pool: &Pool, bucket: &Bucket, now: Time) -> Result<u64> {
    if pool.url().expiry == ExpiryPolicy::Never {
        return Ok(0);
    }
    expired_entries::remove_expired(pool, bucket, now, None).await
}

async fn remove_old_changes(pool: &Pool, bucket: &Bucket, now: Time) -> Result<()> {
    let client = pool.client().await.map_err(|error| error.error)?;
    forget(&client, pool, bucket, now).await.map_err(|error| PgError::query(error).error)
}

/// Removes entries of logs that are no longer kept. Returns their number.
async fn trim_logs(pool: &Pool, bucket: &Bucket, now: Time) -> Result<u64> {
    let mut query = LogKeysQuery::default();
    let mut removed = 0;
    loop {
        let keys = log_keys(pool, bucket, &query).await?;
        let Some(last) = keys.last() else { return Ok(removed) };
        query.after = Some(last.clone());
        let client = pool.client().await.map_err(|error| error.error)?;
        for key in &keys {
            let (bucket, key, now) = (bucket.as_str(), key.as_str(), now.nanos());
            let trimmed = client.execute(&pool.statements().logs.trim, &[&bucket, &key, &now]).await;
            removed += trimmed.map_err(|error| PgError::query(error).error)?;
        }
    }
}

/// Frees space and updates the planner's statistics. A table that another process vacuums is skipped, and so is a
/// server without VACUUM.
async fn vacuum(pool: &Pool) -> Result<()> {
    let client = pool.client().await.map_err(|error| error.error)?;
    let names = pool.names();
    for table in names.all_tables() {
        let sql = format!("VACUUM (SKIP_LOCKED, ANALYZE) {table}");
        let Err(error) = client.batch_execute(&sql).await else { continue };
        if error.code().is_none_or(|code| !matches!(code.code(), "42601" | "0A000" | "42501")) {
            return Err(PgError::query(error).error);
        }
    }
    Ok(())
}

/// Finds rows that kvs cannot have written.
async fn check_rows(pool: &Pool, bucket: &Bucket) -> Result<Vec<Finding>> {
    let names = pool.names();
    let (table, buckets) = (&names.table, &names.buckets);
    let last = format!("coalesce((SELECT revision FROM {buckets} WHERE bucket = $1), 0)");
    // One statement selects all suspicious rows, so that they are of one moment. The model then decides about each.
    let sql = format!(
        "SELECT key, type, revision NOT BETWEEN 1 AND {last} FROM {table} WHERE bucket = $1 \
         AND (octet_length(key) NOT BETWEEN 1 AND {} OR key IN ('.', '..') OR key ~ '[\\x01-\\x1f\\x7f-\\x9f]' \
         OR type IS NOT NULL OR revision NOT BETWEEN 1 AND {last}) ORDER BY key",
        Key::MAX_BYTES
    );
    let mut findings = Vec::new();
    for row in pool.query(&sql, &[&bucket.as_str()]).await? {
        let (key, content_type) = (column::<&str>(&row, 0)?, column::<Option<&str>>(&row, 1)?);
        let mut found = |text: String| {
            let text = format!("{key:?} in {table}: {text}");
            findings.push(Finding { file: None, line: None, text, severity: Severity::Damage });
        };
        if let Err(error) = Key::new(key) {
            found(format!("{error}; delete the row"));
        }
        if let Some(Err(error)) = content_type.map(ContentType::new) {
            found(format!("{error}; set its type to NULL"));
        }
        if column(&row, 2)? {
            found(
                "its revision is higher than the bucket's, or less than 1; write the entry again with kvs".to_owned(),
            );
        }
        if findings.len() >= MAX_FINDINGS {
            break;
        }
    }
    Ok(findings)
}
