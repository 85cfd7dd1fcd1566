//! `kvs backup`: makes a backup of all buckets, as they are at one moment.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::backup_folder::{Backup, BackupFolder};
use crate::cli::data::existing;
use crate::cli::data::open_store::{OpenStore, StoreOptions, StoreUrl};
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::copy::{CopyJob, CopySettings, Mode};
use crate::model::{Bucket, Clock as _, LogKeysQuery, Projection, Result, Scan, SystemClock, Time};
use crate::server::connections_allowed;
use crate::store::{BatchLimits, Limits, Severity, Store, Task, all_buckets};
use crate::yaml::CopiedBucket;

/// A store of files opens three files for each bucket and one for each log.
const WANTED_FILES: usize = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  kvs backup backups                     a new backup in the folder backups
  kvs backup backups --keep 30           and only the newest 30 stay
  kvs backup backups --store postgresql://kvs@db/kvs
  kvs restore backups                    restores the newest one";

/// Make a backup of all buckets while others read and write
///
/// Each backup is a new folder in DIR, named by its time, and complete by itself. Its folder `data` has the entries, logs
/// and blobs as YAML files; `kvs list --store yaml:DIR/TIME/data` shows it. Everything in it is of one moment; only of a
/// store over HTTP, or on a Citus cluster, each bucket has a moment of its own. It is read again and compared before it
/// gets its name, which is printed.
///
/// A blob that an earlier backup has is not copied, but linked. From a database or a server only the entries that have a
/// new revision are transferred. Secrets and settings (auth.txt, config.yaml) are not in the backup.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder of the backups; created if it is missing, readable by its owner only
    dir: PathBuf,
    /// Remove all but the newest N backups when the new one is complete
    #[arg(long, value_name = "N")]
    keep: Option<NonZeroUsize>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let Args { dir, keep } = args;
    if settings.bucket.is_some() {
        let text = "a backup has all buckets; leave out --bucket, or use `kvs copy` for one";
        return Err(Failure::Usage(text.to_owned()));
    }
    // As many as the system allows.
    let _ = connections_allowed(WANTED_FILES);
    let options = options(settings);
    let opened = existing::opened(&settings.store, settings.store.open(options.clone())?).await?;
    let folder = BackupFolder::open(&dir)?;
    let earlier = folder.backups()?.pop();
    let data = folder.begin()?;
    let taken = SystemClock.now();
    let target = StoreUrl::yaml(&data)?;
    let (backed_up, is_one_moment) = match &opened.yaml {
        Some(store) => (store.copy_to(&data, earlier.as_ref().map(Backup::link_blobs)).await?, true),
        None => copied_entries(settings, &opened, earlier, &target, &options).await?,
    };
    verify(&target, &options, &backed_up, opened.yaml.is_some()).await?;
    let backup = folder.finish(taken, &summary(settings, taken, is_one_moment, &backed_up))?;
    let removed = keep.map_or(Ok(0), |newest| folder.keep(newest.get()))?;
    let mut output = Output::new();
    output.line(&backup.path.display().to_string())?;
    output.finish()?;
    let entries = count_noun(backed_up.iter().map(|bucket| bucket.entries).sum(), "entry", "entries");
    let logs = count_noun(backed_up.iter().map(|bucket| bucket.logs).sum(), "log", "logs");
    let buckets = count_noun(backed_up.len() as u64, "bucket", "buckets");
    let when = if is_one_moment { format!("as they were at {taken}") } else { "each of its own moment".to_owned() };
    let removed = if removed == 0 { String::new() } else { format!("; {removed} older removed") };
    settings.note(&format!("{entries} and {logs} in {buckets}, {when}; read again and compared{removed}"));
    Ok(())
}

/// The settings of both stores. A value that is there may be longer than the settings allow by now.
pub(super) fn options(settings: &CliSettings) -> StoreOptions {
    StoreOptions {
        limits: Limits { max_value_bytes: usize::MAX },
        // The files of a backup stay as they are.
        tidy_after: Duration::ZERO,
        memory_copy: None,
        ..settings.store_options.clone()
    }
}

