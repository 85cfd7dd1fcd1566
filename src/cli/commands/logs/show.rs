//! `kvs log`: prints the entries of a log, follows it, or removes entries.

use std::io::IsTerminal as _;

use futures_util::TryStreamExt as _;

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::format::json;
use crate::cli::output::Output;
use crate::cli::stderr::say;
use crate::client::{Client, Log};
use crate::model::{Clock as _, Key, LogEntry, LogPage, LogQuery, LogStart, SystemClock, Time, escaped, parse_since};

const EXAMPLES: &str = "\
Examples:
  kvs log                               list the logs
  kvs log kitchen/temp --last 10
  kvs log kitchen/temp --since 12h --json
  kvs log kitchen/temp --follow
  kvs log kitchen/temp --remove --before 1000";

/// Print the entries of a log
///
/// Prints one line for each entry: the index, the time and the value, separated by tabs. Without a key it lists the
/// logs, with the number of their entries. `kvs append` appends to a log.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The key of the log
    key: Option<Key>,

    /// Only the last N entries
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "from")]
    last: Option<u64>,

    /// Begin with the entry of this index
    #[arg(long, value_name = "INDEX", default_value = "0", hide_default_value = true)]
    from: u64,

    /// Only entries of this time or later: 2026-11-29T12:00:00Z, 2026-11-29, or 12h for the last 12 hours
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Time>,

    /// Then wait for new entries and print them, until it is interrupted
    #[arg(long, short = 'f')]
    follow: bool,

    /// Print JSON, one object per line, as the HTTP API does
    #[arg(long)]
    json: bool,

    /// Print only the values, each with a line feed after it
    #[arg(long, conflicts_with = "json")]
    values: bool,

    /// Remove the log
    #[arg(long, requires = "key", conflicts_with_all = ["last", "from", "since", "follow", "json", "values"])]
    remove: bool,

    /// With --remove: remove only the entries before this index
    #[arg(long, value_name = "INDEX", requires = "remove")]
    before: Option<u64>,
}

fn since(text: &str) -> Result<Time, String> {
    parse_since(text, SystemClock.now()).map_err(|error| error.to_string())
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    // The bucket need not have values.
    let opened = existing::opened(&settings.store, settings.open()?).await?;
    let client = Client::new(opened.store).with_bucket(settings.bucket());
    let Some(key) = &args.key else { return list(&client).await };
    let log = client.log(key.as_str())?;
    if args.remove {
        return remove(&log, args.before).await;
    }
    print(&log, &args).await
}

async fn list(client: &Client) -> CliResult {
    let keys = client.log_keys("").await?;
    let mut output = Output::new();
    for key in &keys {
        let page = client.log(key.as_str())?.page(LogQuery::last(1)).await?.unwrap_or_default();
        let updated = page.entries.last().map_or(String::new(), |entry| entry.updated.to_string());
        output.line(&format!("{key}\t{}\t{updated}", page.next.saturating_sub(page.first)))?;
    }
    output.finish()?;
    if keys.is_empty() && std::io::stderr().is_terminal() {
        say(&format!("bucket {} has no logs; kvs append KEY VALUE begins one", client.bucket()));
    }
    Ok(())
}

async fn remove(log: &Log, before: Option<u64>) -> CliResult {
    let removed = match before {
        Some(index) => log.remove_before(index).await?,
        None => log.remove().await?,
    };
    let removed = removed.ok_or_else(|| missing(log.key()))?;
    let entries = if removed == 1 { "entry" } else { "entries" };
    say(&format!("removed {removed} {entries}"));
    Ok(())
}

fn missing(key: &Key) -> Failure {
    Failure::Failed(format!("there is no log {key}; kvs log lists the logs"))
}

async fn print(log: &Log, args: &Args) -> CliResult {
    let start = args.last.map_or(LogStart::Index(args.from), LogStart::FromEnd);
    let mut query = LogQuery { start, since: args.since, ..LogQuery::default() };
    let mut next = 0;
    loop {
        let Some(page) = log.page(query).await? else {
            if args.follow {
                break;
            }
            return Err(missing(log.key()));
        };
        next = page.end();
        write(&page.entries, args)?;
        if is_last(&page) {
            break;
        }
        query.start = LogStart::Index(next);
    }
    if args.follow {
        let mut entries = log.follow(next.max(args.from));
        while let Some(entry) = entries.try_next().await? {
            write(&[entry], args)?;
        }
    }
    Ok(())
}

fn is_last(page: &LogPage) -> bool {
    page.entries.is_empty() || page.end() >= page.next
}

fn write(entries: &[LogEntry], args: &Args) -> CliResult {
    let mut output = Output::new();
    for entry in entries {
        if args.values {
            output.bytes(&entry.value)?;
            output.bytes(b"\n")?;
        } else if args.json {
            output.line(&json::log_line(entry)?)?;
        } else {
            output.line(&format!("{}\t{}\t{}", entry.index, entry.updated, escaped(&entry.value)))?;
        }
    }
    output.finish()
}
