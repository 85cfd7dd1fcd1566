//! `kvs copy`: all of one store, or of another program's table, into another store, until both hold the same.

use std::sync::Arc;

use clap::Args;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::existing;
use super::failure::{Done, Failure};
use super::open::{Opened, StoreUrl};
use super::output::{progress, say};
use super::settings::Settings;
use super::units::counted;
use crate::api::copy::{self, Copying, Progress, Report, Task, Watcher, Work};
use crate::memory::MemoryStore;
use crate::model::{Bucket, SystemClock};
use crate::postgres::{ForeignTable, Layout};
use crate::store;

/// So many things that stand in the way are told.
const TOLD: usize = 20;

const EXAMPLES: &str = "\
Examples:
  kvs copy yaml:data postgresql://kvs@db/kvs               from files to a server; the same again goes on or catches up
  kvs copy postgresql://kvs@db/kvs yaml:backup             and back
  kvs copy yaml:data yaml:other --bucket sensors           one bucket
  kvs copy yaml:data postgresql://kvs@db/kvs --dry-run     what would be done
  kvs copy yaml:data postgresql://kvs@db/kvs --verify      whether both hold the same
  kvs copy --from-pgkv 'postgresql://app@db/app?table=kv_store' yaml:data --bucket app
  kvs copy --from-poky postgresql://poky@db/poky postgresql://kvs@db/kvs";

/// Copy a store into another, with all times and revisions
///
/// Values, types, expiry and the times of each entry are kept, and its revision, so that each `ETag` stays good. Only what
/// the target lacks is written: broken off in the middle, or after the source has changed, the same command goes on. In the
/// end both sides are compared, entry by entry; if they are not the same the first differences are named, and the exit
/// code is 1.
///
/// What stands in the target and did not come from this source is not touched: then nothing is written and it is told what
/// stands in the way. Buckets that only the target has stay as they are. FROM and TO are written as for --store, which is
/// not used here.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = "kvs copy [OPTIONS] FROM TO\n       kvs copy [OPTIONS] --from-pgkv URL TO\n       kvs copy [OPTIONS] --from-poky URL TO")]
pub(super) struct Given {
    /// The store to copy from, unless a table is given, and the store to copy to
    // Texts until they are checked: an error of the parser would show them, and a URL may hold a password.
    #[arg(required = true, num_args = 1.., value_name = "STORE")]
    stores: Vec<String>,
    /// Take over a table of pgkv, into the bucket of --bucket; `kv_store` unless the URL says ?table=NAME, &schema=NAME
    #[arg(long, value_name = "URL", conflicts_with = "from_poky")]
    from_pgkv: Option<String>,
    /// Take over a table of Poky, flat or partitioned, with its buckets; `poky` unless the URL says ?table=NAME
    #[arg(long, value_name = "URL")]
    from_poky: Option<String>,
    /// Make the buckets of the target what those of the source are: what else stands there is replaced or deleted
    #[arg(long)]
    replace: bool,
    /// Leave out what the target cannot hold, and name it
    #[arg(long)]
    skip_unfit: bool,
    #[command(flatten)]
    look: Look,
}

