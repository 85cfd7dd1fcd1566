//! Does some work on each bucket, for commands that work on all buckets unless one is named.
//!
//! If the work fails on one bucket, it goes on with the others.

use std::sync::Arc;

use super::existing;
use crate::cli::config::settings::CliSettings;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::progress;
use crate::model::Bucket;
use crate::store::Store;

/// Calls `work` for each bucket and prints the message that it returns. Errors are printed as they occur; after one of
/// them the result is an error.
///
/// # Errors
/// `BrokenPipe` ends the loop: nobody would read the rest.
pub(crate) async fn each(
    settings: &CliSettings,
    doing: &'static str,
    mut work: impl AsyncFnMut(&Arc<dyn Store>, &Bucket) -> CliResult<Option<String>>,
) -> CliResult {
    let (opened, buckets) = existing::buckets(settings).await?;
    let bar = progress(buckets.len(), doing, settings.quiet);
    let mut outcome = Ok(());
    for bucket in &buckets {
        match work(&opened.store, bucket).await {
            Ok(Some(text)) => bar.suspend(|| settings.note(&format!("{bucket}: {text}"))),
            Ok(None) => {}
            Err(Failure::BrokenPipe) => {
                bar.finish_and_clear();
                return Err(Failure::BrokenPipe);
            }
            Err(failure) => outcome = Err(bar.suspend(|| failure.report_now())),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    outcome
}
