//! `kvs delete`: deletes keys in one atomic step.

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::CliResult;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs delete session/42
  kvs delete kitchen/temp bedroom/temp
  kvs list --keys session/ | tr '\\n' '\\0' | xargs -0 kvs delete";

/// Delete keys
///
/// All keys are deleted in one atomic step. A missing key is not an error, a missing bucket is.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The keys to delete
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Key>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let names: Vec<_> = args.keys.iter().map(Key::as_str).collect();
    let deleted = existing::client(settings).await?.delete_many(&names).await?;
    let missing = (names.len() as u64).saturating_sub(deleted);
    settings.note(&match missing {
        0 => format!("{deleted} deleted"),
        _ => format!("{deleted} deleted, {missing} not found"),
    });
    Ok(())
}
