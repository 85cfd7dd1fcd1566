//! `kvs import`: files of keys and values into a bucket. All is read and judged before the first write.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Done, Failure};
use super::format::{Format, Record};
use super::output::progress;
use super::settings::Settings;
use super::units::counted;
use crate::model::{Batch, Clock, Key, SystemClock, Time, Write};

/// At most so many keys go into one commit.
const KEYS: usize = 1000;
/// Beyond so many bytes of values a commit takes no further key.
const BYTES: usize = 8 << 20;

const EXAMPLES: &str = "\
Examples:
  kvs import backup.yaml
  kvs import channels.json sensors.csv --dry-run     read and judge, write nothing
  echo 'greeting: hello' | kvs import -

What a file may look like:
  YAML   greeting: hello
         session: {value: x, ttl: 10m}     it ends ten minutes after the import
         theme: {name: dark, sizes: [1, 2]}     a list or a mapping is stored as JSON
         or what `kvs export` writes and the store keeps
  JSON   {\"greeting\": \"hello\", \"temp\": 21.5}
         or [{\"key\": \"greeting\", \"value\": \"hello\", \"expires\": \"2030-01-01T00:00:00Z\"}]
  CSV    key,value
         greeting,hello
         further columns, if wished: base64,type,updated,modified,expires";

/// Store what stands in files
///
/// If anything in any of the files cannot be stored, the file and the line are named and nothing is written. Types, ends
/// and times of modification are kept where given; the keys are written in the order of `updated`, so that the most
/// recent stays the most recent. What has expired is left out. Of a key in several files the last counts. Up to 1000 keys
/// are one step for readers.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The files; without one, or with `-`, standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format [default: told by the names of the files, else yaml]
    #[arg(short, long)]
    format: Option<Format>,
    /// Read and judge, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let files = if given.files.is_empty() { vec![PathBuf::from("-")] } else { given.files };
    let mut records = Vec::new();
    for path in &files {
        records.extend(read(path, given.format, settings.opening.limits.value)?);
    }
    let (writes, expired) = plan(records, SystemClock.now());
    let total = writes.len();
    let keys = counted(total as u64, "key", "keys");
    let left_out = if expired == 0 { String::new() } else { format!(", {expired} had expired") };
    if given.dry_run {
        settings.note(&format!("{keys} can be stored{left_out}; nothing was written"));
        return Ok(());
    }
    let opened = settings.open()?;
    let bar = progress(total, "importing", settings.quiet);
    for writes in batches(writes) {
        let size = writes.len() as u64;
        let batch = Batch::of(writes).untold();
        opened.store.apply(&settings.bucket(), batch).await.map_err(|e| {
            bar.abandon();
            let least = if e.is_outcome_open() { "at least " } else { "" };
            Failure::Failed(format!("{e}; {least}{} of {keys} stored", bar.position()))
        })?;
        bar.inc(size);
    }
    bar.finish_and_clear();
    settings.note(&format!("{keys} stored in bucket {}{left_out}", settings.bucket()));
    Ok(())
}

/// What stands in one file, each value small enough.
fn read(path: &Path, format: Option<Format>, most: usize) -> Done<Vec<Record>> {
    let stdin = path.as_os_str() == "-";
    let format = format.or_else(|| Format::of(path));
    let (told, format) = (format.is_some(), format.unwrap_or(Format::Yaml));
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|e| Failure::Failed(format!("cannot read {name}: {e}; nothing was written")))?;
    let hint = if told { "" } else { "; it was read as YAML, --format says what else it is" };
    let records =
        format.read(&bytes).map_err(|e| Failure::Failed(format!("{name}: {e}{hint}; nothing was written")))?;
    match records.iter().find(|record| record.value.len() > most) {
        None => Ok(records),
        Some(Record { key, value, .. }) => Err(Failure::Failed(format!(
            "{name}: the value of {key:?} has {} bytes, at most {most} are taken (--max-value); nothing was written",
            value.len()
        ))),
    }
}

/// The writes, one for each key, the most recent last; and how many entries have expired.
fn plan(records: Vec<Record>, now: Time) -> (Vec<Write>, usize) {
    let mut last: HashMap<Key, usize> = HashMap::new();
    for (n, record) in records.iter().enumerate() {
        last.insert(record.key.clone(), n);
    }
    let mut records: Vec<Record> =
        records.into_iter().enumerate().filter(|(n, r)| last.get(&r.key) == Some(n)).map(|(_, r)| r).collect();
    for record in &mut records {
        record.expires = record.ttl.map_or(record.expires, |ttl| Some(now.plus(ttl)));
    }
    let before = records.len();
    records.retain(|record| record.expires.is_none_or(|end| now < end));
    let expired = before - records.len();
    // What has no time is as of now. The sort is stable: equal times stay in the order of the file.
    records.sort_by_key(|record| record.updated.unwrap_or(now));
    let write = |record: Record| Write::Put {
        key: record.key,
        value: record.value,
        content_type: record.content_type,
        expires: record.expires,
        modified: record.modified,
    };
    (records.into_iter().map(write).collect(), expired)
}

/// The writes in their order, cut into commits.
fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut all: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size = if let Write::Put { value, .. } = &write { value.len() } else { 0 };
        match all.last_mut() {
            Some(batch) if batch.len() < KEYS && bytes + size <= BYTES => {
                bytes += size;
                batch.push(write);
            }
            _ => {
                bytes = size;
                all.push(vec![write]);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContentType;

    fn record(key: &str, value: &str, updated: Option<i64>, expires: Option<i64>) -> Record {
        Record {
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
    fn a_time_to_live_is_counted_from_the_import() {
        let mut lives = record("a", "1", Some(10), None);
        lives.ttl = Some(std::time::Duration::from_secs(60));
        let (writes, expired) = plan(vec![lives], Time::from_secs(100));
        assert!(matches!(&writes[..], [Write::Put { expires: Some(end), .. }] if *end == Time::from_secs(160)));
        assert_eq!(expired, 0);
    }

    #[test]
    fn the_most_recent_is_written_last_and_the_expired_not_at_all() {
        let records = vec![
            record("now", "1", None, None),
            record("new", "2", Some(50), Some(200)),
            record("gone", "3", Some(60), Some(100)),
            record("old", "4", Some(10), None),
            record("twice", "5", Some(99), None),
            record("twice", "6", Some(20), None),
        ];
        let (writes, expired) = plan(records, Time::from_secs(100));
        let order: Vec<_> = writes.iter().map(|w| w.key().as_str()).collect();
        assert_eq!((order, expired), (vec!["old", "twice", "new", "now"], 1));
        assert!(matches!(&writes[1], Write::Put { value, .. } if value == "6"));
    }

    #[test]
    fn commits_are_bounded_in_keys_and_in_bytes() {
        let key = |n: usize| Key::new(&format!("k{n}")).unwrap();
        let sizes = |writes| batches(writes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..2500).map(|n| Write::put(key(n), "v")).collect()), [1000, 1000, 500]);
        let large = |n| Write::put(key(n), vec![b'x'; BYTES / 2 + 1]);
        assert_eq!(sizes((0..3).map(large).collect()), [1, 1, 1]);
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
    }
}
