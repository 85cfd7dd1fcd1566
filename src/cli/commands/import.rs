//! `kvs import`: stores the entries of files in a bucket. All files are read and checked before the first write.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::format::{Format, ImportEntry};
use crate::cli::output::progress;
use crate::model::{Batch, Clock, Key, Returning, SystemClock, Time, Write};
use crate::store::BatchLimits;

const EXAMPLES: &str = "\
Examples:
  kvs import backup.yaml
  kvs import channels.json sensors.csv --dry-run     only check the files
  echo 'greeting: hello' | kvs import -

The formats:
  YAML   greeting: hello
         session: {value: x, ttl: 10m}     expires ten minutes after the import
         theme: {name: dark, sizes: [1, 2]}     stored as JSON
         or an export, or a data file of a store
  JSON   {\"greeting\": \"hello\", \"temp\": 21.5}
         or [{\"key\": \"greeting\", \"value\": \"hello\", \"expires\": \"2030-01-01T00:00:00Z\"}]
  CSV    key,value
         greeting,hello
         optional columns: base64,type,updated,modified,expires";

/// Import entries from files
///
/// If an entry of any file cannot be stored, the error names the file and the line, and nothing is written. Types,
/// expiry and modification times are kept. Entries are written in the order of `updated`; expired entries are skipped.
/// If a key occurs in several files, the last one wins. Entries are written in batches of up to 1000; each batch is
/// atomic.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The files; without one, or with `-`, standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format [default: by the file name, else yaml]
    #[arg(short, long)]
    format: Option<Format>,
    /// Only check the files; write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let files = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files };
    let mut entries = Vec::new();
    for path in &files {
        entries.extend(read(path, args.format, settings.store_options.limits.max_value_bytes)?);
    }
    let (writes, expired) = plan(entries, SystemClock.now());
    let total = writes.len();
    let keys = count_noun(total as u64, "key", "keys");
    let skipped = if expired == 0 { String::new() } else { format!(", {expired} expired skipped") };
    if args.dry_run {
        settings.note(&format!("{keys} can be stored{skipped}; nothing was written"));
        return Ok(());
    }
    let opened = settings.open()?;
    let bar = progress(total, "importing", settings.quiet);
    for writes in batches(&writes, opened.batches) {
        let size = writes.len() as u64;
        let batch = Batch::new(writes.to_vec()).returning(Returning::Nothing);
        opened.store.apply(&settings.bucket(), batch).await.map_err(|e| {
            bar.abandon();
            let at_least = if e.is_outcome_unknown() { "at least " } else { "" };
            Failure::Failed(format!("{e}; {at_least}{} of {keys} stored", bar.position()))
        })?;
        bar.inc(size);
    }
    bar.finish_and_clear();
    settings.note(&format!("{keys} stored in bucket {}{skipped}", settings.bucket()));
    Ok(())
}

/// The entries of a file, with values of at most `max_value` bytes.
fn read(path: &Path, format: Option<Format>, max_value: usize) -> CliResult<Vec<ImportEntry>> {
    let stdin = path.as_os_str() == "-";
    let format = format.or_else(|| Format::from_name(path));
    let (is_known, format) = (format.is_some(), format.unwrap_or(Format::Yaml));
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|e| Failure::Failed(format!("cannot read {name}: {e}; nothing was written")))?;
    let hint = if is_known { "" } else { "; it was read as YAML, use --format for another format" };
    let entries =
        format.read(&bytes).map_err(|e| Failure::Failed(format!("{name}: {e}{hint}; nothing was written")))?;
    match entries.iter().find(|entry| entry.value.len() > max_value) {
        None => Ok(entries),
        Some(ImportEntry { key, value, .. }) => Err(Failure::Failed(format!(
            "{name}: the value of {key:?} has {} bytes, but max_value is {max_value}; nothing was written",
            value.len()
        ))),
    }
}

/// One write for each key, the most recent last; and the number of expired entries.
fn plan(entries: Vec<ImportEntry>, now: Time) -> (Vec<Write>, usize) {
    let mut last: HashMap<Key, usize> = HashMap::new();
    for (n, entry) in entries.iter().enumerate() {
        last.insert(entry.key.clone(), n);
    }
    let mut entries: Vec<ImportEntry> =
        entries.into_iter().enumerate().filter(|(n, e)| last.get(&e.key) == Some(n)).map(|(_, e)| e).collect();
    for entry in &mut entries {
        entry.expires = entry.ttl.map_or(entry.expires, |ttl| Some(now.plus(ttl)));
    }
    let before = entries.len();
    entries.retain(|entry| entry.expires.is_none_or(|expiry| now < expiry));
    let expired = before - entries.len();
    // Entries without a time count as new. The sort is stable: equal times keep the order of the file.
    entries.sort_by_key(|entry| entry.updated.unwrap_or(now));
    let write = |entry: ImportEntry| Write::Put {
        key: entry.key,
        value: entry.value,
        content_type: entry.content_type,
        expires: entry.expires,
        modified: entry.modified,
    };
    (entries.into_iter().map(write).collect(), expired)
}

/// Splits the writes into commits, in order.
fn batches(writes: &[Write], limits: BatchLimits) -> impl Iterator<Item = &[Write]> {
    limits.split(writes, |write| if let Write::Put { value, .. } = write { value.len() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContentType;

    fn entry(key: &str, value: &str, updated: Option<i64>, expires: Option<i64>) -> ImportEntry {
        ImportEntry {
            key: Key::new(key).unwrap(),
            value: value.to_owned().into(),
            content_type: ContentType::default(),
            updated: updated.map(Time::from_secs),
            modified: None,
            expires: expires.map(Time::from_secs),
            ttl: None,
        }
    }

    #[test]
    fn a_time_to_live_begins_with_the_import() {
        let mut lives = entry("a", "1", Some(10), None);
        lives.ttl = Some(std::time::Duration::from_secs(60));
        let (writes, expired) = plan(vec![lives], Time::from_secs(100));
        assert!(matches!(&writes[..], [Write::Put { expires: Some(expiry), .. }] if *expiry == Time::from_secs(160)));
        assert_eq!(expired, 0);
    }

    #[test]
    fn the_newest_is_written_last_and_expired_ones_are_skipped() {
        let entries = vec![
            entry("now", "1", None, None),
            entry("new", "2", Some(50), Some(200)),
            entry("gone", "3", Some(60), Some(100)),
            entry("old", "4", Some(10), None),
            entry("twice", "5", Some(99), None),
            entry("twice", "6", Some(20), None),
        ];
        let (writes, expired) = plan(entries, Time::from_secs(100));
        let order: Vec<_> = writes.iter().map(|w| w.key().as_str()).collect();
        assert_eq!((order, expired), (vec!["old", "twice", "new", "now"], 1));
        assert!(matches!(&writes[1], Write::Put { value, .. } if value == "6"));
    }

    #[test]
    fn commits_are_limited_in_keys_and_bytes() {
        let key = |n: usize| Key::new(&format!("k{n}")).unwrap();
        let sizes = |writes: Vec<Write>| batches(&writes, BatchLimits::default()).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..2500).map(|n| Write::put(key(n), "v")).collect()), [1000, 1000, 500]);
        let large = |n| Write::put(key(n), vec![b'x'; BatchLimits::default().bytes / 2 + 1]);
        assert_eq!(sizes((0..3).map(large).collect()), [1, 1, 1]);
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
    }
}
