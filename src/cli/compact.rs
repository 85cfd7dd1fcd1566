//! `kvs compact`: stores buckets in the least room.

use clap::Args;

use super::failure::{Done, Failure};
use super::output::progress;
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
    let opened = settings.open()?;
    let buckets = settings.buckets(&opened).await?;
    let bar = progress(buckets.len(), "compacting", settings.quiet);
    let mut outcome = Ok(());
    for bucket in &buckets {
        bar.inc(1);
        let report = match opened.store.upkeep(bucket, Task::Compact).await {
            Ok(report) => report,
            Err(error) => {
                outcome = Err(bar.suspend(|| Failure::from(error).told()));
                continue;
            }
        };
        let entries = counted(report.entries, "entry", "entries");
        let size = |bytes: u64| Size(usize::try_from(bytes).unwrap_or(usize::MAX));
        let (before, after) = (size(report.bytes_before), size(report.bytes_after));
        bar.suspend(|| settings.note(&format!("{bucket}: {entries}, {before} before, {after} now")));
    }
    bar.finish_and_clear();
    outcome
}
