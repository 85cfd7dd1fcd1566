//! `kvs incr`: adds to a number in one step, whoever else does.

use clap::Args;

use super::failure::Done;
use super::output::Output;
use super::settings::Settings;
use super::units::integer;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs incr visits
  kvs incr stock/apples -3";

/// Add to a number and print the new one
///
/// A missing key counts as 0. The number must be a whole one of 64 bits.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The key of the number
    key: Key,
    /// What to add
    #[arg(value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = integer)]
    by: i64,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let now = settings.client()?.increment(given.key.as_str(), given.by).await?;
    let mut output = Output::new();
    output.line(&now.to_string())?;
    output.done()
}
