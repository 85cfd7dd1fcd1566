//! `kvs sweep`: removes expired entries and the files of interrupted work.

use crate::cli::config::settings::CliSettings;
use crate::cli::data::each_bucket;
use crate::cli::exit::CliResult;
use crate::store::Task;

const EXAMPLES: &str = "\
Examples:
  kvs sweep
  kvs sweep --bucket sessions --quiet      for a daily timer";

/// Remove expired entries and leftover files
///
/// Expired entries are never shown, but use space until they are removed by this command or by compaction. Leftovers
/// are the files of interrupted work. Files that were set aside because they could not be read are kept.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

pub(crate) async fn run(settings: &CliSettings, _: Args) -> CliResult {
    each_bucket::each(settings, "sweeping", async |store, bucket| {
        let expired = store.maintain(bucket, Task::RemoveExpired).await?.removed;
        let leftovers = store.maintain(bucket, Task::RemoveLeftovers).await?.removed;
        Ok(Some(format!("{expired} expired, {leftovers} leftovers removed")))
    })
    .await
}
