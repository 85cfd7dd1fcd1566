//! `kvs incr`: adds to a number atomically.

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::integer;
use crate::cli::exit::CliResult;
use crate::cli::output::Output;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs incr visits
  kvs incr stock/apples -3";

/// Add to a number and print the result
///
/// A missing key counts as 0. The value must be a 64-bit integer.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The key of the number
    key: Key,
    /// The number to add
    #[arg(value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = integer)]
    by: i64,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let now = settings.client()?.increment(args.key.as_str(), args.by).await?;
    let mut output = Output::new();
    output.line(&now.to_string())?;
    output.finish()
}
