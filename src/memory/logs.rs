//! The logs of a store in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::{
    AppendOutcome, Bucket, Clock, Key, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, Result, Time,
};
use crate::store::{Limits, LogBounds};

/// All logs of a store.
pub(super) struct MemoryLogs {
    clock: Arc<dyn Clock>,
    limits: Limits,
    logs: Mutex<BTreeMap<Bucket, BTreeMap<Key, MemoryLog>>>,
    /// Grows with each change of any log.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct MemoryLog {
    bounds: LogBounds,
    entries: VecDeque<LogEntry>,
}

impl MemoryLog {
    /// Removes what the retention no longer keeps.
    fn trim(&mut self, now: Time) {
        let (first, oldest) = (self.bounds.first_kept(), self.bounds.oldest_kept(now));
        let is_kept = |entry: &LogEntry| entry.index >= first && oldest.is_none_or(|oldest| entry.updated >= oldest);
        self.remove_until(is_kept);
    }

    /// The bounds, after what the retention no longer keeps was removed.
    fn trimmed(&mut self, now: Time) -> LogBounds {
        self.trim(now);
        self.bounds
    }

    /// Removes the entries before the first one that `is_kept`, and returns their number.
    fn remove_until(&mut self, is_kept: impl Fn(&LogEntry) -> bool) -> u64 {
        let removed = self.entries.iter().position(is_kept).unwrap_or(self.entries.len());
        if removed > 0 {
            self.entries.drain(..removed);
            self.bounds.first = self.entries.front().map_or(self.bounds.next, |entry| entry.index);
        }
        removed as u64
    }

    fn page(&self, query: &LogQuery, now: Time) -> LogPage {
        let (start, since) = (self.bounds.start(query), self.bounds.start_time(query, now));
        let is_wanted = |entry: &&LogEntry| entry.index >= start && since.is_none_or(|since| entry.updated >= since);
        let begin = self.entries.partition_point(|entry| !is_wanted(&entry));
        let mut bytes = 0_usize;
        let fits = self.entries.iter().skip(begin).take(query.limit).enumerate().take_while(|(number, entry)| {
            bytes = bytes.saturating_add(entry.value.len());
            *number == 0 || bytes <= LogQuery::MAX_PAGE_BYTES
        });
        let entries = fits.map(|(_, entry)| entry.clone()).collect();
        LogPage { entries, first: self.bounds.first, next: self.bounds.next, retention: self.bounds.retention }
    }
}

impl MemoryLogs {
    pub(super) fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { clock, limits, logs: Mutex::default(), changes: watch::Sender::default() }
    }

    pub(super) fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        let mut logs = self.logs.lock();
        let now = self.clock.now();
        // What the old retention does not keep is gone, whatever the new one is.
        let known = logs.get_mut(bucket).and_then(|logs| logs.get_mut(key));
        let mut bounds = known.map(|log| log.trimmed(now)).unwrap_or_default();
        let retention = bounds.retention;
        let (outcome, entries) = bounds.append(key, append, self.limits, now)?;
        if !entries.is_empty() || bounds.retention != retention {
            let log = logs.entry(bucket.clone()).or_default().entry(key.clone()).or_default();
            log.bounds = bounds;
            log.entries.extend(entries);
            log.trim(now);
            self.changes.send_modify(|changes| *changes += 1);
        }
        Ok(outcome)
    }

    pub(super) fn read(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Option<LogPage> {
        let mut logs = self.logs.lock();
        let now = self.clock.now();
        logs.get_mut(bucket).and_then(|logs| logs.get_mut(key)).map(|log| {
            log.trim(now);
            log.page(&query, now)
        })
    }

    pub(super) fn remove(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Option<u64> {
        let mut logs = self.logs.lock();
        let now = self.clock.now();
        let of_bucket = logs.get_mut(bucket)?;
        let log = of_bucket.get_mut(key)?;
        log.trim(now);
        let removed = log.remove_until(|entry| before.is_some_and(|before| entry.index >= before));
        if before.is_none() {
            of_bucket.remove(key);
            if of_bucket.is_empty() {
                logs.remove(bucket);
            }
        }
        self.changes.send_modify(|changes| *changes += 1);
        Some(removed)
    }

    pub(super) async fn changed(&self, bucket: &Bucket, key: &Key, next: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        loop {
            let reached = {
                let logs = self.logs.lock();
                logs.get(bucket).and_then(|logs| logs.get(key)).map_or(0, |log| log.bounds.next)
            };
            if reached != next {
                return reached;
            }
            // The sender lives as long as `self`; if this failed, looking again would be right.
            let _ = changes.changed().await;
        }
    }

    pub(super) fn keys(&self, bucket: &Bucket, query: &LogKeysQuery) -> Vec<Key> {
        let logs = self.logs.lock();
        let keys = logs.get(bucket).into_iter().flat_map(BTreeMap::keys);
        keys.filter(|key| query.includes(key)).take(query.limit).cloned().collect()
    }

    pub(super) fn buckets(&self) -> Vec<Bucket> {
        self.logs.lock().keys().cloned().collect()
    }
}
