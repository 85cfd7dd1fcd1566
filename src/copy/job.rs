//! The copy itself: compares, writes, and compares again.

use std::sync::Arc;

use super::compare::{BucketDiff, Comparison};
use super::job_settings::{CopySettings, Mode, Phase, Progress, ProgressFn};
use super::log_copy::{LogCopy, LogDiff};
use super::progress_record::ProgressRecord;
use super::report::{Conflict, CopyReport, LogConflict};
use super::side::{Side, on};
use super::store_source::StoreSource;
use super::writer::BucketWriter;
use crate::model::{Bucket, Clock, Error, ErrorKind, Result, Revision, SystemClock};
use crate::store::{ImportSource, Rejected, Store};

/// The maximum number of times that a bucket is written and compared again while its source changes.
const MAX_ROUNDS: usize = 6;

/// A copy from a source to a store.
///
/// ```
/// use std::sync::Arc;
///
/// use kvs::client::Client;
/// use kvs::copy::{CopyJob, CopySettings};
/// use kvs::memory::MemoryStore;
/// use kvs::store::Store;
///
/// # #[tokio::main]
/// # async fn main() -> kvs::model::Result<()> {
/// let (old, new) = (Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default()));
/// let client = Client::new(old.clone());
/// client.set("kitchen/temp", "21.5").await?;
///
/// let settings = || CopySettings { name: "the old store".into(), ..CopySettings::default() };
/// let report = CopyJob::new(old.clone(), new.clone(), settings()).run().await?;
/// assert!(report.is_equal());
/// assert_eq!((report.equal, report.copied), (1, 1));
/// assert_eq!(Client::new(new.clone()).get_entry("kitchen/temp").await?, client.get_entry("kitchen/temp").await?);
///
/// // The next run copies only new entries.
/// client.set("hall", "19").await?;
/// assert_eq!(CopyJob::new(old, new, settings()).run().await?.copied, 1);
/// # Ok(())
/// # }
/// ```
pub struct CopyJob {
    from: Arc<dyn ImportSource>,
    to: Arc<dyn Store>,
    settings: CopySettings,
    clock: Arc<dyn Clock>,
    progress: ProgressFn,
}

/// A bucket that has been compared.
struct ComparedBucket {
    bucket: Bucket,
    diff: BucketDiff,
    /// Whether everything that the target has in it came from this source.
    is_own: bool,
    logs: Vec<LogDiff>,
}

impl CopyJob {
    /// A copy of a store.
    #[must_use]
    pub fn new(from: Arc<dyn Store>, to: Arc<dyn Store>, settings: CopySettings) -> Self {
        Self::from_source(Arc::new(StoreSource(from)), to, settings)
    }

    /// A copy of any source.
    #[must_use]
    pub fn from_source(from: Arc<dyn ImportSource>, to: Arc<dyn Store>, settings: CopySettings) -> Self {
        Self { from, to, settings, clock: Arc::new(SystemClock), progress: Arc::new(|_| {}) }
    }

    /// The same copy with another clock, which decides what has expired.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same copy with a function that is called with its progress.
    #[must_use]
    pub fn with_progress(self, progress: ProgressFn) -> Self {
        Self { progress, ..self }
    }

