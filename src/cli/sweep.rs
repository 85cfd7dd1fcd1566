//! `kvs sweep`: removes what has expired, and what interrupted work left behind.

use clap::Args;

use super::failure::{Done, Failure};
use super::settings::Settings;
use crate::model::{Bucket, Result};
use crate::store::{Store, Task};

const EXAMPLES: &str = "\
Examples:
  kvs sweep
  kvs sweep --bucket sessions --quiet      from a timer, once a day";

/// Remove what has expired, and leftovers
///
/// Expired entries are never shown, but they take room until they are swept or compacted away. Leftovers are the files
/// of work that was interrupted; what was set aside because it could not be read stays for a person to look at.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {}

pub(super) async fn run(settings: &Settings, _: Given) -> Done {
    let opened = settings.open()?;
    let mut outcome = Ok(());
    for bucket in settings.buckets(&opened).await? {
        match sweep(&*opened.store, &bucket).await {
            Ok((expired, leftovers)) => {
                settings.note(&format!("{bucket}: {expired} expired, {leftovers} leftovers removed"));
            }
            // One that is damaged must not keep the others from being swept.
            Err(error) => outcome = Err(Failure::from(error).told()),
        }
    }
    outcome
}

/// How many entries had expired, and how many files were left over.
async fn sweep(store: &dyn Store, bucket: &Bucket) -> Result<(u64, u64)> {
    let expired = store.upkeep(bucket, Task::PurgeExpired).await?.removed;
    let leftovers = store.upkeep(bucket, Task::Sweep).await?.removed;
    Ok((expired, leftovers))
}
