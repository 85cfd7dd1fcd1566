//! `kvs rekey`: encrypts all values with the first encryption key.

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::each_bucket;
use crate::cli::data::open_store::StoreOptions;
use crate::cli::exit::{CliResult, Failure};

const EXAMPLES: &str = "\
Examples:
  echo \"2026 $(openssl rand -base64 32)\" > keys.txt && chmod 600 keys.txt
  kvs rekey --encryption-keys keys.txt                encrypt what is not encrypted yet

To change the key, add a line with a new one at the end of the file; when every program on every machine
has this file, make it the first line, run `kvs rekey`, then remove the old line. Entries of logs keep the
key they were written with, so keep its line as long as there are logs.";

/// Encrypt all values with the first encryption key
///
/// Values with another key, and values that are not encrypted yet, are encrypted anew. Revisions and times stay. Reads
/// and writes can go on. If the command is interrupted, run it again: it continues where it was.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

pub(crate) async fn run(settings: &CliSettings, _: Args) -> CliResult {
    let limits = settings.store_options.limits;
    let options = StoreOptions { limits: settings.layers.inner_limits(limits), ..settings.store_options.clone() };
    let inner = settings.store.open(options)?.store;
    let Some(encrypted) = settings.layers.encrypted(&inner, limits)? else {
        let text = "there are no encryption keys; name their file with --encryption-keys FILE, or in config.yaml";
        return Err(Failure::Usage(text.to_owned()));
    };
    each_bucket::each(settings, "encrypting", async |_, bucket| {
        let count = encrypted.rekey(bucket).await?;
        Ok(Some(format!("{} encrypted", count_noun(count, "value", "values"))))
    })
    .await
}
