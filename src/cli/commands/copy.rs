//! `kvs copy`: copies a store, or the table of another program, into a store.

use std::sync::Arc;

use indicatif::ProgressBar;
use parking_lot::Mutex;

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::existing;
use crate::cli::data::open_store::{OpenStore, StoreUrl};
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::progress;
use crate::cli::stderr::say;
use crate::copy::{CopyJob, CopyReport, Mode, Phase, Progress, ProgressFn};
use crate::memory::MemoryStore;
use crate::model::{Bucket, SystemClock};
use crate::postgres::{ForeignTable, Layout};
use crate::store::BatchLimits;
use crate::{copy, store};

/// The maximum number of conflicts that are printed.
const MAX_PRINTED: usize = 20;

const USAGE: &str = "\
kvs copy [OPTIONS] FROM TO
       kvs copy [OPTIONS] --from-pgkv URL TO
       kvs copy [OPTIONS] --from-poky URL TO";

const EXAMPLES: &str = "\
Examples:
  kvs copy yaml:data postgresql://kvs@db/kvs               from files to a server
  kvs copy postgresql://kvs@db/kvs yaml:backup             from a server to files
  kvs copy yaml:data yaml:other --bucket sensors           one bucket
  kvs copy https://example.org/kvs/ yaml:backup            from a shared host to files
  kvs copy yaml:data postgresql://kvs@db/kvs --dry-run     show what would be copied
  kvs copy yaml:data postgresql://kvs@db/kvs --verify      compare both stores
  kvs copy --from-pgkv 'postgresql://app@db/app?table=kv_store' yaml:data --bucket app
  kvs copy --from-poky postgresql://poky@db/poky postgresql://kvs@db/kvs";

/// Copy a store into another, with all times and revisions
///
/// Keeps the value, type, expiry, times and revision of each entry, so every `ETag` stays valid. Only missing and
/// changed entries are written: after an interruption, or after changes in the source, run the same command again. At
/// the end both stores are compared entry by entry; if they differ, the first differences are printed and the exit code
/// is 1.
///
/// If the target contains data that did not come from this source, nothing is written and the conflicts are listed.
/// Buckets that only the target has are not changed. FROM and TO are URLs as for --store.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct Args {
    /// FROM and TO; only TO with --from-pgkv and --from-poky
    // Strings, because the parser would show the value in an error, and a URL may contain a password.
    #[arg(required = true, num_args = 1.., value_name = "STORE")]
    stores: Vec<String>,
    /// Copy from a pgkv table into --bucket, else into `default`; the table is `kv_store` unless the URL has
    /// ?table=NAME, &schema=NAME
    #[arg(long, value_name = "URL", conflicts_with = "from_poky")]
    from_pgkv: Option<String>,
    /// Copy from a Poky table, flat or partitioned, with its buckets; the table is `poky` unless the URL has
    /// ?table=NAME
    #[arg(long, value_name = "URL")]
    from_poky: Option<String>,
    /// Make the buckets of the target equal to the source: replace or delete other entries in them
    #[arg(long)]
    replace: bool,
    /// Skip entries that the target cannot hold, and list them
    #[arg(long)]
    skip_incompatible: bool,
    #[command(flatten)]
    instead: InsteadFlags,
}

