//! `kvs watch`: prints each change when it happens, or runs a command for it.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use futures_util::TryStreamExt as _;

use crate::cli::config::settings::CliSettings;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::format::json;
use crate::cli::output::Output;
use crate::cli::stderr::say;
use crate::client::{Client, WatchEvent};
use crate::model::{Bucket, Key, Revision, escaped};

const EXAMPLES: &str = "\
Examples:
  kvs watch kitchen/
  kvs watch --json | jq .key
  kvs watch door --exec 'echo \"$WATCH_KEY is now $(cat)\"'";

/// Print each change when it happens
///
/// Prints one line for each key that is put or deleted, no matter who does it. A line has the event, the key and the
/// value, separated by tabs. `reset` means that changes may be missing. It runs until it is interrupted.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Begin after this revision, for example the `id` of the last line of --json [default: now]
    #[arg(long, value_name = "REVISION")]
    since: Option<Revision>,

    /// Print JSON, one object per line, with the members that event streams have
    #[arg(long)]
    json: bool,

    /// Instead of printing, run this with `sh -c` for each change, one after another. It gets the value on standard
    /// input, and the variables `WATCH_EVENT` (put, delete or reset), `WATCH_BUCKET`, `WATCH_KEY`, `WATCH_REVISION` and
    /// `WATCH_TYPE`
    #[arg(long, value_name = "COMMAND", conflicts_with = "json")]
    exec: Option<String>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    // The bucket need not exist yet.
    let opened = existing::opened(&settings.store, settings.open()?).await?;
    let client = Client::new(opened.store).with_bucket(settings.bucket());
    let mut changes = match args.since {
        Some(since) => client.watch_since(&args.prefix, since)?,
        None => client.watch(&args.prefix).await?,
    };
    while let Some(event) = changes.try_next().await? {
        if let Some(command) = &args.exec {
            let (command, bucket) = (command.clone(), client.bucket().clone());
            // Notifications of the store arrive meanwhile.
            let work = tokio::task::spawn_blocking(move || execute(&command, &bucket, &event));
            work.await.map_err(|error| Failure::Failed(format!("the command was aborted: {error}")))??;
            continue;
        }
        let mut output = Output::new();
        output.line(&if args.json { json::change_line(client.bucket(), &event)? } else { line(&event) })?;
        output.finish()?;
    }
    Ok(())
}

fn line(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Put { key, entry, .. } => format!("put\t{key}\t{}", escaped(&entry.value)),
        WatchEvent::Delete { key, .. } => format!("delete\t{key}"),
        WatchEvent::Reset { .. } => "reset".to_owned(),
    }
}

/// Runs the command for an event. If the command fails, the next events are handled all the same.
fn execute(command: &str, bucket: &Bucket, event: &WatchEvent) -> CliResult {
    let (name, key, entry) = match event {
        WatchEvent::Put { key, entry, .. } => ("put", Some(key), Some(entry)),
        WatchEvent::Delete { key, .. } => ("delete", Some(key), None),
        WatchEvent::Reset { .. } => ("reset", None, None),
    };
    let spawned = Command::new("sh")
        .args(["-c", command])
        .env("WATCH_EVENT", name)
        .env("WATCH_BUCKET", bucket.as_str())
        .env("WATCH_KEY", key.map_or("", Key::as_str))
        .env("WATCH_REVISION", event.revision().to_string())
        .env("WATCH_TYPE", entry.map_or("", |entry| entry.content_type.as_str()))
        .stdin(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| Failure::Failed(format!("cannot run sh: {error}")))?;
    if let (Some(mut input), Some(entry)) = (child.stdin.take(), entry) {
        match input.write_all(&entry.value) {
            // The command need not read its input.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                say(&format!("kvs: cannot pass the value to the command: {error}"));
            }
            _ => {}
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("kvs: the command for revision {} failed: {status}", event.revision())),
        Err(error) => say(&format!("kvs: cannot wait for the command: {error}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Entry, Time};

    fn put(value: &str) -> WatchEvent {
        let revision = Revision::new(1_000_000_000);
        let entry = Entry {
            value: value.to_owned().into(),
            content_type: ContentType::default(),
            revision,
            created: Time::from_secs(1),
            modified: None,
            expires: None,
        };
        WatchEvent::Put { revision, key: Key::new("a").unwrap(), entry }
    }

    #[test]
    fn each_event_is_one_line() {
        assert_eq!(line(&put("one\ntwo")), "put\ta\tone\\ntwo");
        let revision = Revision::new(2);
        assert_eq!(line(&WatchEvent::Delete { revision, key: Key::new("a b").unwrap() }), "delete\ta b");
        assert_eq!(line(&WatchEvent::Reset { revision }), "reset");
    }

    #[test]
    fn a_command_gets_the_value_and_the_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let command = format!("(cat; env | grep ^WATCH_ | sort) > '{}'; exit 3", file.display());
        execute(&command, &Bucket::default(), &put("21.5\n")).unwrap();
        let expected = "21.5\nWATCH_BUCKET=default\nWATCH_EVENT=put\nWATCH_KEY=a\nWATCH_REVISION=gjdgxs\n\
                        WATCH_TYPE=text/plain; charset=utf-8\n";
        assert_eq!(std::fs::read_to_string(file).unwrap(), expected);
        execute("true", &Bucket::default(), &put(&"x".repeat(1 << 20))).unwrap();
    }
}