/// Copies the entries of a database or of a server. Also returns whether all of them are of one moment.
async fn copied_entries(
    settings: &CliSettings,
    opened: &OpenStore,
    earlier: Option<Backup>,
    target: &StoreUrl,
    options: &StoreOptions,
) -> CliResult<(Vec<CopiedBucket>, bool)> {
    let Some(name) = settings.store.location() else {
        return Err(Failure::Usage("memory: cannot be backed up; use yaml:, postgresql: or https:".to_owned()));
    };
    let frozen = opened.at_one_moment(options.limits).await?;
    let is_one_moment = frozen.is_some();
    let from = frozen.unwrap_or_else(|| Arc::clone(&opened.store));
    let mut buckets = all_buckets(&*from).await?;
    buckets.retain(|bucket| !bucket.is_reserved());
    if let Some(earlier) = earlier {
        begin_with(&earlier, target, options, &buckets).await?;
    }
    let backed_up = described(&*from, buckets).await?;
    let copy = CopySettings {
        name,
        bucket: None,
        mode: Mode::Copy,
        replace: true,
        skip_incompatible: false,
        limits: options.limits,
        batches: BatchLimits::default(),
    };
    let report = CopyJob::new(from, target.open(options.clone())?.store, copy).run().await?;
    if report.is_equal() && report.rejected.is_empty() {
        return Ok((backed_up, is_one_moment));
    }
    let first = report.differences.first.first().map(ToString::to_string);
    let first = first.or_else(|| report.rejected.first().map(ToString::to_string)).unwrap_or_default();
    Err(Failure::Failed(format!("the backup differs from the store, so it was not kept: {first}")))
}

/// Begins with the data of an earlier backup, unless it has buckets that the store does not have.
async fn begin_with(earlier: &Backup, target: &StoreUrl, options: &StoreOptions, buckets: &[Bucket]) -> CliResult {
    let opened = StoreUrl::yaml(&earlier.data())?.open(options.clone())?;
    let (Some(store), Some(data)) = (opened.yaml, target.folder()) else { return Ok(()) };
    let known = all_buckets(&store).await?;
    if known.iter().all(|bucket| bucket.is_reserved() || buckets.contains(bucket)) {
        store.copy_to(data, Some(earlier.link_blobs())).await?;
    }
    Ok(())
}

async fn described(store: &dyn Store, buckets: Vec<Bucket>) -> Result<Vec<CopiedBucket>> {
    let mut described = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let count = Scan { projection: Projection::Count, ..Scan::default() };
        let page = store.scan(&bucket, count).await?;
        let every = LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() };
        let logs = match store.logs() {
            Some(logs) => logs.log_keys(&bucket, every).await?.len() as u64,
            None => 0,
        };
        described.push(CopiedBucket { bucket, revision: page.revision, entries: page.count.unwrap_or(0), logs });
    }
    Ok(described)
}

/// Reads a copy of a store, and compares it with what was noted when it was made.
pub(super) async fn verify(
    target: &StoreUrl,
    options: &StoreOptions,
    backed_up: &[CopiedBucket],
    has_revisions: bool,
) -> CliResult {
    let store = target.open(options.clone())?.store;
    for CopiedBucket { bucket, revision, .. } in backed_up {
        let report = store.maintain(bucket, Task::Check).await?;
        if let Some(damage) = report.findings.iter().find(|finding| finding.severity == Severity::Damage) {
            let text = format!("the copy of bucket {bucket} is damaged, so it was not kept: {}", damage.text);
            return Err(Failure::Failed(text));
        }
        let found = store.get(bucket, &[]).await?.revision;
        if has_revisions && found != *revision {
            let text = format!(
                "the copy of bucket {bucket} has revision {found} instead of {revision}, so it was not kept; was the \
                 file edited meanwhile? Try again"
            );
            return Err(Failure::Failed(text));
        }
    }
    Ok(())
}

/// The text of `backup.yaml`.
fn summary(settings: &CliSettings, taken: Time, is_one_moment: bool, backed_up: &[CopiedBucket]) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut text = format!(
        "# A backup made by `kvs backup`. `kvs restore` restores it, `sha256sum -c SHA256SUMS` checks it.\n\
         version: {}\nstore: {}\ntaken: {taken}\none_moment: {is_one_moment}\nbuckets:\n",
        env!("CARGO_PKG_VERSION"),
        quoted(&settings.store.to_string()),
    );
    for CopiedBucket { bucket, revision, entries, logs } in backed_up {
        let bucket = quoted(bucket.as_str());
        text += &format!("  {bucket}: {{revision: {revision}, entries: {entries}, logs: {logs}}}\n");
    }
    if backed_up.is_empty() {
        text = text.replace("buckets:\n", "buckets: {}\n");
    }
    text
}