/// Flags for other work than copying.
#[derive(clap::Args, Debug)]
struct InsteadFlags {
    /// Print what would be copied; write nothing
    #[arg(long, conflicts_with = "verify")]
    dry_run: bool,
    /// Only compare both stores; exit code 1 if they differ
    #[arg(long)]
    verify: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let (from, to) = sides(&args, settings.bucket())?;
    let mode = match (args.instead.dry_run, args.instead.verify) {
        (true, _) => Mode::DryRun,
        (_, true) => Mode::Verify,
        _ => Mode::Copy,
    };
    let mut job = copy::CopySettings {
        name: String::new(),
        bucket: settings.bucket.clone(),
        mode,
        replace: args.replace,
        skip_incompatible: args.skip_incompatible,
        limits: settings.store_options.limits,
        batches: BatchLimits::default(),
    };
    if matches!(&from, CopySource::Store(url) if url.is_remote() && to.is_remote()) {
        let text = "FROM and TO are on servers, whose secrets differ; copy to yaml:DIR first, and from there";
        return Err(Failure::Usage(text.to_owned()));
    }
    let OpenStore { store: target, batches, .. } = target(settings, &to, mode).await?;
    job.batches = batches;
    let job = match from {
        CopySource::Store(url) => {
            let location = |url: &StoreUrl| url.location().ok_or_else(|| Failure::Usage(IN_MEMORY.to_owned()));
            job.name = location(&url)?;
            if job.name == location(&to)? {
                return Err(Failure::Usage(format!("FROM and TO are the same store, {url}")));
            }
            let opened = source(settings, &url).await?;
            CopyJob::new(opened.store, target, job)
        }
        CopySource::Table(url, layout) => {
            let table = ForeignTable::open(&url, layout, &SystemClock).map_err(|e| Failure::Usage(e.to_string()))?;
            job.name = table.name();
            CopyJob::from_source(Arc::new(table), target, job)
        }
    };
    let bar = Arc::new(Mutex::new(PhaseBar { quiet: settings.quiet, drawn: ProgressBar::hidden(), at: None }));
    let report = job.with_progress(watcher(&bar)).run().await;
    bar.lock().drawn.finish_and_clear();
    report_result(settings, &report?, &args)
}

const IN_MEMORY: &str = "memory: cannot be copied; use yaml:, postgresql: or https:";

enum CopySource {
    Store(StoreUrl),
    Table(String, Layout),
}

/// Checks the arguments without opening a store.
fn sides(args: &Args, bucket: Bucket) -> CliResult<(CopySource, StoreUrl)> {
    let store = |name: &str, text: &str| {
        text.parse::<StoreUrl>().map_err(|e| Failure::Usage(format!("{name}: {e}"))).and_then(|url| {
            match url.location() {
                Some(_) => Ok(url),
                None => Err(Failure::Usage(format!("{name}: {IN_MEMORY}"))),
            }
        })
    };
    let table = match (&args.from_pgkv, &args.from_poky) {
        (Some(url), _) => Some((url, Layout::Pgkv { bucket })),
        (None, Some(url)) => Some((url, Layout::Poky)),
        (None, None) => None,
    };
    match (args.stores.as_slice(), table) {
        ([from, to], None) => Ok((CopySource::Store(store("FROM", from)?), store("TO", to)?)),
        ([to], Some((url, layout))) => {
            if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
                let text = "write the table as a URL such as postgresql://USER@HOST/DATABASE?table=NAME";
                return Err(Failure::Usage(text.to_owned()));
            }
            Ok((CopySource::Table(url.clone(), layout), store("TO", to)?))
        }
        (_, None) => Err(Failure::Usage("expected two stores, FROM and TO".to_owned())),
        (_, Some(_)) => {
            Err(Failure::Usage("expected exactly one store, TO, with --from-pgkv or --from-poky".to_owned()))
        }
    }
}

/// Opens the store to copy from, which must exist and be undamaged.
async fn source(settings: &CliSettings, url: &StoreUrl) -> CliResult<OpenStore> {
    let from = |failure: Failure| Failure::Failed(format!("FROM: {}", failure.text()));
    let opened = existing::opened(url, url.open(settings.store_options.clone())?).await.map_err(from)?;
    if let Some(bucket) = &settings.bucket
        && let Some(others) = existing::instead_of(bucket, &opened).await.map_err(from)?
    {
        return Err(Failure::Failed(format!("the source has no bucket {bucket}; {others}")));
    }
    if opened.postgres.is_none() {
        // The store would return the last good state of a damaged file.
        for bucket in store::all_buckets(&*opened.store).await? {
            let wanted = settings.bucket.as_ref().is_none_or(|only| *only == bucket) && !bucket.is_reserved();
            if wanted
                && opened
                    .store
                    .maintain(&bucket, store::Task::Check)
                    .await?
                    .findings
                    .iter()
                    .any(|f| f.severity == store::Severity::Damage)
            {
                let text = format!("FROM: bucket {bucket} is damaged; run `kvs check --store {url}`");
                return Err(Failure::Failed(text));
            }
        }
    }
    Ok(opened)
}

