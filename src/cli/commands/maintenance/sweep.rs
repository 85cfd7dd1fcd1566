//! `kvs sweep`: removes expired entries, the files of interrupted work and, if asked, old entries.

use std::sync::Arc;

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::{TimeSpan, count_noun};
use crate::cli::data::each_bucket;
use crate::cli::exit::CliResult;
use crate::cli::output::Output;
use crate::client::{Client, Sweep};
use crate::model::{Clock, SystemClock};
use crate::store::Task;

const EXAMPLES: &str = "\
Examples:
  kvs sweep
  kvs sweep --bucket sessions --quiet      for a daily timer
  kvs sweep --older-than 30d --keep 'config/*' --keep door --dry-run
                                           list the keys that would be deleted
  kvs sweep --older-than 30d --keep 'config/*' --keep door";

/// Remove expired entries and leftover files, and entries older than --older-than
///
/// Expired entries are never shown, but use space until they are removed by this command or by compaction. Leftovers
/// are the files of interrupted work. Files that were set aside because they could not be read are kept.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Also delete entries that nobody has written for this long, such as 30d or 12h
    #[arg(long, value_name = "SPAN")]
    older_than: Option<TimeSpan>,

    /// Keep this key; with * at its end, all keys that begin with it. May be given several times
    #[arg(long, value_name = "KEY", requires = "older_than")]
    keep: Vec<String>,

    /// Only list what --older-than would delete; remove nothing
    #[arg(long, requires = "older_than")]
    dry_run: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let cutoff = args.older_than.map(|TimeSpan(age)| SystemClock.now().minus(age));
    let old = cutoff.map(|cutoff| args.keep.iter().fold(Sweep::before(cutoff), |sweep, key| sweep.keep(key)));
    each_bucket::each(settings, "sweeping", async |store, bucket| {
        // The buckets of kvs itself have records that must stay however old they are.
        let old = old.as_ref().filter(|_| !bucket.is_reserved());
        let client = Client::new(Arc::clone(store)).with_bucket(bucket.clone());
        if args.dry_run {
            return list(&client, old).await.map(|()| None);
        }
        let expired = store.maintain(bucket, Task::RemoveExpired).await?.removed;
        let leftovers = store.maintain(bucket, Task::RemoveLeftovers).await?.removed;
        let swept = match old {
            Some(old) => {
                let count = client.sweep(old).await?.len() as u64;
                format!(", {}", count_noun(count, "old entry", "old entries"))
            }
            None => String::new(),
        };
        Ok(Some(format!("{expired} expired, {leftovers} leftovers{swept} removed")))
    })
    .await
}

/// Prints the bucket and the key of each entry that would be deleted.
async fn list(client: &Client, old: Option<&Sweep>) -> CliResult {
    let Some(old) = old else { return Ok(()) };
    let mut output = Output::new();
    for key in client.find_swept(old).await? {
        output.line(&format!("{}\t{key}", client.bucket()))?;
    }
    output.finish()
}
