//! Copying all that a store, or another [`Source`], holds into a store: values, types, times, expiry and revisions.
//!
//! A run compares both sides key by key, writes what the target lacks in the order of revisions, and compares again,
//! until both are equal. So it can be broken off at any point and run again: only what is missing goes over, and the last
//! comparison is the proof. Buckets that are kvs' own are not copied.
//!
//! What stands in the target and did not come from this source is never written over, unless that is [wished](Settings::replace).

mod compare;
mod ledger;
mod order;
mod report;
mod side;
mod stored;
mod writing;

use std::sync::Arc;

use compare::{Compared, Comparison};
use ledger::Ledger;
use side::{Side, on};
use stored::Stored;
use writing::Writing;

pub use compare::Fields;
pub use report::{Conflict, Difference, Differences, Report, What};

use crate::model::{Bucket, Clock, Error, Kind, Result, Revision, SystemClock};
use crate::store::{Limits, Source, Store, Unfit};

/// At most so many keys go into one batch.
const KEYS: usize = 1000;
/// Beyond so many bytes of values a batch takes no further key.
const BYTES: usize = 8 << 20;
/// So often is written, and compared again, while the source changes.
const ROUNDS: usize = 6;

/// What a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Task {
    /// Copy.
    #[default]
    Copy,
    /// Tell what would be copied, and write nothing.
    Plan,
    /// Tell in what the sides differ, and write nothing.
    Verify,
}

/// How a copy is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What the source is called, so that a later run knows its own work from that of another source.
    pub name: String,
    /// Only this bucket.
    pub bucket: Option<Bucket>,
    /// What is to be done.
    pub task: Task,
    /// Make the buckets of the target what those of the source are, whatever stands there: the source wins.
    pub replace: bool,
    /// Leave out what the target cannot hold, instead of writing nothing because of it.
    pub skip_unfit: bool,
    /// What the target takes.
    pub limits: Limits,
}

impl Default for Settings {
    /// Copies all buckets of a source without a name, values of any size that there may be, and loses nothing.
    fn default() -> Self {
        let limits = Limits { value: Limits::MOST };
        Self { name: String::new(), bucket: None, task: Task::Copy, replace: false, skip_unfit: false, limits }
    }
}

/// What a run is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Both sides are compared, before anything is written.
    Comparing,
    /// What the target lacks is written.
    Copying,
    /// Both sides are compared after what was written.
    Verifying,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The bucket.
    pub bucket: &'a Bucket,
    /// What is done with it.
    pub work: Work,
    /// How many entries of it are done.
    pub done: u64,
    /// How many there are, about.
    pub total: u64,
}

/// Takes note of progress. It must return at once.
pub type Watcher = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// A copy to be made.
///
/// ```
/// use std::sync::Arc;
///
/// use kvs::api::Client;
/// use kvs::api::copy::{Copying, Settings};
/// use kvs::memory::MemoryStore;
/// use kvs::store::Store;
///
/// # #[tokio::main]
/// # async fn main() -> kvs::model::Result<()> {
/// let (old, new) = (Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default()));
/// let client = Client::new(old.clone());
/// client.set("kitchen/temp", "21.5").await?;
///
/// let settings = || Settings { name: "the old store".into(), ..Settings::default() };
/// let report = Copying::new(old.clone(), new.clone(), settings()).run().await?;
/// assert!(report.is_equal());
/// assert_eq!((report.equal, report.copied), (1, 1));
/// assert_eq!(Client::new(new.clone()).get_entry("kitchen/temp").await?, client.get_entry("kitchen/temp").await?);
///
/// // Again: only what is new goes over.
/// client.set("hall", "19").await?;
/// assert_eq!(Copying::new(old, new, settings()).run().await?.copied, 1);
/// # Ok(())
/// # }
/// ```
pub struct Copying {
    from: Arc<dyn Source>,
    to: Arc<dyn Store>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    watcher: Watcher,
}

/// A bucket that has been compared.
struct Plan {
    bucket: Bucket,
    found: Compared,
    /// Whether all that the target has in it came from here.
    known: bool,
}

impl Copying {
    /// A copy of what a store holds.
    #[must_use]
    pub fn new(from: Arc<dyn Store>, to: Arc<dyn Store>, settings: Settings) -> Self {
        Self::of(Arc::new(Stored(from)), to, settings)
    }

    /// A copy of what any source holds.
    #[must_use]
    pub fn of(from: Arc<dyn Source>, to: Arc<dyn Store>, settings: Settings) -> Self {
        Self { from, to, settings, clock: Arc::new(SystemClock), watcher: Arc::new(|_| {}) }
    }

    /// The same, by this clock; it tells what has expired.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same, with somebody who is told how far it has come.
    #[must_use]
    pub fn watched(self, watcher: Watcher) -> Self {
        Self { watcher, ..self }
    }

