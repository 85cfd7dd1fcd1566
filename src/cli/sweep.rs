//! `kvs sweep`: removes what has expired, and what interrupted work left behind.

use clap::Args;

use super::buckets;
use super::failure::Done;
use super::settings::Settings;
use crate::store::Task;

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
    buckets::each(settings, "sweeping", async |store, bucket| {
        let expired = store.upkeep(bucket, Task::PurgeExpired).await?.removed;
        let leftovers = store.upkeep(bucket, Task::Sweep).await?.removed;
        Ok(Some(format!("{expired} expired, {leftovers} leftovers removed")))
    })
    .await
}
