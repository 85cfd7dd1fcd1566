//! `kvs get`: prints the value of a key.

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs get kitchen/temp
  kvs get bedroom/temp kitchen/temp      the value that was written last
  kvs get logo.png > logo.png            the exact bytes";

/// Print a value
///
/// Prints the exact bytes; on a terminal a newline follows. With several keys, prints the value that was written last.
/// Exit code 1 if no key exists.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Key>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let names: Vec<_> = args.keys.iter().map(Key::as_str).collect();
    let Some((_, entry)) = existing::client(settings).await?.get_latest(&names).await? else {
        let text = format!("not found in bucket {}: {}", settings.bucket(), names.join(", "));
        return Err(Failure::Failed(text));
    };
    let mut output = Output::new();
    output.bytes(&entry.value)?;
    if Output::is_terminal() && !entry.value.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    output.finish()
}
