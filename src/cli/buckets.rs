//! One piece of work on each bucket of a store: for the commands that work on all of them unless one is named.
//!
//! A bucket on which it fails does not keep the others from it.

use super::existing;
use super::failure::{Done, Failure};
use super::output::progress;
use super::settings::Settings;
use crate::model::Bucket;
use crate::store::Store;

/// Does `work` on each bucket and says what it gives back. Failures are told at once; with one of them, all has failed in
/// the end.
///
/// # Errors
/// `Unread` ends it early: nobody would see the rest.
pub(super) async fn each(
    settings: &Settings,
    doing: &'static str,
    mut work: impl AsyncFnMut(&dyn Store, &Bucket) -> Done<Option<String>>,
) -> Done {
    let (opened, buckets) = existing::buckets(settings).await?;
    let bar = progress(buckets.len(), doing, settings.quiet);
    let mut outcome = Ok(());
    for bucket in &buckets {
        match work(&*opened.store, bucket).await {
            Ok(Some(text)) => bar.suspend(|| settings.note(&format!("{bucket}: {text}"))),
            Ok(None) => {}
            Err(Failure::Unread) => {
                bar.finish_and_clear();
                return Err(Failure::Unread);
            }
            Err(failure) => outcome = Err(bar.suspend(|| failure.told())),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    outcome
}
