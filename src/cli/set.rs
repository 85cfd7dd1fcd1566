//! `kvs set`: stores one value.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use clap::Args;

use super::failure::{Done, Failure};
use super::settings::Settings;
use super::units::Span;
use crate::api::Options;
use crate::model::{ContentType, Key};

const EXAMPLES: &str = "\
Examples:
  kvs set kitchen/temp 21.5
  kvs set session/42 open --ttl 30m
  kvs set offset -- -.5                         a value that begins with - goes last
  kvs set logo.png - --type image/png < logo.png";

/// Store a value
///
/// Replaces what stood under the key, its type and end included.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The key to store it under
    key: Key,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// When it ends, counted from now: 90s, 30m, 12h, 7d, 1w, 1d12h
    #[arg(long, value_name = "TIME")]
    ttl: Option<Span>,
    /// Its media type [default: text/plain; charset=utf-8]
    #[arg(long = "type", value_name = "TYPE", value_parser = ContentType::new)]
    content_type: Option<ContentType>,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    if given.ttl.is_some_and(|Span(ttl)| ttl.is_zero()) {
        return Err(Failure::Usage(
            "--ttl: this must be longer than nothing; to remove a key: kvs delete KEY".to_owned(),
        ));
    }
    let options = Options {
        content_type: given.content_type.unwrap_or_default(),
        ttl: given.ttl.map(|Span(ttl)| ttl),
        modified: None,
    };
    let value = value(given.value, settings.opening.limits.value)?;
    settings.client()?.set_with(given.key.as_str(), value, &options).await?;
    Ok(())
}

/// The value that was typed or stands on standard input. Reads hardly more than the store would take.
fn value(typed: OsString, most: usize) -> Done<Bytes> {
    if typed != "-" {
        return Ok(typed.into_vec().into());
    }
    let mut bytes = Vec::new();
    let enough = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin()
        .lock()
        .take(enough)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::Failed(format!("cannot read the value from standard input: {e}")))?;
    if bytes.len() > most {
        return Err(Failure::Failed(format!("the value has more than {most} bytes; see --max-value")));
    }
    Ok(bytes.into())
}
