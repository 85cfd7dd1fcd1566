//! Real processes on a real folder that append to one log until they are killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use kvs::model::{AppendOutcome, LogAppend, LogEntry, LogQuery, NewLogEntry};
use kvs::store::Logs as _;
use kvs::yaml::YamlStore;

use super::NAME;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{bucket, key};
use crate::yaml::processes::{part, real, start};

const ROUNDS: usize = 12;
const WRITERS: usize = 3;

/// Entries of each append.
const EACH: u64 = 3;

/// Appends until it is killed, and prints each acknowledged index with its value.
async fn append_until_killed(folder: &str, writer: usize) {
    let store = real(Path::new(folder));
    for number in 0.. {
        let text = format!("{writer}-{number}-{}", "x".repeat(number % 200));
        let entries = (0..EACH).map(|_| NewLogEntry::new(text.clone())).collect();
        let append = LogAppend { entries, ..LogAppend::default() };
        let outcome = store.append(&bucket(), &key(NAME), append).await.unwrap();
        let AppendOutcome::Appended { index } = outcome else { panic!("{outcome:?}") };
        // One call, so that a kill does not cut the line.
        std::io::stdout().write_all(format!("acknowledged {index} {text}\n").as_bytes()).unwrap();
    }
}

/// All entries of the log, page by page.
async fn all(store: &YamlStore) -> Vec<LogEntry> {
    let mut entries = vec![];
    loop {
        let query = LogQuery::from_index(entries.last().map_or(0, |last: &LogEntry| last.index + 1));
        let page = store.read_log(&bucket(), &key(NAME), query).await.unwrap();
        match page.filter(|page| !page.entries.is_empty()) {
            Some(page) => entries.extend(page.entries),
            None => return entries,
        }
    }
}

/// What a writer printed until it was killed.
fn listen(out: impl std::io::Read) -> Vec<(u64, String)> {
    let acknowledged = |line: String| {
        let (_, numbers) = line.split_once("acknowledged ")?;
        let (index, text) = numbers.split_once(' ')?;
        Some((index.parse().ok()?, text.to_owned()))
    };
    BufReader::new(out).lines().map_while(Result::ok).filter_map(acknowledged).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_the_kill_of_their_writer() {
    if let Some((folder, number)) = part() {
        return append_until_killed(&folder, number).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let watching = real(folder.path());
    let mut seed = Seed::new(std::process::id().into());
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let test = "yaml::logs::killed_writers::acknowledged_appends_survive_the_kill_of_their_writer";
        let mut children: Vec<_> = (0..WRITERS).map(|n| start(test, folder.path(), round * WRITERS + n)).collect();
        let outputs: Vec<_> = children.iter_mut().map(|child| child.stdout.take().unwrap()).collect();
        let outputs: Vec<_> = outputs.into_iter().map(|out| std::thread::spawn(move || listen(out))).collect();
        let end = Instant::now() + Duration::from_millis(150 + seed.next() % 200);
        while Instant::now() < end {
            all(&watching).await;
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for (index, text) in outputs.into_iter().flat_map(|output| output.join().unwrap()) {
            assert_eq!(known.insert(index, text), None, "index {index} was given twice");
        }
        for store in [&watching, &real(folder.path())] {
            let entries = all(store).await;
            let indices: Vec<u64> = entries.iter().map(|entry| entry.index).collect();
            assert_eq!(indices, (0..entries.len() as u64).collect::<Vec<_>>(), "round {round}");
            for append in entries.chunks(usize::try_from(EACH).unwrap()) {
                assert!(append.len() == 3 && append.iter().all(|e| e.value == append[0].value), "torn: {append:?}");
            }
            for (index, text) in &known {
                let found = &entries[usize::try_from(*index).unwrap()];
                assert_eq!(found.value, *text, "round {round}, index {index}");
            }
        }
    }
    assert!(known.len() > ROUNDS, "only {} appends", known.len());
}
