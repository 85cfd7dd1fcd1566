//! `kvs get`: the value of the most recently updated of some keys.

use clap::Args;

use super::existing;
use super::failure::{Done, Failure};
use super::output::Output;
use super::settings::Settings;
use crate::model::Key;

const EXAMPLES: &str = "\
Examples:
  kvs get kitchen/temp
  kvs get bedroom/temp kitchen/temp      whichever was written last
  kvs get logo.png > logo.png            the bytes as they are";

/// Print a value
///
/// Of several keys, that of the most recently updated. The bytes are printed as they are; only on a terminal a newline
/// follows. If none of the keys is there: exit code 1.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The keys to look at
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Key>,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let names: Vec<_> = given.keys.iter().map(Key::as_str).collect();
    let Some((_, entry)) = existing::client(settings).await?.newest(&names).await? else {
        let text = format!("not found in bucket {}: {}", settings.bucket(), names.join(", "));
        return Err(Failure::Failed(text));
    };
    let mut output = Output::new();
    output.bytes(&entry.value)?;
    if Output::is_terminal() && !entry.value.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    output.done()
}