    /// Does what is to be done. What it came to, and what stands in the way, is in the report.
    ///
    /// # Errors
    /// `Invalid` if the source has no bucket of the name that was set, `Busy` if others write to the target meanwhile, and
    /// those of either side. What was written until then stays; run it again.
    pub async fn run(&self) -> Result<Report> {
        let mut report = Report::default();
        let (buckets, unfit) = self.buckets().await?;
        report.unfit = unfit;
        let mut plans = Vec::with_capacity(buckets.len());
        for bucket in &buckets {
            plans.push(self.plan(bucket, &mut report).await?);
        }
        let stopped = !report.conflicts.is_empty() || (!report.unfit.is_empty() && !self.settings.skip_unfit);
        if stopped || self.settings.task != Task::Copy {
            for plan in &plans {
                report.equal += plan.found.same;
                report.copied += plan.found.wanted.len() as u64;
                report.deleted += plan.found.extra.len() as u64;
                report.differences.add(&plan.bucket, &plan.found);
            }
            return Ok(report);
        }
        for plan in plans {
            self.carry_out(plan, &mut report).await?;
        }
        // Those that came to be meanwhile.
        for bucket in self.buckets().await?.0.iter().filter(|bucket| !buckets.contains(bucket)) {
            let plan = self.plan(bucket, &mut report).await?;
            if report.conflicts.is_empty() {
                self.carry_out(plan, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// The buckets to copy, and those that cannot be.
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Unfit>)> {
        let (mut buckets, mut unfit) = self.from.buckets().await.map_err(on(Side::Source))?;
        buckets.retain(|bucket| !bucket.is_reserved());
        if let Some(only) = &self.settings.bucket {
            if !buckets.contains(only) {
                return Err(Error::new(Kind::Invalid, format!("the source has no bucket {only}")));
            }
            buckets.retain(|bucket| bucket == only);
            unfit.clear();
        }
        Ok((buckets, unfit))
    }

    fn ledger(&self) -> Result<Ledger> {
        Ledger::new(Arc::clone(&self.to), self.settings.name.clone())
    }

    /// Compares a bucket, and looks whether anything stands in the way.
    async fn plan(&self, bucket: &Bucket, report: &mut Report) -> Result<Plan> {
        let found = self.compare(bucket, Work::Comparing).await?;
        let known = self.ledger()?.knows(bucket, found.reached).await.map_err(on(Side::Target))?;
        report.buckets += 1;
        report.unfit.extend(found.unfit.iter().cloned());
        let other = found.wanted.iter().any(|wanted| wanted.instead.is_some());
        let lost =
            if known { found.of_source() == 0 && !found.extra.is_empty() } else { other || !found.extra.is_empty() };
        if lost && !self.settings.replace && self.settings.task != Task::Verify {
            report.conflicts.push(Conflict::of(bucket, &found));
        }
        Ok(Plan { bucket: bucket.clone(), found, known })
    }

    async fn compare(&self, bucket: &Bucket, work: Work) -> Result<Compared> {
        let total = self.from.count(bucket).await.map_err(on(Side::Source))?;
        let reached = self.to.get(bucket, &[]).await.map_err(on(Side::Target))?.revision;
        let to = Stored(Arc::clone(&self.to));
        let comparison =
            Comparison { from: &*self.from, to: &to, limits: self.settings.limits, clock: &*self.clock, bucket };
        comparison.run(reached, |done| (self.watcher)(Progress { bucket, work, done, total })).await
    }

    /// Writes what was found, and compares again, until both sides are equal.
    async fn carry_out(&self, plan: Plan, report: &mut Report) -> Result<()> {
        let Plan { bucket, mut found, known } = plan;
        let ledger = self.ledger()?;
        if !known && found.reached > Revision::ZERO {
            // From here on it is known.
            ledger.note(&bucket, found.reached, found.reached).await.map_err(on(Side::Target))?;
        }
        let last = found.reached;
        let mut writing =
            Writing { copying: self, ledger: &ledger, bucket: &bucket, last, sure: last, copied: 0, deleted: 0 };
        for _ in 0..ROUNDS {
            if found.is_equal() {
                break;
            }
            let total = (found.wanted.len() + found.extra.len()) as u64;
            let mut written = |done| {
                (self.watcher)(Progress { bucket: &bucket, work: Work::Copying, done, total });
            };
            writing.write(found, &mut written).await?;
            found = self.compare(&bucket, Work::Verifying).await?;
            writing.sees_alone(&found).await?;
        }
        let new: Vec<Unfit> = found.unfit.iter().filter(|unfit| !report.unfit.contains(unfit)).cloned().collect();
        if let Some(unfit) = new.first().filter(|_| !self.settings.skip_unfit) {
            return Err(Error::new(Kind::Invalid, format!("{unfit}; it came while the rest was copied")));
        }
        report.unfit.extend(new);
        report.copied += writing.copied;
        report.deleted += writing.deleted;
        report.equal += found.same;
        report.differences.add(&bucket, &found);
        Ok(())
    }
}
