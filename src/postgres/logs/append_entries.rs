//! Appends entries to a log, in one statement; on a cluster in one transaction.

use deadpool_postgres::Client;
use futures_util::future::join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::LogName;
use super::page;
use super::page::next_index;
use crate::model::{AppendOutcome, Error, ErrorKind, LogAppend, LogQuery, Result, Retention};
use crate::postgres::connect::pool::{Pool, discard, give_up};
use crate::postgres::error::{PgError, Reason, Retry};
use crate::postgres::runtime::Runtime;
use crate::postgres::sql::row::{column, type_name};
use crate::store::{check_append, log_time};

/// Entries that are no longer kept are removed when there are this many more than twice those that are.
const SPARE_ENTRIES: i64 = 64;

/// Appends entries.
pub(crate) async fn append(runtime: &Runtime, name: LogName<'_>, append: LogAppend) -> Result<AppendOutcome> {
    let pool = &runtime.pool;
    check_append(name.key, &append, pool.options().limits)?;
    if append.entries.is_empty() {
        let bounds = LogQuery { limit: 0, ..LogQuery::default() };
        let log = page::read(pool, name, &bounds).await?.unwrap_or_default();
        let index = append.index.unwrap_or(log.next);
        if index < log.next {
            return Ok(AppendOutcome::IndexTaken { next: log.next });
        }
        if append.retention.is_none_or(|retention| retention == log.retention) {
            return Ok(AppendOutcome::Appended { index });
        }
    }
    let mut retry = Retry::default();
    loop {
        match try_append(pool, name, &append).await {
            Ok(Some(index)) => {
                runtime.logs.notify(name, index.saturating_add(append.entries.len() as u64));
                return Ok(AppendOutcome::Appended { index });
            }
            Ok(None) => {
                // If the log was removed since, the index is free.
                let next = next_index(pool, name).await?;
                if append.index.is_some_and(|index| index < next) {
                    return Ok(AppendOutcome::IndexTaken { next });
                }
            }
            Err(error) => pool.retry(&mut retry, error).await?,
        }
    }
}

/// Returns the first index of the entries; `None` if it is taken.
async fn try_append(pool: &Pool, name: LogName<'_>, append: &LogAppend) -> Result<Option<u64>, PgError> {
    let client = pool.client().await?;
    let executed = pool.response(execute(pool, &client, name, append), PgError::no_response_to_commit).await;
    match executed.map_err(after_append) {
        Err(error) => {
            give_up(client, error.reason).await;
            Err(error)
        }
        Ok(None) => Ok(None),
        Ok(Some(row)) => {
            if is_trim_due(&row, append.entries.len())? {
                let (bucket, key) = (name.bucket.as_str(), name.key.as_str());
                let now = pool.now().nanos();
                // The append is done. What is not removed now is removed later.
                if let Err(error) = client.execute(&pool.statements().logs.trim, &[&bucket, &key, &now]).await {
                    tracing::debug!("cannot remove old entries of log {key:?} in bucket {bucket}: {error}");
                    discard(client);
                }
            }
            Ok(Some(u64::try_from(column::<i64>(&row, 0)?).unwrap_or(0)))
        }
    }
}

async fn execute(pool: &Pool, client: &Client, name: LogName<'_>, append: &LogAppend) -> Result<Option<Row>, PgError> {
    let now = pool.now();
    let (mut times, mut values, mut types) = (vec![], vec![], vec![]);
    for entry in &append.entries {
        times.push(log_time(entry, now).nanos());
        values.push(&entry.value[..]);
        types.push(type_name(&entry.content_type));
    }
    // Without entries, the next index stays.
    let index = append.index.filter(|_| !append.entries.is_empty()).map(number);
    let Retention { max_entries, max_age } = append.retention.unwrap_or_default();
    let (keep, keep_for) = (max_entries.map(number), max_age.map(|age| number(age.as_millis())));
    let (bucket, key, sets) = (name.bucket.as_str(), name.key.as_str(), append.retention.is_some());
    let now = now.nanos();
    let log: [&(dyn ToSql + Sync); 8] = [&bucket, &key, &times, &index, &sets, &keep, &keep_for, &now];
    if pool.is_distributed() {
        return execute_on_node(pool, client, &log, [&values, &types]).await;
    }
    let statement = client.prepare_cached(&pool.statements().logs.append).await.map_err(PgError::query)?;
    let parameters: Vec<_> = log.into_iter().chain([&values as _, &types as _]).collect();
    client.query_opt(&statement, &parameters).await.map_err(PgError::commit)
}

/// Does the same in a transaction of statements that work on the node of the bucket only.
async fn execute_on_node(
    pool: &Pool,
    client: &Client,
    log: &[&(dyn ToSql + Sync); 8],
    [values, types]: [&(dyn ToSql + Sync); 2],
) -> Result<Option<Row>, PgError> {
    let parts = &pool.statements().logs.append_parts;
    let raise = client.prepare_cached(&parts.raise).await.map_err(PgError::query)?;
    let [bucket, key, times, ..] = *log;
    let begin = pool.begin();
    let (begun, raised) = join(client.batch_execute(&begin), client.query_opt(&raise, log)).await;
    begun.map_err(PgError::query)?;
    let mut raised = raised.map_err(PgError::query)?;
    if raised.is_none() {
        let create = client.prepare_cached(&parts.create).await.map_err(PgError::query)?;
        let (created, again) = join(client.execute(&create, &[bucket, key]), client.query_opt(&raise, log)).await;
        created.map_err(PgError::query)?;
        raised = again.map_err(PgError::query)?;
    }
    if raised.is_none() {
        client.batch_execute("ROLLBACK").await.map_err(PgError::query)?;
        return Ok(None);
    }
    let store = client.prepare_cached(&parts.store).await.map_err(PgError::query)?;
    let entries = [bucket, key, times, values, types];
    let (stored, committed) = join(client.execute(&store, &entries), client.batch_execute("COMMIT")).await;
    stored.map_err(PgError::commit)?;
    committed.map_err(PgError::commit)?;
    Ok(raised)
}

/// The caller of a lost append must read the log, not the value of a key.
fn after_append(error: PgError) -> PgError {
    let is_known = !matches!(error.reason, None | Some(Reason::NoResponse | Reason::NodeDown));
    if error.error.kind() != ErrorKind::Unavailable || is_known || error.is_retryable {
        return error;
    }
    let text = "the append to the log may have been done or not; read the end of the log before you append again";
    PgError { error: Error::new(ErrorKind::Unavailable, text).with_source(error.error), ..error }
}

/// Whether so many entries are no longer kept that they are removed. Old entries are looked for once in a while.
fn is_trim_due(row: &Row, appended: usize) -> Result<bool> {
    let (first, next): (i64, i64) = (column(row, 1)?, column(row, 2)?);
    let keep: Option<i64> = column(row, 3)?;
    let has_max_age = column::<Option<i64>>(row, 4)?.is_some();
    let too_many = keep.is_some_and(|keep| next - first > keep.saturating_mul(2).saturating_add(SPARE_ENTRIES));
    Ok(too_many || has_max_age && next.rem_euclid(SPARE_ENTRIES) < number(appended))
}

/// A number for the table.
fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
