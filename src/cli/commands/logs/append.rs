//! `kvs append`: appends to a log.

use std::ffi::OsString;

use bytes::Bytes;

use crate::cli::commands::set;
use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::TimeSpan;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::model::{AppendOutcome, ContentType, Key, LogAppend, NewLogEntry, Retention};
use crate::store::Limits;

const EXAMPLES: &str = "\
Examples:
  kvs append kitchen/temp 21.5
  kvs append kitchen/temp 21.5 --keep 10000
  kvs append events '{\"door\": \"open\"}' --type application/json --keep-for 30d
  sensors | kvs append readings - --lines";

/// Append an entry to a log
///
/// Prints the index of the entry. A log keeps every entry; it is not the value of its key. `kvs log` prints it.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The key of the log
    key: Key,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// Each line of the value is an entry; all of them are appended, or none
    #[arg(long)]
    lines: bool,
    /// The media type [default: text/plain; charset=utf-8]
    #[arg(long = "type", value_name = "TYPE", value_parser = ContentType::new)]
    content_type: Option<ContentType>,
    /// From now on keep only the last N entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep: Option<u64>,
    /// From now on keep only entries that are not older than this: 90m, 12h, 30d
    #[arg(long, value_name = "TIME")]
    keep_for: Option<TimeSpan>,
    /// From now on keep all entries
    #[arg(long, conflicts_with_all = ["keep", "keep_for"])]
    keep_all: bool,
    /// Append only if the entry gets this index; fail if it is taken
    #[arg(long, value_name = "INDEX")]
    index: Option<u64>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    if args.keep_for.is_some_and(|TimeSpan(age)| age.is_zero()) {
        return Err(Failure::Usage("--keep-for: must be longer than 0".to_owned()));
    }
    let has_limit = args.keep.is_some() || args.keep_for.is_some();
    let limits = Retention { max_entries: args.keep, max_age: args.keep_for.map(|TimeSpan(age)| age) };
    let max_value = settings.store_options.limits.max_value_bytes;
    let max_bytes = if args.lines { Limits::MAX_BATCH_BYTES.max(max_value) } else { max_value };
    let value = set::value(args.value, max_bytes)?;
    let content_type = args.content_type.unwrap_or_default();
    let entry = |value| NewLogEntry { value, content_type: content_type.clone(), updated: None };
    let entries = if args.lines { lines(&value).map(entry).collect() } else { vec![entry(value)] };
    if entries.is_empty() {
        return Err(Failure::Failed("standard input has no lines; nothing was appended".to_owned()));
    }
    let retention = if has_limit || args.keep_all { Some(limits) } else { None };
    let append = LogAppend { entries, index: args.index, retention };
    match settings.client()?.log(args.key.as_str())?.append_with(append).await? {
        AppendOutcome::Appended { index } => {
            let mut output = Output::new();
            output.line(&index.to_string())?;
            output.finish()
        }
        AppendOutcome::IndexTaken { next } => Err(Failure::Failed(format!(
            "the next index of log {} is {next}; nothing was appended; kvs log {} --last 10 shows its last entries",
            args.key, args.key
        ))),
    }
}

/// The lines of a text, without their line feeds.
fn lines(text: &Bytes) -> impl Iterator<Item = Bytes> {
    text.split_inclusive(|b| *b == b'\n').map(|line| text.slice_ref(line.strip_suffix(b"\n").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_entry() {
        let lines = |text: &'static str| lines(&Bytes::from(text)).collect::<Vec<_>>();
        assert_eq!(lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("a\n"), ["a"]);
        assert!(lines("").is_empty());
    }
}
