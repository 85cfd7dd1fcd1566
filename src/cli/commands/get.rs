//! `kvs get`: prints the value of a key.

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::model::{BlobRef, Key};
use futures_util::StreamExt as _;

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
    let client = existing::client(settings).await?;
    let Some((key, entry)) = client.get_latest(&names).await? else {
        let text = format!("not found in bucket {}: {}", settings.bucket(), names.join(", "));
        return Err(Failure::Failed(text));
    };
    let mut output = Output::new();
    // A value that is too large for the memory.
    if BlobRef::of(&entry).is_some()
        && let Some(value) = client.get_stream(key.as_str()).await?
    {
        let mut parts = value.parts(0);
        while let Some(part) = parts.next().await {
            output.bytes(&part?)?;
        }
        return output.finish();
    }
    output.bytes(&entry.value)?;
    if Output::is_terminal() && !entry.value.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    output.finish()
}
