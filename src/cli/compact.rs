//! `kvs compact`: stores buckets in the least room.

use clap::Args;

use super::buckets;
use super::failure::{Done, Failure};
use super::settings::Settings;
use super::units::{Size, counted};
use crate::store::Task;

const EXAMPLES: &str = "\
Examples:
  kvs compact                    all buckets
  kvs compact --bucket default   one
  kvs compact --sort             with the keys in their order";

/// Store buckets in the least room
///
/// Servers do this by themselves as a log grows; it is of use before a backup. Readers and writers may go on meanwhile.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// Put the entries of a file in the order of their keys; comments above an entry move with it
    #[arg(long)]
    sort: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let yaml = if given.sort { settings.open()?.yaml } else { None };
    if given.sort && yaml.is_none() {
        return Err(Failure::Usage(format!("--sort works on a store of files (yaml:DIR), not on {}", settings.store)));
    }
    buckets::each(settings, "compacting", async |store, bucket| {
        let report = match &yaml {
            Some(yaml) => yaml.sort(bucket).await?,
            None => store.upkeep(bucket, Task::Compact).await?,
        };
        let entries = counted(report.entries, "entry", "entries");
        let size = |bytes: u64| Size(usize::try_from(bytes).unwrap_or(usize::MAX));
        let (before, after) = (size(report.bytes_before), size(report.bytes_after));
        Ok(Some(format!("{entries}, {before} before, {after} now")))
    })
    .await
}
