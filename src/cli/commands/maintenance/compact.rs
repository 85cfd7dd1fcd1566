//! `kvs compact`: rewrites the data of buckets without old entries.

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::{Size, count_noun};
use crate::cli::data::each_bucket;
use crate::cli::exit::{CliResult, Failure};
use crate::store::Task;

const EXAMPLES: &str = "\
Examples:
  kvs compact                    all buckets
  kvs compact --bucket default   one bucket
  kvs compact --sort             with the keys in order";

/// Rewrite the data without old entries
///
/// A server does this automatically as its log grows; the command is useful before a backup. Reads and writes can go
/// on.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Sort the entries of a file by key; the comments above an entry move with it
    #[arg(long)]
    sort: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let yaml = if args.sort { settings.open()?.yaml } else { None };
    if args.sort && yaml.is_none() {
        return Err(Failure::Usage(format!("--sort needs a YAML store (yaml:DIR), not {}", settings.store)));
    }
    each_bucket::each(settings, "compacting", async |store, bucket| {
        let report = match &yaml {
            Some(yaml) => yaml.sort(bucket).await?,
            None => store.maintain(bucket, Task::Compact).await?,
        };
        let entries = count_noun(report.entries, "entry", "entries");
        let size = |bytes: u64| Size(usize::try_from(bytes).unwrap_or(usize::MAX));
        let (before, after) = (size(report.bytes_before), size(report.bytes_after));
        Ok(Some(format!("{entries}, {before} before, {after} now")))
    })
    .await
}