    /// Runs the copy. The report says what was copied, and what prevented it.
    ///
    /// # Errors
    /// `Invalid` if the source does not have the bucket of the settings, `Busy` if others write to the target at the
    /// same time, and the errors of both sides. What was written before the error stays; run it again.
    pub async fn run(&self) -> Result<CopyReport> {
        let mut report = CopyReport::default();
        let (buckets, rejected) = self.buckets().await?;
        report.rejected = rejected;
        let mut compared = Vec::with_capacity(buckets.len());
        for bucket in &buckets {
            compared.push(self.prepare(bucket, &mut report).await?);
        }
        let is_blocked = report.has_conflicts() || (!report.rejected.is_empty() && !self.settings.skip_incompatible);
        if is_blocked || self.settings.mode != Mode::Copy {
            for ComparedBucket { bucket, diff, logs, .. } in &compared {
                report.equal += diff.equal + logs.iter().map(|log| log.equal).sum::<u64>();
                report.copied += diff.missing.len() as u64 + logs.iter().map(|log| log.missing).sum::<u64>();
                report.deleted += diff.extra.len() as u64;
                report.differences.add(bucket, diff);
                report.differences.add_logs(bucket, logs);
            }
            return Ok(report);
        }
        for compared in compared {
            let bucket = compared.bucket.clone();
            self.copy_bucket(compared, &mut report).await?;
            self.copy_logs(&bucket, &mut report).await?;
        }
        // Buckets that were created in the meantime.
        for bucket in self.buckets().await?.0.iter().filter(|bucket| !buckets.contains(bucket)) {
            let compared = self.prepare(bucket, &mut report).await?;
            if !report.has_conflicts() {
                self.copy_bucket(compared, &mut report).await?;
                self.copy_logs(bucket, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// The buckets to copy, and those that the target cannot hold.
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Rejected>)> {
        let (mut buckets, mut rejected) = self.from.buckets().await.map_err(on(Side::Source))?;
        buckets.retain(|bucket| !bucket.is_reserved());
        if let Some(only) = &self.settings.bucket {
            if !buckets.contains(only) {
                return Err(Error::new(ErrorKind::Invalid, format!("the source has no bucket {only}")));
            }
            buckets.retain(|bucket| bucket == only);
            rejected.clear();
        }
        Ok((buckets, rejected))
    }

    fn record(&self) -> Result<ProgressRecord> {
        ProgressRecord::new(Arc::clone(&self.to), self.settings.name.clone())
    }

    /// Compares a bucket and checks for conflicts.
    async fn prepare(&self, bucket: &Bucket, report: &mut CopyReport) -> Result<ComparedBucket> {
        let diff = self.compare(bucket, Phase::Comparing).await?;
        let is_own = self.record()?.matches(bucket, diff.target_revision).await.map_err(on(Side::Target))?;
        report.buckets += 1;
        report.rejected.extend(diff.rejected.iter().cloned());
        let differs = diff.missing.iter().any(|missing| missing.replaces.is_some());
        let loses_data = if is_own {
            diff.source_entries() == 0 && !diff.extra.is_empty()
        } else {
            differs || !diff.extra.is_empty()
        };
        if loses_data && !self.settings.replace && self.settings.mode != Mode::Verify {
            report.conflicts.push(Conflict::new(bucket, &diff));
        }
        let logs = match self.logs(bucket) {
            Some(logs) => logs.compare().await?,
            None => vec![],
        };
        if !self.settings.replace && self.settings.mode != Mode::Verify {
            report.log_conflicts.extend(logs.iter().filter_map(|log| LogConflict::new(bucket, log)));
        }
        Ok(ComparedBucket { bucket: bucket.clone(), diff, is_own, logs })
    }

    async fn compare(&self, bucket: &Bucket, phase: Phase) -> Result<BucketDiff> {
        let total = self.from.count(bucket).await.map_err(on(Side::Source))?;
        let target_revision = self.to.get(bucket, &[]).await.map_err(on(Side::Target))?.revision;
        let to = StoreSource(Arc::clone(&self.to));
        let comparison =
            Comparison { from: &*self.from, to: &to, limits: self.settings.limits, clock: &*self.clock, bucket };
        comparison.run(target_revision, |done| (self.progress)(Progress { bucket, phase, done, total })).await
    }

    /// Writes the differences of a bucket and compares again, until both sides are equal.
    async fn copy_bucket(&self, compared: ComparedBucket, report: &mut CopyReport) -> Result<()> {
        let ComparedBucket { bucket, mut diff, is_own, .. } = compared;
        let record = self.record()?;
        let last = diff.target_revision;
        if !is_own && last > Revision::ZERO {
            record.save(&bucket, last, last).await.map_err(on(Side::Target))?;
        }
        let mut writer = BucketWriter {
            from: &*self.from,
            to: &*self.to,
            record: &record,
            bucket: &bucket,
            batches: self.settings.batches,
            last,
            last_own: last,
            copied: 0,
            deleted: 0,
        };
        for _ in 0..MAX_ROUNDS {
            if diff.is_empty() {
                break;
            }
            let total = (diff.missing.len() + diff.extra.len()) as u64;
            let mut on_written = |done| {
                (self.progress)(Progress { bucket: &bucket, phase: Phase::Copying, done, total });
            };
            writer.write(diff, &mut on_written).await?;
            diff = self.compare(&bucket, Phase::Verifying).await?;
            writer.check_sole_writer(&diff).await?;
        }
        let new: Vec<Rejected> =
            diff.rejected.iter().filter(|rejected| !report.rejected.contains(rejected)).cloned().collect();
        if let Some(rejected) = new.first().filter(|_| !self.settings.skip_incompatible) {
            return Err(Error::new(ErrorKind::Invalid, format!("{rejected}; it was added during the copy")));
        }
        report.rejected.extend(new);
        report.copied += writer.copied;
        report.deleted += writer.deleted;
        report.equal += diff.equal;
        report.differences.add(&bucket, &diff);
        Ok(())
    }

    /// The logs of a bucket; `None` if one of the sides has none.
    fn logs<'a>(&'a self, bucket: &'a Bucket) -> Option<LogCopy<'a>> {
        Some(LogCopy { from: self.from.logs()?, to: self.to.logs()?, bucket, batches: self.settings.batches })
    }

    /// Copies the logs of a bucket and compares again.
    async fn copy_logs(&self, bucket: &Bucket, report: &mut CopyReport) -> Result<()> {
        let Some(logs) = self.logs(bucket) else { return Ok(()) };
        for diff in logs.compare().await?.iter().filter(|diff| diff.differences() > 0) {
            // Somebody may have written to the target since the first comparison.
            if let Some(conflict) = LogConflict::new(bucket, diff).filter(|_| !self.settings.replace) {
                report.log_conflicts.push(conflict);
                continue;
            }
            report.deleted += logs.write(diff).await?;
            report.copied += diff.missing;
        }
        let diffs = logs.compare().await?;
        report.equal += diffs.iter().map(|diff| diff.equal).sum::<u64>();
        report.differences.add_logs(bucket, &diffs);
        Ok(())
    }
}
