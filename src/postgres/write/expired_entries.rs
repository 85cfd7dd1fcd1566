//! Removes entries that have expired.

use futures_util::future::join5;
use tokio_postgres::types::ToSql;

use super::old_changes::newest_old_revision;
use crate::model::{Bucket, Result, Time};
use crate::postgres::connect::pool::{Pool, give_up};
use crate::postgres::error::{PgError, Retry};
use crate::postgres::sql::row::column;

/// Removes the entries of a bucket that have expired at `now`, or those of some keys. Returns their number.
pub(crate) async fn remove_expired(pool: &Pool, bucket: &Bucket, now: Time, keys: Option<&[&str]>) -> Result<u64> {
    let mut retry = Retry::default();
    loop {
        match try_remove(pool, bucket.as_str(), now, keys).await {
            Ok(removed) => return Ok(removed),
            Err(error) => pool.retry(&mut retry, error).await?,
        }
    }
}

async fn try_remove(pool: &Pool, bucket: &str, now: Time, keys: Option<&[&str]>) -> Result<u64, PgError> {
    let client = pool.client().await?;
    let statements = match keys {
        None => &pool.statements().changes.remove_expired,
        Some(_) => &pool.statements().changes.remove_expired_keys,
    };
    let (now, newest) = (now.nanos(), newest_old_revision(now));
    let mut all: Vec<&(dyn ToSql + Sync)> = vec![&bucket, &now, &newest];
    let mut of_removal: Vec<&(dyn ToSql + Sync)> = vec![&bucket, &now];
    if let Some(keys) = &keys {
        all.push(keys);
        of_removal.push(keys);
    }
    let removed = async {
        if !pool.is_distributed() {
            let statement = client.prepare_cached(&statements.at_once).await.map_err(PgError::query)?;
            let row = client.query_one(&statement, &all).await.map_err(PgError::commit)?;
            return Ok(u64::try_from(column::<i64>(&row, 0)?).unwrap_or(0));
        }
        let lock = client.prepare_cached(&pool.statements().lock).await.map_err(PgError::query)?;
        let remember = client.prepare_cached(&statements.remember).await.map_err(PgError::query)?;
        let remove = client.prepare_cached(&statements.remove).await.map_err(PgError::query)?;
        let begin = pool.begin();
        let (begun, locked, remembered, removed, committed) = join5(
            client.batch_execute(&begin),
            client.execute(&lock, &[&bucket]),
            client.execute(&remember, &all),
            client.execute(&remove, &of_removal),
            client.batch_execute("COMMIT"),
        )
        .await;
        // If one of them fails, the server skips the following ones, and the COMMIT rolls back.
        let done = begun.and(locked).and(remembered).and(removed).and_then(|count| committed.map(|()| count));
        done.map_err(PgError::commit)
    };
    let removed = pool.response(removed, PgError::no_response_to_commit).await;
    if let Err(error) = &removed {
        give_up(client, error.reason).await;
    }
    removed
}