/// Opens the store to copy to. Its tables are created only to copy.
async fn target(settings: &CliSettings, url: &StoreUrl, mode: Mode) -> CliResult<OpenStore> {
    let opened = url.open(settings.store_options.clone())?;
    if let Some(store) = &opened.postgres {
        let is_made = store.is_made().await.map_err(|e| Failure::Failed(format!("TO: {e}")))?;
        if !is_made && mode != Mode::Copy {
            return Ok(OpenStore { store: Arc::new(MemoryStore::default()), ..opened });
        }
    }
    Ok(OpenStore { store: settings.hooks.over(opened.store), ..opened })
}

/// The progress bar of the current phase.
struct PhaseBar {
    quiet: bool,
    drawn: ProgressBar,
    at: Option<(Bucket, Phase)>,
}

fn watcher(bar: &Arc<Mutex<PhaseBar>>) -> ProgressFn {
    let bar = Arc::clone(bar);
    Arc::new(move |step: Progress<'_>| {
        let mut bar = bar.lock();
        if bar.at.as_ref().is_none_or(|(bucket, phase)| bucket != step.bucket || *phase != step.phase) {
            bar.drawn.finish_and_clear();
            let doing = match step.phase {
                Phase::Comparing => "comparing",
                Phase::Copying => "copying",
                Phase::Verifying => "verifying",
            };
            bar.drawn = progress(usize::try_from(step.total).unwrap_or(usize::MAX), doing, bar.quiet);
            bar.drawn.set_message(format!("{doing} {}", step.bucket));
            bar.at = Some((step.bucket.clone(), step.phase));
        }
        // Not for each of a million rows.
        if step.phase == Phase::Copying || step.done.is_multiple_of(500) {
            bar.drawn.set_position(step.done);
        }
    })
}

/// Prints the result.
fn report_result(settings: &CliSettings, report: &CopyReport, args: &Args) -> CliResult {
    let entries = |count: u64| count_noun(count, "entry", "entries");
    let buckets = count_noun(report.buckets, "bucket", "buckets");
    print_some(&report.conflicts, "buckets");
    print_some(&report.log_conflicts, "logs");
    print_some(&report.rejected, "entries");
    if report.has_conflicts() {
        let text = "nothing was written: the target contains other data, listed above. Use an empty target, or \
                    --replace to overwrite it";
        return Err(Failure::Failed(text.to_owned()));
    }
    let rejected_rows: u64 = report.rejected.iter().map(|rejected| rejected.rows).sum();
    if rejected_rows > 0 && !args.skip_incompatible {
        let what = if args.instead.verify { "the stores cannot be equal" } else { "nothing was written" };
        let text = format!(
            "{what}: the target cannot hold {}, listed above. Correct the source, raise --max-value if values are too \
             large, or add --skip-incompatible to skip them",
            entries(rejected_rows)
        );
        return Err(Failure::Failed(text));
    }
    let without = if rejected_rows == 0 { String::new() } else { format!("; skipped: {}", entries(rejected_rows)) };
    if args.instead.dry_run {
        let equal = entries(report.equal);
        let (copy, delete) = (entries(report.copied), entries(report.deleted));
        settings.note(&format!(
            "{copy} in {buckets} to copy, {delete} to delete, {equal} equal already{without}; nothing was written"
        ));
        return Ok(());
    }
    if !report.is_equal() {
        for difference in &report.differences.first {
            say(&difference.to_string());
        }
        let more = if args.instead.verify {
            ""
        } else {
            "; the source has changed during the copy. Run the same command again, if possible while nobody writes"
        };
        let differ = count_noun(report.differences.count, "entry differs", "entries differ");
        return Err(Failure::Failed(format!("{differ}, {} are equal{more}", report.equal)));
    }
    let equal = format!("{} in {buckets}", entries(report.equal));
    settings.note(&if args.instead.verify {
        format!("{equal}: both stores are equal{without}")
    } else {
        let deleted = if report.deleted == 0 { String::new() } else { format!(", {} deleted", report.deleted) };
        format!("{equal}: {} copied{deleted}; both stores are equal{without}", report.copied)
    });
    Ok(())
}

/// Prints the first of them, one per line.
pub(super) fn print_some(all: &[impl std::fmt::Display], what: &str) {
    for one in all.iter().take(MAX_PRINTED) {
        say(&one.to_string());
    }
    if let Some(more) = all.len().checked_sub(MAX_PRINTED).filter(|more| *more > 0) {
        say(&format!("... and {more} more {what}"));
    }
}
