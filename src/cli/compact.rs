//! `kvs compact`: stores buckets in the least room.

use clap::Args;

use super::buckets;
use super::failure::Done;
use super::settings::Settings;
use super::units::{Size, counted};
use crate::store::Task;

const EXAMPLES: &str = "\
Examples:
  kvs compact                    all buckets
  kvs compact --bucket default   one";

/// Store buckets in the least room
///
/// Servers do this by themselves as a log grows; it is of use before a backup. Readers and writers may go on meanwhile.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {}

pub(super) async fn run(settings: &Settings, _: Given) -> Done {
    buckets::each(settings, "compacting", async |store, bucket| {
        let report = store.upkeep(bucket, Task::Compact).await?;
        let entries = counted(report.entries, "entry", "entries");
        let size = |bytes: u64| Size(usize::try_from(bytes).unwrap_or(usize::MAX));
        let (before, after) = (size(report.bytes_before), size(report.bytes_after));
        Ok(Some(format!("{entries}, {before} before, {after} now")))
    })
    .await
}
