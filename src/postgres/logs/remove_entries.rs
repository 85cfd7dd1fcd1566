//! Removes a log, or its first entries.

use tokio_postgres::types::ToSql;

use super::LogName;
use super::page;
use crate::model::{LogQuery, Result};
use crate::postgres::connect::pool::{Pool, discard};
use crate::postgres::error::{PgError, Retry};
use crate::postgres::runtime::Runtime;
use crate::postgres::sql::row::column;

/// Removes the entries before an index, or the whole log. Returns their number; `None` if there is no such log.
pub(crate) async fn remove(runtime: &Runtime, name: LogName<'_>, before: Option<u64>) -> Result<Option<u64>> {
    let pool = &runtime.pool;
    let nothing = LogQuery { limit: 0, ..LogQuery::default() };
    let Some(log) = page::read(pool, name, &nothing).await? else { return Ok(None) };
    let mut retry = Retry::default();
    loop {
        match try_remove(pool, name, before, log.first).await {
            Ok(removed) => {
                if before.is_none() {
                    runtime.logs.notify(name, 0);
                }
                return Ok(removed);
            }
            Err(error) => pool.retry(&mut retry, error).await?,
        }
    }
}

async fn try_remove(pool: &Pool, name: LogName<'_>, before: Option<u64>, first: u64) -> Result<Option<u64>, PgError> {
    let statements = &pool.statements().logs;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (bucket, key) = (name.bucket.as_str(), name.key.as_str());
    let (before, is_whole, first) = (before.map_or(i64::MAX, number), before.is_none(), number(first));
    let log: [&(dyn ToSql + Sync); 2] = [&bucket, &key];
    let mut client = pool.client().await?;
    let done = async {
        let transaction = pool.transaction(&mut client).await?;
        // Each statement sees what was committed when it began, so the lock comes first.
        if transaction.query(&statements.lock, &log).await.map_err(PgError::query)?.is_empty() {
            // Somebody else has removed it. The transaction is rolled back.
            return Ok(None);
        }
        let row = transaction.query_one(&statements.remove_entries, &[&bucket, &key, &before, &first]).await;
        let removed: i64 = column(&row.map_err(PgError::query)?, 0)?;
        if is_whole {
            transaction.execute(&statements.remove_log, &log).await.map_err(PgError::query)?;
        } else {
            transaction.execute(&statements.move_first, &[&bucket, &key, &before]).await.map_err(PgError::query)?;
        }
        transaction.commit().await.map_err(PgError::commit)?;
        Ok(Some(u64::try_from(removed).unwrap_or(0)))
    };
    let done = done.await;
    if done.is_err() {
        discard(client);
    }
    done
}
