//! Copies the logs of a bucket: their entries with index, time and type, and how much of each log is kept.
//!
//! A log only grows, so a log of the target that begins like that of the source gets the rest. Any other log is a
//! conflict, which is overwritten only with `replace`.

use std::collections::BTreeSet;

use super::side::{Side, on};
use crate::model::{
    AppendOutcome, Bucket, Error, ErrorKind, Key, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, NewLogEntry,
    Result, Retention,
};
use crate::store::{BatchLimits, Logs};

/// The logs of a bucket on both sides.
pub(crate) struct LogCopy<'a> {
    pub(crate) from: &'a dyn Logs,
    pub(crate) to: &'a dyn Logs,
    pub(crate) bucket: &'a Bucket,
    pub(crate) batches: BatchLimits,
}

/// How a log differs between the two sides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogDiff {
    pub(crate) key: Key,
    /// The number of entries that are equal.
    pub(crate) equal: u64,
    /// The number of entries that only the source has.
    pub(crate) missing: u64,
    /// The index of the first of them; that of the next entry if there are none.
    from: u64,
    /// The target has entries before this index that the source no longer has.
    forgotten_before: Option<u64>,
    /// Whether another retention must be set.
    other_retention: bool,
    /// Why the target cannot be continued.
    pub(crate) conflict: Option<&'static str>,
    /// Whether the source has the log.
    is_in_source: bool,
}

impl LogDiff {
    /// The number of differences; 0 if the logs are equal.
    pub(crate) fn differences(&self) -> u64 {
        let others = [self.forgotten_before.is_some(), self.other_retention, self.conflict.is_some()];
        self.missing + others.into_iter().filter(|differs| *differs).count() as u64
    }
}

impl LogCopy<'_> {
    /// Compares all logs of the bucket.
    pub(crate) async fn compare(&self) -> Result<Vec<LogDiff>> {
        let mut keys = BTreeSet::new();
        for (logs, side) in [(self.from, Side::Source), (self.to, Side::Target)] {
            let mut query = LogKeysQuery::default();
            loop {
                let page = logs.log_keys(self.bucket, query.clone()).await.map_err(on(side))?;
                let Some(last) = page.last() else { break };
                query.after = Some(last.clone());
                keys.extend(page);
            }
        }
        let mut diffs = vec![];
        for key in keys {
            diffs.push(self.compare_log(key).await?);
        }
        Ok(diffs)
    }

    async fn source(&self, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        self.from.read_log(self.bucket, key, query).await.map_err(on(Side::Source))
    }

    async fn target(&self, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        self.to.read_log(self.bucket, key, query).await.map_err(on(Side::Target))
    }

    async fn compare_log(&self, key: Key) -> Result<LogDiff> {
        let bounds = LogQuery { limit: 0, ..LogQuery::default() };
        let (source, target) = (self.source(&key, bounds).await?, self.target(&key, bounds).await?);
        let mut diff = LogDiff {
            key,
            equal: 0,
            missing: 0,
            from: 0,
            forgotten_before: None,
            other_retention: false,
            conflict: None,
            is_in_source: source.is_some(),
        };
        let Some(source) = source else {
            diff.conflict = target.map(|_| "only the target has this log");
            return Ok(diff);
        };
        diff.from = source.first;
        if let Some(target) = target {
            diff.other_retention = target.retention != source.retention;
            diff.forgotten_before =
                Some(source.first).filter(|first| target.first < *first && target.next > target.first);
            let has_begin = target.first <= source.first || target.retention != Retention::default();
            if !has_begin {
                diff.conflict = Some("the target does not have its first entries");
            }
            diff.from = source.first.max(target.first);
            self.compare_entries(&mut diff).await?;
        }
        if diff.conflict.is_none() {
            diff.missing = self.count(&diff.key, diff.from).await?;
        }
        Ok(diff)
    }

    /// Moves `from` past the entries that are equal.
    async fn compare_entries(&self, diff: &mut LogDiff) -> Result<()> {
        loop {
            let query = LogQuery::from_index(diff.from);
            let source = self.source(&diff.key, query).await?.unwrap_or_default();
            let target = self.target(&diff.key, query).await?.unwrap_or_default();
            let equal = source.entries.iter().zip(&target.entries).take_while(|(a, b)| a == b).count();
            diff.equal += equal as u64;
            let Some(last) = source.entries.get(..equal).and_then(<[LogEntry]>::last) else {
                if !target.entries.is_empty() {
                    diff.conflict = Some("the target has other entries");
                }
                return Ok(());
            };
            diff.from = last.index.saturating_add(1);
        }
    }

    async fn count(&self, key: &Key, from: u64) -> Result<u64> {
        let (mut from, mut count) = (from, 0);
        loop {
            let page = self.source(key, LogQuery::from_index(from)).await?.unwrap_or_default();
            if page.entries.is_empty() {
                return Ok(count);
            }
            count += page.entries.len() as u64;
            from = page.end();
        }
    }

    /// Makes a log of the target equal to that of the source. Returns the number of entries that were removed.
    pub(crate) async fn write(&self, diff: &LogDiff) -> Result<u64> {
        let LogDiff { key, .. } = diff;
        let remove = async |before| self.to.remove_log(self.bucket, key, before).await.map_err(on(Side::Target));
        let mut removed = 0;
        if diff.conflict.is_some() {
            removed += remove(None).await?.unwrap_or(0);
        }
        if !diff.is_in_source {
            return Ok(removed);
        }
        let mut from = if diff.conflict.is_some() { 0 } else { diff.from };
        let mut is_first = true;
        loop {
            let Some(page) = self.source(key, LogQuery::from_index(from)).await? else { return Ok(removed) };
            from = page.end();
            let is_last = page.entries.is_empty();
            if is_first && is_last {
                self.append(key, &[], &page).await?;
            }
            // An append numbers its entries without gaps.
            for run in page.entries.chunk_by(|a, b| a.index + 1 == b.index) {
                for batch in self.batches.split(run, |entry| entry.value.len()) {
                    self.append(key, batch, &page).await?;
                }
            }
            if is_last {
                break;
            }
            is_first = false;
        }
        if let Some(before) = diff.forgotten_before {
            removed += remove(Some(before)).await?.unwrap_or(0);
        }
        Ok(removed)
    }

    async fn append(&self, key: &Key, run: &[LogEntry], page: &LogPage) -> Result<()> {
        let new = |entry: &LogEntry| NewLogEntry {
            value: entry.value.clone(),
            content_type: entry.content_type.clone(),
            updated: Some(entry.updated),
        };
        let append = LogAppend {
            entries: run.iter().map(new).collect(),
            index: run.first().map(|first| first.index),
            retention: Some(page.retention),
        };
        match self.to.append(self.bucket, key, append).await.map_err(on(Side::Target))? {
            AppendOutcome::Appended { .. } => Ok(()),
            AppendOutcome::IndexTaken { .. } => {
                let text = format!("the target: somebody else appends to log {key:?}; run the copy again");
                Err(Error::new(ErrorKind::Busy, text))
            }
        }
    }
}
