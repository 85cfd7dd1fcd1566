//! `kvs delete`: removes keys, all in one step.

use clap::Args;

use super::existing;
use super::failure::Done;
use super::settings::Settings;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs delete session/42
  kvs delete kitchen/temp bedroom/temp
  kvs list --keys session/ | tr '\\n' '\\0' | xargs -0 kvs delete";

/// Delete keys
///
/// All in one step: who reads sees all of them or none. A key that is not there is no error, but a bucket
/// that is not there is one.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The keys to delete
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Key>,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let names: Vec<_> = given.keys.iter().map(Key::as_str).collect();
    let deleted = existing::client(settings).await?.delete_many(&names).await?;
    let missing = (names.len() as u64).saturating_sub(deleted);
    settings.note(&match missing {
        0 => format!("{deleted} deleted"),
        _ => format!("{deleted} deleted, {missing} not found"),
    });
    Ok(())
}
