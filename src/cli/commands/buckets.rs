//! `kvs buckets`: prints the names of the buckets.

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::model::{Projection, Scan};

const EXAMPLES: &str = "\
Examples:
  kvs buckets                    all buckets
  kvs buckets --count            with the number of their keys
  kvs buckets | while read -r b; do kvs export --bucket \"$b\" \"backup/$b.yaml\"; done";

/// Show the buckets
///
/// Prints the name of each bucket on a line of its own, in order. The buckets that kvs keeps for itself are left out.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Also print the number of keys of each bucket, after a tab
    #[arg(long)]
    count: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let (opened, buckets) = existing::buckets(settings).await?;
    let mut output = Output::new();
    let mut outcome = Ok(());
    for bucket in buckets.iter().filter(|bucket| !bucket.is_reserved()) {
        if !args.count {
            output.line(bucket.as_str())?;
            continue;
        }
        let query = Scan { projection: Projection::Count, ..Scan::default() };
        match opened.store.scan(bucket, query).await {
            Ok(page) => output.line(&format!("{bucket}\t{}", page.count.unwrap_or(0)))?,
            // The others are still shown.
            Err(error) => outcome = Err(Failure::from(error).report_now()),
        }
    }
    output.finish()?;
    outcome
}
