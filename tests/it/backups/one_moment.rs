//! A backup that is taken under 64 writers has one moment of all buckets and logs.
//!
//! A writer does three things for each number, each after the last one is acknowledged: it stores the number in one
//! bucket, then in another, and appends it to a log. So at any moment the three places have the same number, or the first
//! ones are one ahead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvs::client::Client;
use kvs::model::{Bucket, Key, LogQuery, LogStart, Revision};
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::Store;
use kvs::yaml::{YamlOptions, YamlStore};

use crate::cli::Place;
use crate::postgres::empty;

const WRITERS: usize = 64;
const BACKUPS: usize = 3;

fn buckets(writer: usize) -> [Bucket; 2] {
    [format!("first{}", writer % 4), format!("second{}", writer % 3)].map(|name| Bucket::new(&name).unwrap())
}

fn key(writer: usize) -> Key {
    Key::new(&format!("writer{writer}")).unwrap()
}

/// What a writer was acknowledged: the revision of each number in both buckets.
type History = [BTreeMap<u64, Revision>; 2];

async fn write(store: Arc<dyn Store>, writer: usize, stop: Arc<AtomicBool>) -> History {
    let mut history = History::default();
    let clients = buckets(writer).map(|bucket| Client::new(Arc::clone(&store)).with_bucket(bucket));
    for number in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for (client, history) in clients.iter().zip(&mut history) {
            history.insert(number, client.set(key(writer).as_str(), number.to_string()).await.unwrap());
        }
        clients[0].log(key(writer).as_str()).unwrap().append(number.to_string()).await.unwrap();
    }
    history
}

/// The numbers of a writer in the two buckets and in its log, and the revisions of the first two.
async fn found(store: &dyn Store, writer: usize) -> ([u64; 3], [Revision; 2]) {
    let (mut numbers, mut revisions) = ([0; 3], [Revision::ZERO; 2]);
    for (n, bucket) in buckets(writer).iter().enumerate() {
        if let Some(entry) = store.get(bucket, &[key(writer)]).await.unwrap().entries.remove(0) {
            numbers[n] = String::from_utf8(entry.value.to_vec()).unwrap().parse().unwrap();
            revisions[n] = entry.revision;
        }
    }
    let newest = LogQuery { start: LogStart::FromEnd(1), ..LogQuery::default() };
    let page = store.logs().unwrap().read_log(&buckets(writer)[0], &key(writer), newest).await.unwrap();
    if let Some(entry) = page.and_then(|page| page.entries.into_iter().next()) {
        numbers[2] = String::from_utf8(entry.value.to_vec()).unwrap().parse().unwrap();
        assert_eq!(entry.index + 1, numbers[2], "writer {writer}: the log lacks an entry");
    }
    (numbers, revisions)
}

fn yaml(folder: std::path::PathBuf) -> YamlStore {
    YamlStore::open(folder, YamlOptions { tidy_after: std::time::Duration::ZERO, ..YamlOptions::default() }).unwrap()
}

/// Takes backups of the store at the URL while 64 writers write to it, and restores each of them to a store of its own.
async fn backups_are_moments(store: Arc<dyn Store>, url: &str, restored: impl Fn(usize) -> (String, Arc<dyn Store>)) {
    let place = Place::new();
    let stop = Arc::<AtomicBool>::default();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), writer, Arc::clone(&stop)))).collect();
    let mut taken: Vec<(String, Vec<[u64; 3]>)> = vec![];
    while taken.len() < BACKUPS {
        let mut before = vec![];
        for writer in 0..WRITERS {
            before.push(found(&*store, writer).await.0);
        }
        if before.iter().any(|numbers| numbers[2] == 0) {
            continue;
        }
        let run = tokio::task::block_in_place(|| place.run(&["backup", "backups", "--store", url])).ok();
        taken.push((run.text().trim().to_owned(), before));
    }
    stop.store(true, Ordering::Relaxed);
    let mut histories = vec![];
    for writer in writers {
        histories.push(writer.await.unwrap());
    }
    let mut ahead = 0;
    for (n, (backup, before)) in taken.iter().enumerate() {
        let (target, opened) = restored(n);
        tokio::task::block_in_place(|| place.run(&["restore", backup, "--store", &target])).ok();
        let in_backup: Arc<dyn Store> = Arc::new(yaml(place.path(backup).join("data")));
        for writer in 0..WRITERS {
            let (numbers, revisions) = found(&*in_backup, writer).await;
            assert_eq!(found(&*opened, writer).await, (numbers, revisions), "restored from {backup}");
            let [first, second, log] = numbers;
            assert!(first - log <= 1 && first >= second && second >= log, "{backup}, writer {writer}: {numbers:?}");
            let acknowledged = before[writer];
            let lacks = (0..3).any(|place| numbers[place] < acknowledged[place]);
            assert!(!lacks, "{backup}, writer {writer}: {numbers:?} after {acknowledged:?}");
            for place in 0..2 {
                // The last write may not be in the history of the writer yet.
                let known = histories[writer][place].get(&numbers[place]);
                assert_eq!(known, Some(&revisions[place]), "{backup}, writer {writer}, number {}", numbers[place]);
            }
            ahead += usize::from(first > log);
        }
    }
    assert!(ahead > 0, "the writers were not at work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_files_under_64_writers_is_one_moment() {
    let place = Place::new();
    let (from, to) = (place.path("data"), |n: usize| place.path(&format!("restored{n}")));
    let store: Arc<dyn Store> = Arc::new(yaml(from.clone()));
    let restored = |n| -> (String, Arc<dyn Store>) { (format!("yaml:{}", to(n).display()), Arc::new(yaml(to(n)))) };
    backups_are_moments(store, &format!("yaml:{}", from.display()), restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgresql_under_64_writers_is_one_moment() {
    let open =
        |url: &str| -> Arc<dyn Store> { Arc::new(PostgresStore::open(url, PostgresOptions::default()).unwrap()) };
    let url = empty("");
    let restored = |_| {
        let url = empty("");
        let store = open(&url);
        (url, store)
    };
    backups_are_moments(open(&url), &url, restored).await;
}