/// What to do instead of copying.
#[derive(Args, Debug)]
struct Look {
    /// Tell what would be copied, and write nothing
    #[arg(long, conflicts_with = "verify")]
    dry_run: bool,
    /// Only compare, and write nothing; exit code 1 if anything differs
    #[arg(long)]
    verify: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let (from, to) = sides(&given, settings.bucket())?;
    let task = match (given.look.dry_run, given.look.verify) {
        (true, _) => Task::Plan,
        (_, true) => Task::Verify,
        _ => Task::Copy,
    };
    let mut how = copy::Settings {
        name: String::new(),
        bucket: settings.bucket.clone(),
        task,
        replace: given.replace,
        skip_unfit: given.skip_unfit,
        limits: settings.opening.limits,
    };
    let target = target(settings, &to, task).await?;
    let copying = match from {
        From::Store(url) => {
            let place = |url: &StoreUrl| url.place().ok_or_else(|| Failure::Usage(KEPT_NOWHERE.to_owned()));
            how.name = place(&url)?;
            if how.name == place(&to)? {
                return Err(Failure::Usage(format!("FROM and TO are the same store, {url}")));
            }
            let opened = source(settings, &url).await?;
            Copying::new(opened.store, target, how)
        }
        From::Table(url, layout) => {
            let table = ForeignTable::open(&url, layout, &SystemClock).map_err(|e| Failure::Usage(e.to_string()))?;
            how.name = table.name();
            Copying::of(Arc::new(table), target, how)
        }
    };
    let bar = Arc::new(Mutex::new(Bar { quiet: settings.quiet, drawn: ProgressBar::hidden(), at: None }));
    let report = copying.watched(watcher(&bar)).run().await;
    bar.lock().drawn.finish_and_clear();
    tell(settings, &report?, &given)
}

const KEPT_NOWHERE: &str =
    "a store in memory is empty when the program begins and gone when it ends; name one that stays";

/// Where entries come from.
enum From {
    Store(StoreUrl),
    Table(String, Layout),
}

/// What was typed, checked as far as can be without looking.
fn sides(given: &Given, bucket: Bucket) -> Done<(From, StoreUrl)> {
    let store = |name: &str, text: &str| {
        text.parse::<StoreUrl>().map_err(|e| Failure::Usage(format!("{name}: {e}"))).and_then(|url| match url.place() {
            Some(_) => Ok(url),
            None => Err(Failure::Usage(format!("{name}: {KEPT_NOWHERE}"))),
        })
    };
    let table = match (&given.from_pgkv, &given.from_poky) {
        (Some(url), _) => Some((url, Layout::Pgkv { bucket })),
        (None, Some(url)) => Some((url, Layout::Poky)),
        (None, None) => None,
    };
    match (given.stores.as_slice(), table) {
        ([from, to], None) => Ok((From::Store(store("FROM", from)?), store("TO", to)?)),
        ([to], Some((url, layout))) => {
            if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
                let text = "the table is named by a URL such as postgresql://USER@HOST/DATABASE?table=NAME";
                return Err(Failure::Usage(text.to_owned()));
            }
            Ok((From::Table(url.clone(), layout), store("TO", to)?))
        }
        (_, None) => Err(Failure::Usage("name two stores, the one to copy from and the one to copy to".to_owned())),
        (_, Some(_)) => Err(Failure::Usage("besides the table name one store, the one to copy to".to_owned())),
    }
}

/// The store to copy from: it must be there, and whole.
async fn source(settings: &Settings, url: &StoreUrl) -> Done<Opened> {
    let from = |failure: Failure| Failure::Failed(format!("FROM: {}", failure.text()));
    let opened = existing::opened(url, url.open(settings.opening)?).await.map_err(from)?;
    if let Some(bucket) = &settings.bucket
        && let Some(others) = existing::instead_of(bucket, &opened).await.map_err(from)?
    {
        return Err(Failure::Failed(format!("the source has no bucket {bucket}; {others}")));
    }
    if opened.yaml.is_some() {
        // Of a damaged file the last good state is served, which is not what is to be copied.
        for bucket in opened.store.buckets().await? {
            let wanted = settings.bucket.as_ref().is_none_or(|only| *only == bucket) && !bucket.is_reserved();
            if wanted && opened.store.upkeep(&bucket, store::Task::Check).await?.findings.iter().any(|f| !f.harmless) {
                let text = format!("FROM: bucket {bucket} is damaged; see `kvs check --store {url}`");
                return Err(Failure::Failed(text));
            }
        }
    }
    Ok(opened)
}

/// The store to copy to. Where nothing is to be written, none is made.
async fn target(settings: &Settings, url: &StoreUrl, task: Task) -> Done<Arc<dyn store::Store>> {
    let opened = url.open(settings.opening)?;
    if let Some(store) = &opened.postgres {
        let made = store.is_made().await.map_err(|e| Failure::Failed(format!("TO: {e}")))?;
        if !made && task != Task::Copy {
            return Ok(Arc::new(MemoryStore::default()));
        }
    }
    Ok(settings.delivery.over(opened.store))
}

