//! Removes remembered changes that are older than the promised hour, so that their table does not grow.
//!
//! The store remembers changes for an hour. A write that adds some removes old ones after it has replied, but each
//! process does so at most once a minute for each bucket. Maintenance removes them too.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::Client;
use futures_util::future::join4;
use parking_lot::Mutex;
use tokio_postgres::Error as ServerError;
use tokio_postgres::types::Type;

use crate::model::{Bucket, Time};
use crate::postgres::connect::pool::Pool;
use crate::postgres::sql::row::revision_number;

/// Changes are kept for an hour, and ten minutes longer because the clocks of machines differ.
const KEPT: Duration = Duration::from_secs(70 * 60);

/// The time between two removals from one bucket.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most changes that one statement removes, so that it does not take long.
const MAX_ROWS: i64 = 10_000;

/// When this process last removed old changes from each bucket.
#[derive(Default)]
pub(crate) struct OldChanges {
    removed: Mutex<HashMap<Bucket, Time>>,
}

impl OldChanges {
    /// Whether they should be removed now. If so, it counts as done.
    pub(crate) fn are_due(&self, bucket: &Bucket, now: Time) -> bool {
        let mut removed = self.removed.lock();
        let is_due = removed.get(bucket).is_none_or(|last| now.since(*last) >= INTERVAL || now < *last);
        if is_due {
            removed.retain(|_, last| now.since(*last) < INTERVAL);
            removed.insert(bucket.clone(), now);
        }
        is_due
    }
}

/// The greatest revision that may be forgotten.
pub(crate) fn newest_old_revision(now: Time) -> i64 {
    revision_number(now.minus(KEPT).into())
}

/// Removes the old changes of a bucket. The first statement is sent at once.
pub(crate) async fn forget(client: &Client, pool: &Pool, bucket: &Bucket, now: Time) -> Result<(), ServerError> {
    let (bucket, newest) = (bucket.as_str(), newest_old_revision(now));
    let statements = pool.statements();
    if pool.is_distributed() {
        let parts = &statements.changes.forget_parts;
        let begin = pool.begin();
        let parameters = [(&bucket as _, Type::TEXT), (&newest as _, Type::INT8)];
        let (begun, marked, removed, committed) = join4(
            client.batch_execute(&begin),
            client.execute_typed(&parts.mark, &parameters),
            client.execute_typed(&parts.remove, &parameters),
            client.batch_execute("COMMIT"),
        )
        .await;
        return begun.and(marked).and(removed).and(committed);
    }
    loop {
        let parameters = [(&bucket as _, Type::TEXT), (&newest as _, Type::INT8), (&MAX_ROWS as _, Type::INT8)];
        let rows = client.query_typed(&statements.changes.forget, &parameters).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if count < MAX_ROWS {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_changes_are_due_once_a_minute_for_each_bucket() {
        let (old, bucket) = (OldChanges::default(), Bucket::default());
        let other = Bucket::new("other").unwrap();
        let at = Time::from_secs;
        let due = [(&bucket, 1000), (&bucket, 1059), (&other, 1059), (&bucket, 1060), (&bucket, 1061), (&bucket, 9)]
            .map(|(bucket, secs)| old.are_due(bucket, at(secs)));
        assert_eq!(due, [true, false, true, true, false, true]);
    }
}
