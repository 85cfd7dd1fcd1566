//! Waiting for entries of logs. Appends of other processes are found by polling.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::LogName;
use super::page::next_index;
use crate::model::{Bucket, Key, Result};
use crate::postgres::connect::pool::Pool;
use crate::store::{PollRate, PolledWatch};

/// A waiter wakes at most this much later than another process appended.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

type Watches = HashMap<(Bucket, Key), Arc<PolledWatch<u64>>>;

/// The logs that somebody of a runtime waits for.
pub(crate) struct WatchedLogs {
    logs: Mutex<Watches>,
    rate: PollRate,
}

impl Default for WatchedLogs {
    fn default() -> Self {
        Self { logs: Mutex::default(), rate: PollRate::new(POLL_INTERVAL) }
    }
}

impl WatchedLogs {
    /// Wakes the waiters of a log.
    pub(crate) fn notify(&self, name: LogName<'_>, next: u64) {
        if let Some(log) = self.logs.lock().get(&owned(name)) {
            log.notify(next);
        }
    }

    /// Waits until the index of the next entry is not `next`.
    pub(crate) async fn next_changed(&self, pool: &Pool, name: LogName<'_>, next: u64) -> Result<u64> {
        let log = {
            let mut logs = self.logs.lock();
            if logs.len() == logs.capacity() {
                // Before the map grows: logs that nobody waits for any more.
                logs.retain(|_, log| Arc::strong_count(log) > 1);
            }
            let make = || Arc::new(PolledWatch::new(|new, known| new != known, self.rate.clone()));
            Arc::clone(logs.entry(owned(name)).or_insert_with(make))
        };
        let (pool, (bucket, key), watch) = (pool.clone(), owned(name), Arc::downgrade(&log));
        let refresh = move || {
            let (pool, bucket, key, watch) = (pool.clone(), bucket.clone(), key.clone(), watch.clone());
            async move {
                let next = next_index(&pool, LogName { bucket: &bucket, key: &key }).await?;
                if let Some(watch) = watch.upgrade() {
                    watch.notify(next);
                }
                Ok(next)
            }
        };
        log.wait_for(move |reached| reached != next, refresh).await
    }
}

fn owned(name: LogName<'_>) -> (Bucket, Key) {
    (name.bucket.clone(), name.key.clone())
}
