//! `kvs set`: stores one value.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::TimeSpan;
use crate::cli::exit::{CliResult, Failure};
use crate::client::Options;
use crate::model::{ContentType, Error, ErrorKind, Key, Result};
use bytes::Bytes;
use futures_util::{Stream, stream};

const EXAMPLES: &str = "\
Examples:
  kvs set kitchen/temp 21.5
  kvs set session/42 open --ttl 30m
  kvs set offset -- -.5                         put a value that begins with - last
  kvs set logo.png - --type image/png < logo.png";

/// How many bytes of standard input are read at a time.
const PART_BYTES: usize = 256 << 10;

/// Store a value
///
/// Replaces the value, type and expiry of the key.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The key
    key: Key,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// Delete the key after this time: 90s, 30m, 12h, 7d, 1w, 1d12h
    #[arg(long, value_name = "TIME")]
    ttl: Option<TimeSpan>,
    /// The media type [default: text/plain; charset=utf-8]
    #[arg(long = "type", value_name = "TYPE", value_parser = ContentType::new)]
    content_type: Option<ContentType>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    if args.ttl.is_some_and(|TimeSpan(ttl)| ttl.is_zero()) {
        return Err(Failure::Usage("--ttl: must be greater than 0; to delete a key, run kvs delete KEY".to_owned()));
    }
    let options = Options {
        content_type: args.content_type.unwrap_or_default(),
        ttl: args.ttl.map(|TimeSpan(ttl)| ttl),
        modified: None,
    };
    let (client, key) = (settings.client()?, args.key.as_str());
    if args.value == "-" {
        client.put_stream(key, standard_input(settings.max_value), &options).await?;
    } else {
        client.set_with(key, Bytes::from(args.value.into_vec()), &options).await?;
    }
    Ok(())
}

/// Standard input in parts; an error if it has more than `max_bytes`.
fn standard_input(max_bytes: u64) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold(0, move |bytes: u64| async move {
        let mut part = vec![0; PART_BYTES];
        let count = std::io::stdin().read(&mut part).map_err(|e| Error::io("cannot read standard input", e))?;
        part.truncate(count);
        let bytes = bytes + count as u64;
        if bytes > max_bytes {
            let text =
                format!("the value has more than {max_bytes} bytes; store a smaller one, or set a larger max_value");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok((count > 0).then(|| (part.into(), bytes)))
    })
}

/// The value of the argument or of standard input. Does not read much more than `max_value` bytes.
pub(in crate::cli::commands) fn value(argument: OsString, max_value: usize) -> CliResult<Bytes> {
    if argument != "-" {
        return Ok(argument.into_vec().into());
    }
    let mut bytes = Vec::new();
    let enough = u64::try_from(max_value).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin()
        .lock()
        .take(enough)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::Failed(format!("cannot read the value from standard input: {e}")))?;
    if bytes.len() > max_value {
        return Err(Failure::Failed(format!(
            "the value has more than {max_value} bytes; store a smaller one, or set a larger max_value"
        )));
    }
    Ok(bytes.into())
}