/// The bar of what is being done, and what that is.
struct Bar {
    quiet: bool,
    drawn: ProgressBar,
    at: Option<(Bucket, Work)>,
}

fn watcher(bar: &Arc<Mutex<Bar>>) -> Watcher {
    let bar = Arc::clone(bar);
    Arc::new(move |step: Progress<'_>| {
        let mut bar = bar.lock();
        if bar.at.as_ref().is_none_or(|(bucket, work)| bucket != step.bucket || *work != step.work) {
            bar.drawn.finish_and_clear();
            let doing = match step.work {
                Work::Comparing => "comparing",
                Work::Copying => "copying",
                Work::Verifying => "verifying",
            };
            bar.drawn = progress(usize::try_from(step.total).unwrap_or(usize::MAX), doing, bar.quiet);
            bar.drawn.set_message(format!("{doing} {}", step.bucket));
            bar.at = Some((step.bucket.clone(), step.work));
        }
        // Not of each of a million rows.
        if step.work == Work::Copying || step.done.is_multiple_of(500) {
            bar.drawn.set_position(step.done);
        }
    })
}

/// Says what it came to.
fn tell(settings: &Settings, report: &Report, given: &Given) -> Done {
    let entries = |count: u64| counted(count, "entry", "entries");
    let buckets = counted(report.buckets, "bucket", "buckets");
    list(&report.conflicts, "buckets");
    list(&report.unfit, "entries");
    if !report.conflicts.is_empty() {
        let text = "nothing was written: the target holds what did not come from this source. Copy to where nothing \
                    stands, or add --replace to make the buckets of the target what those of the source are";
        return Err(Failure::Failed(text.to_owned()));
    }
    let unfit: u64 = report.unfit.iter().map(|unfit| unfit.rows).sum();
    if unfit > 0 && !given.skip_unfit {
        let what = if given.look.verify { "it cannot be the same" } else { "nothing was written" };
        let text = format!(
            "{what}: the target cannot hold {}, named above. Mend the source, raise --max-value if values are too large, \
             or add --skip-unfit to leave them out",
            entries(unfit)
        );
        return Err(Failure::Failed(text));
    }
    let without = if unfit == 0 { String::new() } else { format!("; left out: {}", entries(unfit)) };
    if given.look.dry_run {
        let there = entries(report.equal);
        let (copy, delete) = (entries(report.copied), entries(report.deleted));
        settings.note(&format!(
            "{copy} of {buckets} to copy, {delete} to delete, {there} there already{without}; nothing was written"
        ));
        return Ok(());
    }
    if !report.is_equal() {
        for difference in &report.differences.first {
            say(&difference.to_string());
        }
        let more = if given.look.verify {
            ""
        } else {
            "; the source has been written meanwhile. Run the same command again to catch up, best when nobody writes"
        };
        let differ = counted(report.differences.count, "entry differs", "entries differ");
        return Err(Failure::Failed(format!("{differ}, {} are the same{more}", report.equal)));
    }
    let equal = format!("{} in {buckets}", entries(report.equal));
    settings.note(&if given.look.verify {
        format!("{equal}: both sides hold the same{without}")
    } else {
        let deleted = if report.deleted == 0 { String::new() } else { format!(", {} deleted", report.deleted) };
        format!("{equal}: {} copied{deleted}; compared, both sides hold the same{without}", report.copied)
    });
    Ok(())
}

/// Names the first of them, each on a line.
fn list(all: &[impl std::fmt::Display], what: &str) {
    for one in all.iter().take(TOLD) {
        say(&one.to_string());
    }
    if let Some(more) = all.len().checked_sub(TOLD).filter(|more| *more > 0) {
        say(&format!("... and {more} more {what}"));
    }
}
